#include <cistern/detail/base/errno_keeper.hpp>
#include <cistern/detail/base/guarded_slots.hpp>
#include <cistern/detail/base/misuse.hpp>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

#include "patient_lock.hpp"
#include "signal_text.hpp"
#include <sys/syscall.h>
#include <unistd.h>

namespace cistern::detail {
namespace {

constexpr auto margin = std::byte{0xDB};  // What a block leaves of its page holds this.

constexpr std::string_view report_begin = "cistern: sampled guard: ";

// Not `thread_id`, which remembers it in thread-local memory: to touch that for the first time may take
// memory, which a signal handler and malloc can't, and each copy of the library needs room for it, see
// `sampler`.
std::uint64_t asked_thread_id() noexcept {
  return static_cast<std::uint64_t>(::syscall(SYS_gettid));
}

std::uint64_t now_in_ns() noexcept {
  return static_cast<std::uint64_t>(
      std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count());
}

bool is_margin(const std::byte* from, const std::byte* end) noexcept {
  const auto bytes = static_cast<std::size_t>(end - from);
  return bytes == 0 || (*from == margin && std::memcmp(from, from + 1, bytes - 1) == 0);
}

/// How far from a block the damage reaches that begins or ends somewhere in its margin.
std::size_t damage_in_front(const std::byte* from, const std::byte* block) noexcept {
  return static_cast<std::size_t>(block -
                                  std::find_if(from, block, [](std::byte each) { return each != margin; }));
}
std::size_t damage_behind(const std::byte* block_end, const std::byte* end) noexcept {
  while (end != block_end && end[-1] == margin) {
    --end;
  }
  return static_cast<std::size_t>(end - block_end);
}

[[noreturn]] void tell_and_abort(signal_text& text) noexcept {
  misuse_found(text.c_str());
}

std::string_view words_for(fault_access access) noexcept {
  return access == fault_access::read    ? "read of "
         : access == fault_access::write ? "write to "
                                         : "access to ";
}

}  // namespace

guarded_slots::guarded_slots(std::size_t slots)
    : page_bytes_(os_page_bytes()),
      slot_count_(std::min(slots, most_slots)),
      area_(reserve_pages, slot_count_ == 0 ? 0 : (2 * slot_count_ + 1) * page_bytes_),
      slot_pages_([](std::size_t bytes) noexcept { return map_pages(bytes, 1); },
                  slot_count_ == 0 ? 0 : whole_pages(slot_count_ * sizeof(slot))) {
  if (area_.base != nullptr && slot_pages_.base != nullptr) {
    make_slots();
    watch_faults(*this);
  }
}

void guarded_slots::make_slots() noexcept {
  const scoped_lock guard(lock_);
  slots_ = reinterpret_cast<slot*>(slot_pages_.base);
  for (std::size_t i = 0; i < slot_count_; ++i) {
    slot& made = *::new (static_cast<void*>(slots_ + i)) slot;
    made.begins_page = i % 2 == 1;
    put_back(made);
  }
  counts_.slots = slot_count_;
  first_address_ = reinterpret_cast<std::uintptr_t>(area_.base);
  area_bytes_ = area_.bytes;
}

guarded_slots::~guarded_slots() {
  if (slots_ != nullptr) {
    stop_watching_faults(*this);
  }
}

guarded_slots::event guarded_slots::event_of(const void* caller) noexcept {
  return {now_in_ns(), asked_thread_id(), caller};
}

// --- Slots and their pages ---

std::byte* guarded_slots::page_of(const slot& one) const noexcept {
  return area_.base + (2 * static_cast<std::size_t>(&one - slots_) + 1) * page_bytes_;
}

/// The slot whose page it is; of a guard page, the one whose block is nearer. Null where there was never a
/// block.
guarded_slots::slot* guarded_slots::slot_near(const void* address) const noexcept {
  const auto* const touched = static_cast<const std::byte*>(address);
  const std::size_t page = static_cast<std::size_t>(touched - area_.base) / page_bytes_;
  const auto if_ever_used = [&](std::size_t index) {
    return index < slot_count_ && slots_[index].block != nullptr ? slots_ + index : nullptr;
  };
  slot* const right = if_ever_used(page / 2);
  if (page % 2 == 1 || page == 0) {
    return right;
  }
  slot* const left = if_ever_used(page / 2 - 1);
  if (left == nullptr || right == nullptr) {
    return left == nullptr ? right : left;
  }
  return touched - (left->block + left->bytes) < right->block - touched ? left : right;
}

/// The one that has been free for longest, or null.
guarded_slots::slot* guarded_slots::take_slot() noexcept {
  const scoped_lock guard(lock_);
  slot* const one = oldest_free_;
  if (one == nullptr) {
    ++counts_.no_slot;
    return nullptr;
  }
  oldest_free_ = one->next;
  if (oldest_free_ == nullptr) {
    newest_free_ = nullptr;
  }
  counts_.slots_quarantined -= one->block != nullptr ? 1 : 0;
  return one;
}

void guarded_slots::put_back(slot& one) noexcept {
  one.next = nullptr;
  (newest_free_ != nullptr ? newest_free_->next : oldest_free_) = &one;
  newest_free_ = &one;
  counts_.slots_quarantined += one.block != nullptr ? 1 : 0;
}

void guarded_slots::put_back_unopened(slot& one) noexcept {
  const scoped_lock guard(lock_);
  ++counts_.refused;
  put_back(one);
}

// --- Allocation and deallocation ---

void* guarded_slots::allocate(std::size_t bytes, std::size_t alignment, const void* caller) noexcept {
  if (slots_ == nullptr) {
    return nullptr;
  }
  if (bytes > page_bytes_ || alignment > page_bytes_ || !std::has_single_bit(alignment)) {
    const scoped_lock guard(lock_);
    ++counts_.too_large;
    return nullptr;
  }
  slot* const one = take_slot();
  if (one == nullptr) {
    return nullptr;
  }
  std::byte* const page = page_of(*one);
  if (!open_pages(page, page_bytes_)) {
    put_back_unopened(*one);
    return nullptr;
  }
  std::memset(page, static_cast<int>(margin), page_bytes_);
  const std::size_t from_end = (std::max<std::size_t>(bytes, 1) + alignment - 1) & ~(alignment - 1);
  const event now = event_of(caller);

  const scoped_lock guard(lock_);
  one->block = one->begins_page ? page : page + page_bytes_ - from_end;
  one->begins_page = !one->begins_page;
  one->bytes = bytes;
  one->alignment = alignment;
  one->is_live = true;
  one->is_told = false;
  one->allocated = now;
  ++counts_.sampled;
  ++counts_.slots_in_use;
  return one->block;
}

void guarded_slots::deallocate(const void* block, const block_request* given, const void* caller) noexcept {
  signal_text misuse;
  slot* const one = begin_free(block, given, event_of(caller), misuse);
  if (one == nullptr) {
    tell_and_abort(misuse);
  }
  expect_whole_margins(*one);
  quarantine(*one);
}

block_request guarded_slots::request_of(const void* block, const void* caller) noexcept {
  signal_text misuse;
  {
    const scoped_lock guard(lock_);
    if (const slot* const one = live_slot(block, "use", event_of(caller), misuse); one != nullptr) {
      return {one->bytes, one->alignment};
    }
  }
  tell_and_abort(misuse);
}

void guarded_slots::release(const void* caller) noexcept {
  const std::size_t ever_made = slots_ != nullptr ? slot_count_ : 0;
  for (std::size_t i = 0; i < ever_made; ++i) {
    slot& one = slots_[i];
    if (!one.is_live) {
      continue;
    }
    {
      const scoped_lock guard(lock_);
      mark_freed(one, event_of(caller));
    }
    quarantine(one);
  }
}

/// Nobody may touch the block any more, nor find in a core file what was in it. The slot is nobody's now.
void guarded_slots::quarantine(slot& one) noexcept {
  std::memset(one.block, 0, one.bytes);
  const bool closed = close_pages(page_of(one), page_bytes_);

  const scoped_lock guard(lock_);
  counts_.refused += closed ? 0 : 1;
  put_back(one);
}

void guarded_slots::mark_freed(slot& one, const event& now) noexcept {
  one.is_live = false;
  one.is_told = false;
  one.freed = now;
  --counts_.slots_in_use;
}

/// The slot of a live block. Null where there is none; then `misuse` says why. `use`: what is about to be
/// done.
guarded_slots::slot* guarded_slots::live_slot(const void* block, std::string_view use, const event& now,
                                              signal_text& misuse) noexcept {
  slot* const one = slot_near(block);
  if (one != nullptr && one->block == block && one->is_live) {
    return one;
  }
  misuse.add(report_begin);
  if (one == nullptr) {
    misuse.add(use).add(" of a pointer where no block was: ").add_address(block);
    misuse.add("; by thread ").add_number(now.thread).add(" from ").add_address(now.caller);
    return nullptr;
  }
  if (block != one->block) {
    const std::ptrdiff_t offset = static_cast<const std::byte*>(block) - one->block;
    misuse.add(use).add(" of a pointer that isn't a block's, at offset ").add(offset < 0 ? "-" : "");
    misuse.add_number(static_cast<std::uint64_t>(offset < 0 ? -offset : offset));
  } else {
    misuse.add(use == "free" ? "double free" : "use after free");
  }
  add_block(misuse, *one, now);
  return nullptr;
}

/// From now on the block counts as freed. Null where it can't be; then `misuse` says why.
guarded_slots::slot* guarded_slots::begin_free(const void* block, const block_request* given,
                                               const event& now, signal_text& misuse) noexcept {
  const scoped_lock guard(lock_);
  slot* const one = live_slot(block, "free", now, misuse);
  if (one == nullptr) {
    return nullptr;
  }
  if (given != nullptr && given->bytes != one->bytes) {
    misuse.add(report_begin).add("free with the wrong size, ").add_bytes(given->bytes);
  } else if (given != nullptr && given->alignment != one->alignment) {
    misuse.add(report_begin).add("free with the wrong alignment, ").add_number(given->alignment);
  } else {
    mark_freed(*one, now);
    return one;
  }
  add_block(misuse, *one, now);
  return nullptr;
}

/// What is written beside a block, but not as far as a guard page, is found here at last. The slot is
/// nobody's now.
void guarded_slots::expect_whole_margins(const slot& one) const noexcept {
  const std::byte* const page = page_of(one);
  const std::byte* const page_end = page + page_bytes_;
  const std::byte* const block_end = one.block + one.bytes;
  signal_text damage;
  if (!is_margin(page, one.block)) {
    damage.add(report_begin).add("underflow by ").add_bytes(damage_in_front(page, one.block));
  } else if (!is_margin(block_end, page_end)) {
    damage.add(report_begin).add("overflow by ").add_bytes(damage_behind(block_end, page_end));
  } else {
    return;
  }
  damage.add(", found at the free");
  add_block(damage, one, event_of(one.freed.caller));
  tell_and_abort(damage);
}

// --- Reports ---

void guarded_slots::add_block(signal_text& text, const slot& one, const event& now) noexcept {
  const auto add_event = [&](std::string_view what, const event& then) {
    text.add(what).add_seconds(now.time_ns - then.time_ns).add(" ago by thread ").add_number(then.thread);
    text.add(" from ").add_address(then.caller);
  };
  text.add(": block ").add_address(one.block).add(" of ").add_bytes(one.bytes);
  text.add(" aligned to ").add_number(one.alignment);
  add_event(", allocated ", one.allocated);
  if (!one.is_live) {
    add_event(", freed ", one.freed);
  }
  text.add("; by thread ").add_number(now.thread);
  if (now.caller != nullptr) {
    text.add(" from ").add_address(now.caller);
  }
}

// Not for clang's analysis: without the lock, which may be held by what the signal interrupted, the numbers
// may not fit together, but better those than none.
bool guarded_slots::describe_fault(const void* address, fault_access access,
                                   signal_text& text) noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS {
  if (!contains(address)) {
    return false;
  }
  const event now{now_in_ns(), asked_thread_id(), nullptr};
  const patient_lock guard(lock_);
  slot* const one = slot_near(address);
  if (one == nullptr) {
    text.add(report_begin).add(words_for(access)).add_address(address);
    text.add(", where no block was; by thread ").add_number(now.thread);
    return true;
  }
  if (one->is_told) {
    return true;
  }
  one->is_told = true;
  const auto* const touched = static_cast<const std::byte*>(address);
  const std::byte* const block_end = one->block + one->bytes;
  text.add(report_begin).add(one->is_live ? "" : "use after free, ");
  if (touched < one->block) {
    text.add("underflow by ").add_bytes(static_cast<std::size_t>(one->block - touched));
  } else if (touched >= block_end) {
    text.add("overflow by ").add_bytes(static_cast<std::size_t>(touched - block_end) + 1);
  } else {
    text.add("at byte ").add_number(static_cast<std::size_t>(touched - one->block));
  }
  text.add(", ").add(words_for(access)).add_address(address);
  add_block(text, *one, now);
  return true;
}

sampling_guard_statistics guarded_slots::statistics() const noexcept {
  const scoped_lock guard(lock_);
  return counts_;
}

}  // namespace cistern::detail
