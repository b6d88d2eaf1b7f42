// allocation_script: a recorded trace boiled down to what a replay costs next to nothing to perform.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory_resource>
#include <vector>

namespace perf {

/// `cistern::replay` decodes a trace and looks its blocks up as it goes, which takes longer than what is to
/// be measured. Here that is done once: what is left is a list of steps and a table with a place for each
/// block that lives at once, which the replay reads in order.
class allocation_script {
 public:
  /// Threads are put one after the other as they were recorded. Blocks that are never freed are freed at the
  /// end. Throws `cistern::trace_error`, `std::system_error`, and `std::runtime_error` for a trace without a
  /// block and for blocks of 4 GiB and more.
  explicit allocation_script(const std::filesystem::path& trace);

  /// Performs the trace; writes each block's first byte.
  void replay(std::pmr::memory_resource* resource);
  /// Likewise; writes into every page of a block, as the program will have done.
  void replay_and_fill(std::pmr::memory_resource* resource);

  [[nodiscard]] std::size_t allocations() const { return steps_.size() / 2; }
  /// The most that lives at once, as asked for.
  [[nodiscard]] std::size_t peak_bytes() const { return peak_bytes_; }

 private:
  struct step {
    std::uint32_t place;
    std::uint32_t bytes;
    std::uint32_t alignment : 31;
    std::uint32_t frees : 1;
  };

  template <class Write>
  void perform(std::pmr::memory_resource* resource, Write write);

  std::vector<step> steps_;
  std::vector<void*> blocks_;
  std::size_t peak_bytes_ = 0;
};

}  // namespace perf
