// floor_resource: one intrusive free list behind the virtual call, the least any memory_resource can cost.
#pragma once

#include <cstddef>
#include <memory_resource>
#include <new>
#include <vector>

namespace perf {

/// Serves blocks of one size, without looking at the size asked for: correct only for workloads that never
/// ask for more than `block_bytes`. Not thread-safe. Frees all its memory in the destructor.
class floor_resource final : public std::pmr::memory_resource {
 public:
  explicit floor_resource(std::size_t block_bytes) : block_bytes_((block_bytes + 15) / 16 * 16) {}
  floor_resource(const floor_resource&) = delete;
  floor_resource& operator=(const floor_resource&) = delete;
  ~floor_resource() override {
    for (void* chunk : chunks_) ::operator delete(chunk);
  }

 private:
  struct free_block {
    free_block* next;
  };

  void* do_allocate(std::size_t, std::size_t) override {
    if (free_block* block = free_; block != nullptr) [[likely]] {
      free_ = block->next;
      return block;
    }
    return carve();
  }

  void do_deallocate(void* pointer, std::size_t, std::size_t) override {
    free_ = ::new (pointer) free_block{free_};
  }

  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  [[gnu::noinline]] void* carve() {
    if (unused_bytes_ < block_bytes_) {
      const std::size_t chunk_bytes =
          block_bytes_ > 65536 ? block_bytes_ : 65536 / block_bytes_ * block_bytes_;
      chunks_.push_back(nullptr);
      chunks_.back() = ::operator new(chunk_bytes);
      unused_ = static_cast<std::byte*>(chunks_.back());
      unused_bytes_ = chunk_bytes;
    }
    void* block = unused_;
    unused_ += block_bytes_;
    unused_bytes_ -= block_bytes_;
    return block;
  }

  free_block* free_ = nullptr;
  std::size_t block_bytes_;
  std::byte* unused_ = nullptr;
  std::size_t unused_bytes_ = 0;
  std::vector<void*> chunks_;
};

}  // namespace perf
