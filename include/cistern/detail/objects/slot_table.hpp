// slot_table: the slots of one object pool, which come and go, and their places, which are found by index,
// never moved and never freed before the pool.
#pragma once

#include <cistern/detail/objects/pool_slot.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory_resource>

namespace cistern::detail {

/// Places lie in blocks of 1, 2, 4, 8, ...; each slot is a piece of memory by itself. All but `operator[]`
/// needs the pool's mutex.
class slot_table {
 public:
  struct slot_type {
    std::size_t size_bytes;
    std::size_t align_bytes;
    std::size_t object_bytes;  // 0: not to be watched
    pool_slot* (*construct)(void* room) noexcept;
  };

  slot_table(std::pmr::memory_resource* resource, slot_type type) noexcept;
  slot_table(const slot_table&) = delete;
  slot_table& operator=(const slot_table&) = delete;
  ~slot_table();

  /// The place of `index`, which must exist. Indices begin at 1.
  [[nodiscard]] slot_place& operator[](std::uint32_t index) const noexcept {
    if (index == 0) {
      __builtin_unreachable();  // or compilers warn of what block -1 would be
    }
    const unsigned block = static_cast<unsigned>(std::bit_width(index)) - 1;
    // Acquire pairs with the release in add_block: a thread that got the index without the mutex sees the
    // place constructed.
    return blocks_[block].load(std::memory_order_acquire)[index - (std::uint32_t{1} << block)];
  }

  /// A new slot, without an object. Throws what the resource throws, having changed nothing.
  [[nodiscard]] pool_slot& make();
  /// Gives the slot back to the resource. Its object is gone.
  void remove(pool_slot& slot) noexcept;

  /// How many slots there are.
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  /// Calls `visit(const pool_slot&)` for each. O(the most slots that there ever were).
  template <class Function>
  void for_each(Function&& visit) const {
    for (std::uint32_t index = 1; index <= used_; ++index) {
      if (const pool_slot* const slot = (*this)[index].slot.load(std::memory_order_relaxed)) {
        visit(*slot);
      }
    }
  }

 private:
  static constexpr unsigned max_blocks = 28;  // together largest_max_size places

  /// With room for a copy of the object behind it while it is watched.
  [[nodiscard]] std::size_t slot_bytes() const noexcept {
    return type_.size_bytes + (watched_ ? type_.object_bytes : 0);
  }
  [[nodiscard]] std::uint32_t places() const noexcept { return (std::uint32_t{1} << blocks_used_) - 1; }
  void add_block();

  std::pmr::memory_resource* resource_;
  slot_type type_;
  bool watched_;
  unsigned blocks_used_ = 0;
  std::uint32_t used_ = 0;    // places with a greater index have never had a slot
  std::uint32_t vacant_ = 0;  // the first of a list of places without one
  std::size_t count_ = 0;
  std::array<std::atomic<slot_place*>, max_blocks> blocks_{};
};

}  // namespace cistern::detail
