#include <cistern/detail/objects/idle_objects.hpp>

namespace cistern::detail {

idle_objects::idle_objects(const slot_table& slots, reuse_order order, std::size_t max_idle) noexcept
    : slots_(slots), max_idle_(max_idle), fifo_(order == reuse_order::fifo), out_(slots), in_(slots) {
  (void)out_.close();
  (void)in_.close();
}

void idle_objects::shut() noexcept {
  if (shut_) {
    return;
  }
  shut_ = true;
  // `in` before `out`: who still finds `in` open, and sees nothing on an `out` that is shut, would keep one
  // object too many.
  in_top_ = in_.close();
  out_top_ = out_.close();
}

void idle_objects::open() noexcept {
  shut_ = false;
  out_.open(out_top_);
  in_.open(in_top_);
}

pool_slot* idle_objects::pop() noexcept {
  if (out_top_ == 0) {
    turn_over();
  }
  if (out_top_ == 0) {
    return nullptr;
  }
  pool_slot& slot = slot_at(out_top_);
  out_top_ = slot.place->next_index.load(std::memory_order_relaxed);
  return &slot;
}

void idle_objects::push(pool_slot& slot) noexcept {
  put_on(fifo_ ? in_top_ : out_top_, slot);
}

void idle_objects::put_on(std::uint32_t& top, pool_slot& slot) noexcept {
  slot.place->depth.store(depth_at(top) + 1, std::memory_order_relaxed);
  slot.place->next_index.store(top, std::memory_order_relaxed);
  top = slot.index;
}

// Puts what is on `in` onto `out`, which is empty, the oldest on top. O(objects on `in`), each of which was
// kept once since it was last turned over.
void idle_objects::turn_over() noexcept {
  std::uint32_t below = 0;
  std::uint32_t depth = 0;
  for (std::uint32_t at = std::exchange(in_top_, 0); at != 0;) {
    slot_place& place = slots_[at];
    place.depth.store(++depth, std::memory_order_relaxed);
    const std::uint32_t older = place.next_index.load(std::memory_order_relaxed);
    place.next_index.store(below, std::memory_order_relaxed);
    below = std::exchange(at, older);
  }
  out_top_ = below;
}

pool_slot* idle_objects::take_all() noexcept {
  pool_slot* first = nullptr;
  pool_slot** end = &first;
  while (pool_slot* const slot = pop()) {
    *end = slot;
    slot->link = nullptr;
    end = &slot->link;
  }
  return first;
}

void idle_objects::put_back_all(pool_slot* first) noexcept {
  pool_slot* reversed = nullptr;
  while (first != nullptr) {
    pool_slot* const slot = std::exchange(first, first->link);
    slot->link = std::exchange(reversed, slot);
  }
  while (reversed != nullptr) {
    put_on(out_top_, *std::exchange(reversed, reversed->link));
  }
}

pool_slot* idle_objects::take_all_but(std::size_t keep) noexcept {
  pool_slot* kept = take_all();
  pool_slot** rest = &kept;
  for (; keep > 0 && *rest != nullptr; --keep) {
    rest = &(*rest)->link;
  }
  pool_slot* const others = std::exchange(*rest, nullptr);
  put_back_all(kept);
  return others;
}

}  // namespace cistern::detail
