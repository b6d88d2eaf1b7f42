// idle_objects: the idle objects of a shared pool, in the order in which they are to be given out.
//
//   LIFO:   kept and taken at the top of `out`
//   FIFO:   kept on top of `in`; taken from the top of `out`, where the oldest is; when that is empty,
//           whoever has the mutex turns `in` over onto it
//
//                 in:  newest -> ... -> older        out:  oldest -> ... -> newer
//
// Open: any thread takes and keeps, without a lock. Shut: nobody does, and whoever holds the pool's mutex
// owns all of it. Invariant: everything on `in` was kept later than anything on `out`; only who holds the
// mutex puts anything on `out` of a FIFO pool, with both shut.
#pragma once

#include <cistern/detail/objects/idle_stack.hpp>
#include <cistern/detail/objects/pool_slot.hpp>
#include <cistern/detail/objects/slot_table.hpp>
#include <cistern/object_pool_options.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace cistern::detail {

class idle_objects {
 public:
  /// At most `max_idle` are kept; begins shut.
  idle_objects(const slot_table& slots, reuse_order order, std::size_t max_idle) noexcept;

  // ---- by any thread ----

  /// The next object, or null: there is none at hand, or all is shut.
  [[nodiscard]] pool_slot* try_take() noexcept {
    pool_slot* const slot = out_.try_pop();
    return slot == nullptr && fifo_ ? in_.try_pop_only(out_) : slot;
  }
  /// Keeps an object, if all is open, there is room, and `still_valid()`, whose answer only changes while all
  /// is shut. Afterwards somebody else may have it already.
  template <class Check>
  [[nodiscard]] bool try_keep(pool_slot& slot, Check still_valid) noexcept {
    return (fifo_ ? in_ : out_).try_push(slot, [&](std::uint32_t top) {
      const std::uint32_t below = depth_at(top);
      slot.place->depth.store(below + 1, std::memory_order_release);
      return still_valid() && (max_idle_ == no_limit || below + elsewhere() < max_idle_);
    });
  }

  // ---- under the mutex ----

  void shut() noexcept;
  /// Order: `out` is open before `in` is, so that who finds `in` open sees what is on `out`.
  void open() noexcept;
  [[nodiscard]] bool is_shut() const noexcept { return shut_; }

  // ---- while shut ----

  [[nodiscard]] bool empty() const noexcept { return out_top_ == 0 && in_top_ == 0; }
  [[nodiscard]] std::size_t count() const noexcept {
    return std::size_t{depth_at(out_top_)} + depth_at(in_top_);
  }
  /// The next object, or null. O(1) amortised over the objects kept.
  [[nodiscard]] pool_slot* pop() noexcept;
  void push(pool_slot& slot) noexcept;
  /// Takes out all, as a list through `link`, the next to be given out first; and puts such a list back.
  [[nodiscard]] pool_slot* take_all() noexcept;
  void put_back_all(pool_slot* first) noexcept;
  /// Takes out all but the first `keep` to be given out, as a list through `link`.
  [[nodiscard]] pool_slot* take_all_but(std::size_t keep) noexcept;
  /// In no particular order.
  template <class Function>
  void for_each(Function&& call) const {
    for (const std::uint32_t top : {out_top_, in_top_}) {
      for (std::uint32_t at = top; at != 0; at = slots_[at].next_index.load(std::memory_order_relaxed)) {
        call(slot_at(at));
      }
    }
  }

 private:
  /// Each object knows how many lie on its stack from itself down, so that a push learns how many there are
  /// from the one word that it changes: if the slot it read was not the top any more, the push fails. Acquire
  /// pairs with the release in try_keep: see read_top.
  [[nodiscard]] std::uint32_t depth_at(std::uint32_t top) const noexcept {
    return top != 0 ? slots_[top].depth.load(std::memory_order_acquire) : 0;
  }
  /// How many a push to `in` doesn't see. They can only get fewer until it is done, so it may find too many,
  /// and then takes the mutex to be sure, but never too few: `in` is shut before `out`, so that a push that
  /// saw an `out` that was shut meanwhile fails.
  [[nodiscard]] std::size_t elsewhere() const noexcept {
    return fifo_ ? out_.read_top([&](std::uint32_t top) { return depth_at(top); }) : 0;
  }
  [[nodiscard]] pool_slot& slot_at(std::uint32_t index) const noexcept {
    return *slots_[index].slot.load(std::memory_order_relaxed);
  }
  void put_on(std::uint32_t& top, pool_slot& slot) noexcept;
  void turn_over() noexcept;

  const slot_table& slots_;
  const std::size_t max_idle_;
  const bool fifo_;
  bool shut_ = true;
  std::uint32_t out_top_ = 0;  // while shut
  std::uint32_t in_top_ = 0;
  idle_stack out_;
  idle_stack in_;
};

}  // namespace cistern::detail
