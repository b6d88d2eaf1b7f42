#include <cistern/detail/pool/depot.hpp>
#include <cistern/detail/pool/thread_cache.hpp>

#include <algorithm>
#include <utility>

namespace cistern::detail {
namespace {

/// A class whose two magazines would take more than this part of a thread's room doesn't grow any more.
constexpr std::size_t classes_per_cache = 5;
constexpr std::uint32_t most_capacity = 2048;
/// What a magazine of a class begins with: bytes, and blocks.
constexpr std::size_t first_capacity_bytes = 4096;
constexpr std::size_t first_capacity_blocks = 32;

/// A class with less room than this doubles it when it misses; one with more adds a quarter.
constexpr std::size_t small_room_bytes = std::size_t{64} << 10;

/// A class of small blocks with less in its magazines gets more when its frees look, whether or not they
/// miss.
constexpr std::size_t busy_capacity_bytes = std::size_t{16} << 10;

/// So that no allocation makes room.
constexpr std::int64_t no_room = INT64_MIN / 2;

/// Whether a block leaves room for others on its cache line.
bool shares_cache_line(unsigned index) noexcept {
  return class_block_bytes(index) < cache_line_bytes;
}

std::size_t room_bytes(unsigned index, std::size_t capacity) noexcept {
  return 2 * capacity * class_block_bytes(index);
}

}  // namespace

// How many frees may go by unseen: until the magazine is full, and until nothing of the class may be in use.
// None where each one must be seen.
void thread_cache::open(unsigned index) noexcept {
  cache_slot& s = slots_[index];
  std::int64_t room = no_room;
  if (!depot_->options().zero_on_free && (!is_late_ || cache_slots::has_own_room(index))) {
    // Below 0 where more is there than a magazine may have: an allocation of a larger block gives room back.
    room = static_cast<std::int64_t>(s.most_blocks()) - static_cast<std::int64_t>(s.loaded_blocks());
    room = is_late_ ? std::min<std::int64_t>(room, late_look_frees) : room;
  }
  s.set_room(room);
}

void thread_cache::load(unsigned index, magazine full) noexcept {
  cache_slot& s = slots_[index];
  s.head = full.head;
  s.sum = s.room + s.popped + static_cast<std::int64_t>(full.blocks);
  s.whole_at = SIZE_MAX;
  open(index);
}

void thread_cache::adopt() noexcept {
  in_use = true;
  seen_trims_ = depot_->trims_requested();
  depot_->add_cache();
}

void thread_cache::leave() noexcept {
  in_use = false;
  depot_->remove_cache();
}

void* thread_cache::try_refill(unsigned index) {
  honour_trim();
  cache_slot& s = slots_[index];
  if (s.capacity == 0 && s.spare_blocks != 0) {
    hand_over(index, take_spare(s));  // what was to be given away
  }
  if (s.head == nullptr && s.spare_blocks != 0) {
    load(index, take_spare(s));
  }
  if (s.head != nullptr) {
    return slots_.try_pop(index);
  }
  widen(index);
  bool fresh = false;
  std::size_t elsewhere = depot::unknown_blocks;
  const magazine taken =
      depot_->try_take(index, blocks_to_take(index), fresh, elsewhere, as_flushable(this).get());
  if (taken.head == nullptr) {
    return nullptr;
  }
  // The first block of a span counts as a miss, so it never was on the list.
  const magazine listed = fresh ? magazine{taken.head->next(), taken.blocks - 1} : taken;
  slots_.take_room(index, listed.blocks);
  load(index, listed);
  look_for_last(s, elsewhere, 0);
  if (!cache_slots::has_own_room(index)) {
    open(index);  // every free counts there
  }
  return fresh ? taken.head->handed_out() : slots_.try_pop(index);
}

// A magazine's worth, if there is room for all of them but the one that is wanted now.
std::size_t thread_cache::blocks_to_take(unsigned index) noexcept {
  const std::size_t wanted = std::max<std::size_t>(slots_[index].capacity, 1);
  if (cache_slots::has_own_room(index)) {
    return wanted;
  }
  const std::size_t block_bytes = class_block_bytes(index);
  if (try_reserve((wanted - 1) * block_bytes)) {
    return wanted;
  }
  return 1 + free_bytes() / block_bytes;
}

void thread_cache::take_back(unsigned index, void* block) noexcept {
  honour_trim();
  cache_slot& s = slots_[index];
  if (s.capacity == 0 && (s.popped != 0 || !shares_cache_line(index))) {
    widen(index);
  }
  if (s.capacity == 0 && s.popped == 0 && shares_cache_line(index)) {
    give_away(index, block);
    return;
  }
  if (s.capacity == 0 || !(cache_slots::has_own_room(index) || has_room_for(index))) {
    depot_->deallocate(index, block);
    return;
  }
  // Of small blocks nearly full is full, lest every few frees have to look.
  const std::uint32_t spared = cache_slots::has_own_room(index) ? s.capacity / 8 : 0;
  if (s.loaded_blocks() >= s.capacity - spared) {
    look_for_last(s, unload_full(index), 1);
  } else if (cache_slots::has_own_room(index) &&
             s.capacity < busy_capacity_bytes / class_block_bytes(index) && has_much_room()) {
    widen(index);
  }
  slots_.push(index, block);
  if (s.loaded_blocks() >= s.whole_at) {
    flush_slot(index);  // nothing of this class may be live now: the depot begins its spans anew
  } else {
    settle_late(index);
    open(index);
  }
}

// Freed by a thread that has none of these, so it came from another one, whose blocks lie beside it: nobody
// gets it here. Some go together, as each visit to the depot costs as much as ten frees.
void thread_cache::give_away(unsigned index, void* block) noexcept {
  constexpr std::uint32_t most_blocks = 32;
  cache_slot& s = slots_[index];
  // The first two blocks of a magazine have lost the mark by which a hardened build knows a second free.
  if (hardened_build || is_late_ || !depot_->is_cached(index)) {
    depot_->deallocate(index, block);
    return;
  }
  s.spare = free_block::make(block, class_block_bytes(index), s.spare);
  s.spare_blocks = s.spare_blocks + 1;
  if (s.spare_blocks >= most_blocks) {
    hand_over(index, take_spare(s));
  }
}

// While more is idle than may be, every few frees do a step, whether or not they would get to the depot: a
// program that has found its rest may never get there.
void thread_cache::settle_late(unsigned index) noexcept {
  if (is_late_) {
    const std::uint32_t frees =
        index < small_class_count ? late_look_frees : 1;  // since the last look, about
    frees_while_late_ += frees;
    bytes_while_late_ += frees * class_block_bytes(index);
    if (frees_while_late_ < late_look_frees) {
      return;
    }
    depot_->settle(std::exchange(bytes_while_late_, 0));
    frees_while_late_ = 0;
  }
  look_whether_late();
}

void thread_cache::look_whether_late() noexcept {
  const bool was_late = std::exchange(is_late_, depot_->is_late());
  if (is_late_ && !was_late) {
    for (cache_slot& slot : slots_.of_class) {
      slot.set_room(no_room);
    }
  }
}

// Whether what is given to a class now isn't missed by another one soon.
bool thread_cache::has_much_room() const noexcept {
  return reserved_bytes_ - free_bytes() < depot_->cache_share_bytes() / 4;
}

std::size_t thread_cache::hand_over(unsigned index, magazine full) noexcept {
  slots_.give_room(index, full.blocks);
  const std::size_t elsewhere = depot_->put(index, full);
  look_whether_late();
  return elsewhere;
}

// Where much of a class is out the free of its last live block takes the slow path, as far as this thread can
// tell when it visits the depot; what other threads do afterwards is not seen.
void thread_cache::look_for_last(cache_slot& slot, std::size_t blocks_elsewhere,
                                 std::size_t being_freed) noexcept {
  if (blocks_elsewhere == depot::unknown_blocks) {
    return;
  }
  const std::size_t own_blocks = slot.free_blocks() + being_freed;
  const std::size_t others = blocks_elsewhere - std::min(blocks_elsewhere, own_blocks);
  slot.whole_at = slot.loaded_blocks() + being_freed + others;
}

// Keeps the full magazine as the spare one, and hands over the one that was. Returns what the depot says of
// blocks outside of it, if it was asked.
std::size_t thread_cache::unload_full(unsigned index) noexcept {
  cache_slot& s = slots_[index];
  const magazine full{s.head, s.loaded_blocks()};
  const magazine spare = take_spare(s);
  s.spare = full.head;
  s.spare_blocks = static_cast<std::uint32_t>(full.blocks);
  load(index, {});
  std::size_t elsewhere = depot::unknown_blocks;
  if (spare.head != nullptr) {
    elsewhere = hand_over(index, spare);  // which may reach upstream, which may have this cache flushed
    widen(index);
  }
  return elsewhere;
}

magazine thread_cache::take_spare(cache_slot& slot) noexcept {
  const magazine spare{slot.spare, slot.spare_blocks};
  slot.spare = nullptr;
  slot.spare_blocks = 0;
  return spare;
}

void thread_cache::flush_slot(unsigned index) noexcept {
  cache_slot& s = slots_[index];
  const magazine spare = take_spare(s);
  const magazine loaded{s.head, s.loaded_blocks()};
  load(index, {});
  hand_over(index, spare);
  hand_over(index, loaded);
}

void thread_cache::flush() noexcept {
  for (unsigned i = 0; i < cached_class_count; ++i) {
    if (slots_[i].capacity != 0 || slots_[i].spare_blocks != 0) {
      flush_slot(i);
    }
  }
}

void thread_cache::honour_trim() noexcept {
  if (depot_->trims_requested() != seen_trims_) {
    flush_for_trim();
    depot_->follow_trim();
  }
}

void thread_cache::flush_for_trim() noexcept {
  seen_trims_ = depot_->trims_requested();
  flush();
}

void thread_cache::forget() noexcept {
  if (in_use) {
    leave();
  }
  depot_->give_cache_bytes(reserved_bytes_);
  reserved_bytes_ = 0;
  slots_.free_room_bytes = 0;
}

void thread_cache::retire() noexcept {
  for (unsigned i = 0; i < cached_class_count; ++i) {
    if (slots_[i].capacity != 0) {
      slots_[i].earlier_capacity = slots_[i].capacity;
      deactivate(i);
    } else if (slots_[i].spare_blocks != 0) {
      flush_slot(i);
    }
  }
  give_up_room();
}

// More room in the magazines of a class that has just missed: twice as much, while there is room.
void thread_cache::widen(unsigned index) noexcept {
  if (!depot_->is_cached(index)) {
    return;
  }
  cache_slot& s = slots_[index];
  const std::size_t block_bytes = class_block_bytes(index);
  const std::size_t first =
      std::clamp<std::size_t>(first_capacity_bytes / block_bytes, 1, first_capacity_blocks);
  // Doubled while it is small, so that it has soon what it needs, but no more of what others need.
  const std::uint32_t had = s.capacity;
  const std::uint32_t step = room_bytes(index, had) < small_room_bytes ? had : std::max(had / 4, 1U);
  const pool_options& options = depot_->options();
  const std::size_t most = std::min({std::size_t{most_capacity}, options.max_idle_blocks_per_bucket / 2,
                                     options.thread_cache_bytes / classes_per_cache / room_bytes(index, 1)});
  const std::size_t wanted = had + std::max<std::size_t>({step, first, s.earlier_capacity / 2});
  const std::size_t capacity = std::min(wanted, most);
  if (is_beyond_share() && halve_largest(index, 0)) {
    give_up_room();
    return;
  }
  if (capacity <= had) {
    return;
  }
  if (cache_slots::has_own_room(index)) {
    const std::size_t more_bytes = room_bytes(index, capacity - had);
    if (!make_room(index, more_bytes, room_bytes(index, capacity))) {
      return;
    }
    slots_.free_room_bytes -= static_cast<std::int64_t>(more_bytes);
  }
  s.earlier_capacity = 0;
  s.capacity = static_cast<std::uint32_t>(capacity);
  open(index);
}

// Whether another block of a class of larger ones may be kept: where there is no room what lies here in
// quantity goes, a magazine at once, rather than block by block what is freed now.
bool thread_cache::has_room_for(unsigned index) noexcept {
  if (is_late_ && depot_->sorts_all()) {
    return false;  // what is kept now may hold a region that the pass would find empty
  }
  const std::size_t block_bytes = class_block_bytes(index);
  while (!try_reserve(block_bytes)) {
    if (!free_budget(index) && !hand_over_largest(block_bytes)) {
      return false;
    }
  }
  return true;
}

// Free room of so many bytes for a class, which will then have `room`. What there is goes to those who miss,
// but not back and forth: a class yields half of its room to one that has no more than that half even then.
bool thread_cache::make_room(unsigned index, std::size_t bytes, std::size_t room) noexcept {
  constexpr std::size_t least_times = 4;
  while (!try_reserve(bytes)) {
    if (!free_budget(index) && (!may_look_for_largest() || !halve_largest(index, least_times * room))) {
      return false;
    }
  }
  return true;
}

// The same, if no class has to yield for it.
bool thread_cache::try_reserve(std::size_t bytes) noexcept {
  const std::int64_t missing = static_cast<std::int64_t>(bytes) - slots_.free_room_bytes;
  if (missing <= 0) {
    return true;
  }
  const auto more_bytes = static_cast<std::size_t>(missing);
  if (reserved_bytes_ + more_bytes > depot_->cache_share_bytes() ||
      !depot_->reserve_cache_bytes(reserved_bytes_, more_bytes)) {
    return false;
  }
  reserved_bytes_ += more_bytes;
  slots_.free_room_bytes += missing;
  return true;
}

// Room that no class has is for other threads.
void thread_cache::give_up_room() noexcept {
  const std::size_t bytes = free_bytes();
  reserved_bytes_ -= bytes;
  slots_.free_room_bytes -= static_cast<std::int64_t>(bytes);
  depot_->give_cache_bytes(bytes);
}

// Of the room, what no class has.
std::size_t thread_cache::free_bytes() const noexcept {
  return static_cast<std::size_t>(std::max<std::int64_t>(slots_.free_room_bytes, 0));
}

// Whether it has more than its share even without free room, since there are more threads than there were.
bool thread_cache::is_beyond_share() noexcept {
  if (reserved_bytes_ <= depot_->cache_share_bytes()) {
    return false;
  }
  give_up_room();
  return reserved_bytes_ > depot_->cache_share_bytes();
}

// What a class has of the room.
std::size_t thread_cache::taken_bytes(unsigned index) const noexcept {
  const cache_slot& s = slots_[index];
  return cache_slots::has_own_room(index) ? room_bytes(index, s.capacity)
                                          : s.free_blocks() * class_block_bytes(index);
}

// Takes the room of the next class but `index` if it wasn't used since the hand last passed; else notes its
// activity. One look per call: a class that is denied costs a visit to the depot, and as many more as there
// are classes in use before one of them gives way.
bool thread_cache::free_budget(unsigned index) noexcept {
  for (unsigned looked = 0; looked < cached_class_count; ++looked) {
    clock_hand_ = (clock_hand_ + 1) % cached_class_count;
    cache_slot& s = slots_[clock_hand_];
    if (s.capacity == 0 || clock_hand_ == index) {
      continue;
    }
    const std::uint32_t seen = s.activity();
    if (s.last_activity != seen) {
      s.last_activity = seen;
      return false;
    }
    deactivate(clock_hand_);
    return true;
  }
  return false;
}

// Whether a class that is denied looks at what all others have, which costs more than the visit to the depot
// that it would save: now and then.
bool thread_cache::may_look_for_largest() noexcept {
  constexpr std::uint32_t denials_between_looks = 8;
  return denials_++ % denials_between_looks == 0;
}

// Of the classes from `first` on, but `except`, the one that has most of the room; `except` if none has any.
unsigned thread_cache::largest_class(unsigned first, unsigned except) const noexcept {
  unsigned largest = except;
  std::size_t most_bytes = 0;
  for (unsigned i = first; i < cached_class_count; ++i) {
    if (const std::size_t bytes = taken_bytes(i); i != except && bytes > most_bytes) {
      most_bytes = bytes;
      largest = i;
    }
  }
  return largest;
}

// Half of what the class with most room has, if that is `least_room`. Classes that were busy when there was
// room for everybody would keep what others need.
bool thread_cache::halve_largest(unsigned index, std::size_t least_room) noexcept {
  const unsigned largest = largest_class(0, index);
  if (largest == index || taken_bytes(largest) < least_room) {
    return false;
  }
  resize_slot(largest, slots_[largest].capacity / 2);
  return true;
}

// A magazine of the larger class that has most here, if that is so much.
bool thread_cache::hand_over_largest(std::size_t least_bytes) noexcept {
  const unsigned largest = largest_class(small_class_count, cached_class_count);
  if (largest == cached_class_count || taken_bytes(largest) < least_bytes) {
    return false;
  }
  if (const magazine spare = take_spare(slots_[largest]); spare.head != nullptr) {
    hand_over(largest, spare);
  } else {
    flush_slot(largest);
  }
  return true;
}

void thread_cache::deactivate(unsigned index) noexcept {
  resize_slot(index, 0);
}

// To less than it had; what is in it goes to the depot.
void thread_cache::resize_slot(unsigned index, std::uint32_t capacity) noexcept {
  flush_slot(index);
  cache_slot& s = slots_[index];
  if (cache_slots::has_own_room(index)) {
    slots_.free_room_bytes += static_cast<std::int64_t>(room_bytes(index, s.capacity - capacity));
  }
  s.capacity = capacity;
  load(index, {});
}

}  // namespace cistern::detail
