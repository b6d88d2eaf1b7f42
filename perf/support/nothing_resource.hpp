// nothing_resource: does nothing at all, to see what the work around the allocations costs.
#pragma once

#include <array>
#include <cstddef>
#include <memory_resource>

namespace perf {

/// Every block is the same few bytes: only for work that writes to the beginning of a block and reads
/// nothing.
class nothing_resource final : public std::pmr::memory_resource {
  void* do_allocate(std::size_t, std::size_t) override { return block_.data(); }
  void do_deallocate(void*, std::size_t, std::size_t) override {}
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  alignas(64) std::array<std::byte, 64> block_{};
};

}  // namespace perf
