// barely_aligned_resource: gives memory that is aligned as asked for and no better.
#pragma once

#include <cistern/resource_or_new_delete.hpp>

#include <cstddef>
#include <memory_resource>

namespace cistern::test_support {

/// What it gives begins at an odd multiple of the alignment: who counts on more finds out each time.
class barely_aligned_resource final : public std::pmr::memory_resource {
 public:
  explicit barely_aligned_resource(std::pmr::memory_resource* upstream = nullptr)
      : upstream_(resource_or_new_delete(upstream)) {}

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    return static_cast<std::byte*>(upstream_->allocate(bytes + alignment, 2 * alignment)) + alignment;
  }
  void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override {
    upstream_->deallocate(static_cast<std::byte*>(memory) - alignment, bytes + alignment, 2 * alignment);
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  std::pmr::memory_resource* upstream_;
};

}  // namespace cistern::test_support
