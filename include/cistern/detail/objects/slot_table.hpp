// slot_table: the slots of one object pool, found by index, never moved and never freed before the pool.
#pragma once

#include <cistern/detail/objects/pool_slot.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory_resource>

namespace cistern::detail {

/// Blocks of 1, 2, 4, 8, ... slots of one type. `add_block` needs the pool's mutex; `operator[]` doesn't.
class slot_table {
 public:
  struct slot_type {
    std::size_t size_bytes;
    std::size_t align_bytes;
    pool_slot* (*construct)(void* room) noexcept;
  };

  slot_table(std::pmr::memory_resource* resource, slot_type type) noexcept
      : resource_(resource), type_(type) {}
  slot_table(const slot_table&) = delete;
  slot_table& operator=(const slot_table&) = delete;
  ~slot_table();

  /// The slot of `index`, which must exist. Indices begin at 1.
  [[nodiscard]] pool_slot& operator[](std::uint32_t index) const noexcept {
    if (index == 0) {
      __builtin_unreachable();  // or compilers warn of what block -1 would be
    }
    const unsigned block = static_cast<unsigned>(std::bit_width(index)) - 1;
    // Acquire pairs with the release in add_block: a thread that got the index without the mutex sees the
    // slot constructed.
    std::byte* const base = blocks_[block].load(std::memory_order_acquire);
    return *reinterpret_cast<pool_slot*>(base + (index - (std::uint32_t{1} << block)) * type_.size_bytes);
  }

  /// How many slots there are; their indices are 1 to this.
  [[nodiscard]] std::uint32_t slots() const noexcept { return (std::uint32_t{1} << blocks_used_) - 1; }

  /// Makes one slot more than there are already. Throws what the resource throws, having changed nothing.
  void add_block();

 private:
  static constexpr std::size_t max_blocks = 28;  // together largest_max_size slots

  std::pmr::memory_resource* resource_;
  slot_type type_;
  unsigned blocks_used_ = 0;
  std::array<std::atomic<std::byte*>, max_blocks> blocks_{};
};

}  // namespace cistern::detail
