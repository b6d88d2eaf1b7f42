#include <cistern/detail/pool/depot.hpp>
#include <cistern/detail/pool/thread_cache.hpp>

#include <algorithm>
#include <limits>

namespace cistern::detail {
namespace {

/// How many blocks a thread carves when it first wants a class; doubled each time it carves again.
constexpr std::uint32_t first_carve_blocks = 4;

/// The limit of a slot that shall see every free.
constexpr std::int64_t no_limit = std::numeric_limits<std::int64_t>::min();

/// Whether a block leaves room for others on its cache line.
bool shares_cache_line(unsigned index) noexcept {
  return class_block_bytes(index) < cache_line_bytes;
}

std::uint32_t activity(const cache_slot& slot) noexcept {
  return static_cast<std::uint32_t>(slot.popped + slot.pushed);
}

}  // namespace

// Where every free must be seen, the fast path is shut by a limit that no balance is below.
void thread_cache::set_true_limit(cache_slot& slot, std::size_t loaded_blocks) noexcept {
  slot.true_limit = slot.balance() + slot.capacity - static_cast<std::int64_t>(loaded_blocks);
  slot.limit = depot_->options().zero_on_free ? no_limit : std::int64_t{slot.true_limit};
}

void thread_cache::load(cache_slot& slot, magazine full) noexcept {
  slot.head = full.head;
  set_true_limit(slot, full.blocks);
}

void thread_cache::adopt() noexcept {
  in_use = true;
  seen_trims_ = depot_->trims_requested();
}

void* thread_cache::try_refill(unsigned index) {
  honour_trim();
  cache_slot& s = slots_[index];
  if (s.head == nullptr && s.spare_blocks != 0) {
    load(s, take_spare(index));
  }
  if (s.head != nullptr) {
    return s.pop();
  }
  if (s.capacity == 0 && !activate(index)) {
    return depot_->try_allocate(index, as_flushable(this).get());
  }
  // What few blocks lie loose may have neighbours on their cache lines in use by other threads.
  const bool rather_fresh = s.popped == 0 && shares_cache_line(index);
  bool carved = false;
  const magazine taken =
      depot_->try_take(index, s.next_carve_blocks, rather_fresh, carved, as_flushable(this).get());
  if (taken.head == nullptr) {
    return nullptr;
  }
  if (!carved) {
    load(s, taken);
    return s.pop();
  }
  s.next_carve_blocks = std::min<std::uint32_t>(2 * s.next_carve_blocks, s.capacity);
  load(s, {taken.head->next(), taken.blocks - 1});
  return taken.head;
}

void thread_cache::take_back(unsigned index, void* block) noexcept {
  honour_trim();
  cache_slot& s = slots_[index];
  if (s.capacity == 0 && (!activate(index) || shares_cache_line(index))) {
    // Freed by a thread that has none of these, so it came from another one, whose blocks lie beside it.
    depot_->deallocate(index, block);
    return;
  }
  if (s.balance() >= s.true_limit) {
    stop_at_last(s, unload_full(index));
  }
  s.push(block, class_block_bytes(index));
  if (s.limit != no_limit && s.balance() > s.limit) {
    flush_slot(index);  // nothing of this class may be live now: the depot begins its chunks anew
  }
}

// In a large bucket the free of the last live block takes the slow path, as far as this thread can tell when
// it hands over a magazine; what other threads do afterwards is not seen.
void thread_cache::stop_at_last(cache_slot& slot, std::size_t live_blocks) noexcept {
  if (live_blocks == depot::unknown_live_blocks || slot.limit == no_limit) {
    return;
  }
  const std::size_t own_blocks = slot.free_blocks();
  const std::size_t others = live_blocks - std::min(live_blocks, own_blocks + 1);
  slot.limit = std::min(slot.limit, slot.balance() + static_cast<std::int64_t>(others));
}

// Keeps the full magazine as the spare one, if the budget has room for a spare, and hands over what is one
// too many. Returns what the depot says of blocks outside of it, if it was asked.
std::size_t thread_cache::unload_full(unsigned index) noexcept {
  cache_slot& s = slots_[index];
  const magazine full{s.head, s.capacity};
  load(s, {});
  std::size_t live_blocks = depot::unknown_live_blocks;
  if (s.spare_blocks != 0) {
    live_blocks = depot_->put(index, take_spare(index));
  }
  const std::size_t full_bytes = full.blocks * class_block_bytes(index);
  if (reserved_bytes_ + full_bytes > depot_->options().thread_cache_bytes) {
    return depot_->put(index, full);
  }
  reserved_bytes_ += full_bytes;
  s.spare = full.head;
  s.spare_blocks = static_cast<std::uint32_t>(full.blocks);
  return live_blocks;
}

magazine thread_cache::take_spare(unsigned index) noexcept {
  cache_slot& s = slots_[index];
  const magazine spare{s.spare, s.spare_blocks};
  reserved_bytes_ -= spare.blocks * class_block_bytes(index);
  s.spare = nullptr;
  s.spare_blocks = 0;
  return spare;
}

void thread_cache::flush_slot(unsigned index) noexcept {
  cache_slot& s = slots_[index];
  if (s.head != nullptr) {
    const magazine loaded{s.head, s.loaded_blocks()};
    load(s, {});
    depot_->put(index, loaded);
  }
  if (s.spare_blocks != 0) {
    depot_->put(index, take_spare(index));
  }
}

void thread_cache::flush() noexcept {
  for (unsigned i = 0; i < cached_class_count; ++i) {
    flush_slot(i);
  }
}

void thread_cache::honour_trim() noexcept {
  if (depot_->trims_requested() == seen_trims_) {
    return;
  }
  flush_for_trim();
  depot_->trim(depot_->trim_keep_bytes());
}

void thread_cache::flush_for_trim() noexcept {
  seen_trims_ = depot_->trims_requested();
  flush();
}

bool thread_cache::activate(unsigned index) noexcept {
  const std::size_t blocks = depot_->magazine_blocks(index);
  if (blocks == 0) {
    return false;
  }
  const std::size_t cost_bytes = blocks * class_block_bytes(index);
  while (reserved_bytes_ + cost_bytes > depot_->options().thread_cache_bytes) {
    if (!free_budget()) {
      return false;
    }
  }
  reserved_bytes_ += cost_bytes;
  cache_slot& s = slots_[index];
  s.capacity = static_cast<std::uint32_t>(blocks);
  s.next_carve_blocks = std::min(first_carve_blocks, static_cast<std::uint32_t>(s.capacity));
  load(s, {});
  return true;
}

// Takes the budget of the next active class if it wasn't used since the hand last passed; else notes its
// activity. One look per call: a class that is denied costs a visit to the depot, and as many more as there
// are classes in use before one of them gives way.
bool thread_cache::free_budget() noexcept {
  for (unsigned looked = 0; looked < cached_class_count; ++looked) {
    clock_hand_ = (clock_hand_ + 1) % cached_class_count;
    cache_slot& s = slots_[clock_hand_];
    if (s.capacity == 0) {
      continue;
    }
    const std::uint32_t seen = activity(s);
    if (s.last_activity != seen) {
      s.last_activity = seen;
      return false;
    }
    deactivate(clock_hand_);
    return true;
  }
  return false;
}

void thread_cache::deactivate(unsigned index) noexcept {
  flush_slot(index);
  cache_slot& s = slots_[index];
  reserved_bytes_ -= std::size_t{s.capacity} * class_block_bytes(index);
  s.capacity = 0;
  load(s, {});
}

}  // namespace cistern::detail
