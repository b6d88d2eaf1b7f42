// never_frees: a resource that gives memory out and takes none back, as std::pmr::monotonic_buffer_resource
// does, for any number of threads. What a job takes on it is the job without the work of allocation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <span>
#include <vector>

namespace demo {

class never_frees final : public std::pmr::memory_resource {
 public:
  /// Everything that was given out may be given out again. Nothing of it, nor the resource, may be in use.
  void rewind();

 private:
  struct chunk {
    std::unique_ptr<std::byte[]> memory;
    std::size_t bytes;
  };

  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void*, std::size_t, std::size_t) override {}
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  [[nodiscard]] std::span<std::byte> next_chunk(std::size_t at_least_bytes);
  [[nodiscard]] static std::uint64_t new_life();

  std::uint64_t life_ = new_life();  ///< Different after each rewind: threads drop what they had begun.
  std::mutex mutex_;
  std::vector<chunk> chunks_;  ///< Guarded by `mutex_`, as is `used_`.
  std::size_t used_ = 0;       ///< How many of them have been handed to a thread in this life.
};

}  // namespace demo
