#include <cistern/detail/base/memory_checker.hpp>
#include <cistern/detail/base/misuse.hpp>
#include <cistern/detail/base/os_pages.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/block_ledger.hpp>
#include <cistern/detail/pool/effective_options.hpp>
#include <cistern/detail/pool/oversize_list.hpp>
#include <cistern/detail/pool/slack_guard.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <span>

#include "../base/signal_text.hpp"

namespace cistern::detail {
namespace {

// What a mark says, but for the bit of the 8 bytes. 0: nothing is known. From 1 to `class_count`: a block in
// use, of the class before that.
constexpr std::uint8_t is_oversize = class_count + 1;  ///< A block in use that no bucket serves.
constexpr std::uint8_t has_guard = 125;                ///< The block that began in the 16 bytes before does.
constexpr std::uint8_t is_oversize_end = 126;          ///< What `unpooled_blocks` knows of one is here.
constexpr std::uint8_t was_returned = 127;             ///< A block began here, and came back.
constexpr std::uint8_t upper_half = 128;
static_assert(is_oversize < has_guard);
static_assert(smallest_block_bytes >= 16 && fine_step_bytes == 8,
              "no two blocks begin in 16 bytes, and those that do begin at a multiple of 8");

constexpr std::uint8_t word_of(std::uint8_t mark) noexcept {
  return mark & (upper_half - 1);
}
constexpr bool is_in_use(std::uint8_t mark) noexcept {
  return word_of(mark) != 0 && word_of(mark) <= is_oversize;
}
constexpr std::uint8_t half_of(std::uintptr_t address) noexcept {
  return address % 16 < 8 ? 0 : upper_half;
}
std::size_t bytes_of(unsigned word) noexcept {
  return word == 0 ? 0 : class_block_bytes(word - 1);
}
std::uintptr_t number_of(const void* address) noexcept {
  return reinterpret_cast<std::uintptr_t>(address);
}

constexpr std::size_t least_guarded_block_bytes = 32;  // so that nothing else begins in the 16 bytes behind
constexpr std::size_t most_guarded_block_bytes = std::size_t{1} << 20;  // its last page may be untouched yet

bool has_room_for_guard(std::size_t bytes, std::size_t block_bytes) noexcept {
  return block_bytes - bytes >= slack_guard::least_bytes && block_bytes >= least_guarded_block_bytes &&
         block_bytes <= most_guarded_block_bytes;
}

}  // namespace

block_ledger::block_ledger(const char* owner_class, const void* owner, const pool_options& options,
                           const unpooled_blocks& unpooled) noexcept
    : owner_class_(owner_class),
      owner_(owner),
      options_(options),
      unpooled_(unpooled),
      guards_slack_(!options.zero_on_free && !memory_checker_present()) {}

// ---- the tables ----

// New pages read as zero, which is what a table begins with.
template <class Table>
Table* block_ledger::try_make(std::atomic<Table*>& entry, std::atomic<Table*>& made) noexcept {
  Table* found = entry.load(std::memory_order_acquire);
  if (found != nullptr) {
    return found;
  }
  auto* const added = static_cast<Table*>(map_pages(whole_pages(sizeof(Table)), alignof(Table)));
  if (added == nullptr) {
    return nullptr;
  }
  // Release pairs with the acquire of every load of an entry: the zeros are seen. Acquire, because another
  // thread's table may be used next.
  if (!entry.compare_exchange_strong(found, added, std::memory_order_acq_rel)) {
    unmap_pages(added, whole_pages(sizeof(Table)));
    return found;
  }
  added->next = made.load(std::memory_order_relaxed);
  while (!made.compare_exchange_weak(added->next, added, std::memory_order_relaxed)) {
  }
  return added;
}

template <class Table>
void block_ledger::unmap(std::atomic<Table*>& made) noexcept {
  for (Table* each = made.exchange(nullptr, std::memory_order_relaxed); each != nullptr;) {
    Table* const next = each->next;
    unmap_pages(each, whole_pages(sizeof(Table)));
    each = next;
  }
}

block_ledger::mark_place* block_ledger::try_make_mark(std::uintptr_t address) noexcept {
  root* const top = address >> address_bits == 0 ? try_make(root_, roots_) : nullptr;
  branch* const middle = top != nullptr ? try_make(top->at(address), branches_) : nullptr;
  leaf* const last = middle != nullptr ? try_make(middle->at(address), leaves_) : nullptr;
  if (last == nullptr) {
    // Relaxed, as are the marks: whoever gives a block back got it from who was handed it.
    is_incomplete_.store(true, std::memory_order_relaxed);
    return nullptr;
  }
  return &last->at(address);
}

block_ledger::mark_place* block_ledger::find_mark(std::uintptr_t address) const noexcept {
  root* const top = address >> address_bits == 0 ? root_.load(std::memory_order_acquire) : nullptr;
  branch* const middle = top != nullptr ? top->at(address).load(std::memory_order_acquire) : nullptr;
  leaf* const last = middle != nullptr ? middle->at(address).load(std::memory_order_acquire) : nullptr;
  return last != nullptr ? &last->at(address) : nullptr;
}

block_ledger::mark block_ledger::mark_at(std::uintptr_t address) const noexcept {
  const mark_place* marked = find_mark(address);
  return marked != nullptr ? marked->load(std::memory_order_relaxed) : mark{0};
}

// What stands where such a block begins.
block_ledger::mark block_ledger::mark_for(std::uintptr_t address, std::size_t bytes,
                                          std::size_t alignment) const noexcept {
  const std::size_t last = last_byte(bytes, alignment);
  const unsigned word = served_by_bucket(last, alignment, options_) ? class_of(last) + 1 : is_oversize;
  return static_cast<mark>(word | half_of(address));
}

void block_ledger::forget() noexcept {
  root_.store(nullptr, std::memory_order_relaxed);
  unmap(leaves_);
  unmap(branches_);
  unmap(roots_);
  is_incomplete_.store(false, std::memory_order_relaxed);
}

// ---- writing and judging ----

void block_ledger::hand_out(const void* block, std::size_t bytes, std::size_t alignment) noexcept {
  if (is_off(bytes)) {
    return;
  }
  const std::uintptr_t address = number_of(block);
  const mark added = mark_for(address, bytes, alignment);
  mark_place* at = try_make_mark(address);
  if (at == nullptr) {
    return;
  }
  if (is_in_use(at->exchange(added, std::memory_order_relaxed))) {
    signal_text text;
    text.add("cistern: ").add(owner_class_).add(" at ").add_address(owner_).add(": the block at ");
    text.add_address(block).add(" is in use, and about to be handed out again: free blocks were written to");
    misuse_found(text.c_str());
  }
  if (word_of(added) == is_oversize) {
    at = try_make_mark(address + oversize_list::granted_bytes(bytes));
    if (at != nullptr) {
      at->store(is_oversize_end, std::memory_order_relaxed);
    }
  } else if (const std::size_t block_bytes = bytes_of(word_of(added));
             guards_slack_ && has_room_for_guard(bytes, block_bytes)) {
    at = try_make_mark(address + granule_bytes);
    if (at != nullptr) {
      slack_guard::write(const_cast<void*>(block), bytes, block_bytes);
      at->store(has_guard, std::memory_order_relaxed);
    }
  }
}

bool block_ledger::take_back(const void* block, std::size_t bytes, std::size_t alignment) noexcept {
  if (is_off(bytes)) {
    return true;
  }
  const std::uintptr_t address = number_of(block);
  mark expected = mark_for(address, bytes, alignment);
  const bool oversize = word_of(expected) == is_oversize;
  const std::uintptr_t end = address + oversize_list::granted_bytes(bytes);
  mark_place* at = find_mark(address);
  // The record of an oversize block may only be read where one is.
  const bool is_right =
      at != nullptr && address % 8 == 0 && at->load(std::memory_order_relaxed) == expected &&
      (!oversize ||
       (mark_at(end) == is_oversize_end && unpooled_.is_oversize_block(block, bytes, alignment)));
  // An exchange: of two threads that give the same block back, one finds it gone.
  if (!is_right || !at->compare_exchange_strong(expected, static_cast<mark>(was_returned | half_of(address)),
                                                std::memory_order_relaxed)) {
    report_wrong(block, bytes, alignment);
    return false;
  }
  if (oversize) {
    mark_place* at_end = find_mark(end);
    at_end->store(0, std::memory_order_relaxed);
  } else if (is_guarded(address)) {
    allow_slack(block);
    if (!slack_guard::is_whole(block, bytes_of(word_of(expected)))) {
      report(block, bytes, alignment, "was written to beyond its end");
    }
  }
  return true;
}

void block_ledger::allow_slack(const void* block) noexcept {
  if (is_guarded(number_of(block))) {
    mark_place* guarded = find_mark(number_of(block) + granule_bytes);
    guarded->store(0, std::memory_order_relaxed);
  }
}

bool block_ledger::is_guarded(std::uintptr_t address) const noexcept {
  return mark_at(address + granule_bytes) == has_guard;
}

// ---- reports ----

// The beginning of the block in use that an address lies in, but at its beginning; or 0. The nearest mark
// before the address tells. O(distance), but for tables that aren't there.
std::uintptr_t block_ledger::enclosing_block(std::uintptr_t address) const noexcept {
  constexpr std::uintptr_t leaf_reach_bytes = granule_bytes << leaf_bits;
  const std::uintptr_t lowest =
      address > largest_block_bytes + leaf_reach_bytes ? address - largest_block_bytes : leaf_reach_bytes;
  for (std::uintptr_t at = address; at >= lowest;) {
    const mark_place* marked = find_mark(at);
    if (marked == nullptr) {
      at = (at & ~(leaf_reach_bytes - 1)) - 1;
      continue;
    }
    const mark seen = marked->load(std::memory_order_relaxed);
    const std::uintptr_t granule = at & ~(granule_bytes - 1);
    const std::uintptr_t begin = granule + ((seen & upper_half) != 0 ? granule_bytes / 2 : 0);
    if (is_in_use(seen) && begin < address) {
      const bool reaches = word_of(seen) == is_oversize || address - begin < bytes_of(word_of(seen));
      return reaches ? begin : 0;
    }
    if (seen == is_oversize_end) {
      return 0;
    }
    at = granule - 1;
  }
  return 0;
}

// Of a block in use that begins there.
void block_ledger::describe_block(const void* block, unsigned given_word,
                                  std::span<char> text) const noexcept {
  const unsigned word = word_of(mark_at(number_of(block)));
  if (word == is_oversize) {
    const block_request asked = unpooled_.find(block).value_or(block_request{0, 0});
    std::snprintf(text.data(), text.size(), "is an oversize block of %zu bytes aligned to %zu", asked.bytes,
                  asked.alignment);
  } else if (given_word == is_oversize) {
    std::snprintf(text.data(), text.size(), "is a block of %zu bytes, and no bucket serves such a size",
                  bytes_of(word));
  } else {
    std::snprintf(text.data(), text.size(), "is a block of %zu bytes, and such a size has one of %zu",
                  bytes_of(word), bytes_of(given_word));
  }
}

// Of a block in use that begins before it.
void block_ledger::describe_inside(std::uintptr_t address, std::uintptr_t begin,
                                   std::span<char> text) const noexcept {
  const unsigned word = word_of(mark_at(begin));
  if (word == is_oversize) {
    std::snprintf(text.data(), text.size(), "lies %zu bytes inside the oversize block at 0x%zx",
                  address - begin, begin);
  } else {
    std::snprintf(text.data(), text.size(), "lies %zu bytes inside the block of %zu bytes at 0x%zx",
                  address - begin, bytes_of(word), begin);
  }
}

void block_ledger::report_wrong(const void* block, std::size_t bytes, std::size_t alignment) const noexcept {
  const std::uintptr_t address = number_of(block);
  const mark known = mark_at(address);
  const bool begins_here = address % 8 == 0 && (known & upper_half) == half_of(address);
  std::array<char, 160> what{};
  if (begins_here && is_in_use(known)) {
    describe_block(block, word_of(mark_for(address, bytes, alignment)), what);
  } else if (const std::uintptr_t begin = enclosing_block(address); begin != 0) {
    describe_inside(address, begin, what);
  } else {
    const bool is_free = begins_here && word_of(known) == was_returned;
    std::snprintf(what.data(), what.size(), "%s",
                  block == nullptr ? "is null"
                  : is_free        ? "is free: it was given back before"
                                   : "is no block of this pool");
  }
  report(block, bytes, alignment, what.data());
}

void block_ledger::report(const void* block, std::size_t bytes, std::size_t alignment,
                          const char* what) const noexcept {
  signal_text text;
  text.add("cistern: ")
      .add_address(block)
      .add(", given back as ")
      .add_number(bytes)
      .add(" bytes aligned to ");
  text.add_number(alignment).add(", ").add(what).add(" (").add(owner_class_).add(" at ").add_address(owner_);
  text.add(")");
  if (!memory_checker_present()) {
    misuse_found(text.c_str());
  }
  text.write_to_stderr();
  report_misuse("a block is given back wrongly", block, bytes);  // with the stack
}

}  // namespace cistern::detail
