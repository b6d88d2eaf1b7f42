#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/memory_checker.hpp>
#include <cistern/detail/base/os_pages.hpp>
#include <cistern/detail/pool/page_heap.hpp>

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

#include "../base/boundary.hpp"
#include "broken_invariant.hpp"

namespace cistern::detail {
namespace {

constexpr std::uint32_t first_region_pages = 2;
constexpr std::uint32_t usual_region_pages = 16;
constexpr std::uint32_t largest_usual_region_pages = 1024;
// Beyond this, less than a page lost to alignment is little.
constexpr std::uint32_t small_region_pages = usual_region_pages / 2;
// A run that has to be more aligned than its region is may begin so far behind its first page; where that
// wouldn't do, it gets a page more.
constexpr std::size_t most_begins_behind_bytes = page_bytes / 4;
// Of the records of a region that is cut, of which many are looked at: a cache line each.
constexpr std::size_t records_alignment = 64;

bool needs_page_more(const heap_region& home, std::size_t alignment) noexcept {
  return home.alignment < alignment && alignment > most_begins_behind_bytes;
}

}  // namespace

unsigned page_heap::bin_of(std::uint32_t pages) noexcept {
  if (pages <= exact_bins) {
    return pages - 1;
  }
  const auto width = static_cast<unsigned>(std::bit_width(pages));
  const unsigned quarter = (pages >> (width - 3)) & 3U;
  return std::min(exact_bins + (width - 5) * 4 + quarter, bin_count - 1);
}

void page_heap::link(span* run) noexcept {
  const unsigned bin = bin_of(run->pages);
  bins_[bin].push(run);
  filled_bins_[bin / 64] |= std::uint64_t{1} << (bin % 64);
  free_bytes_ += run->bytes();
  add_touched(*run, 1);
}

// What the sums have of a run that comes (1) or goes (-1).
void page_heap::add_touched(const span& run, int sign) noexcept {
  const std::size_t touched = std::size_t{run.out} * page_bytes;
  const std::size_t discardable = is_discardable(run) ? touched : 0;
  untouched_bytes_ += sign > 0 ? run.bytes() - touched : touched - run.bytes();
  discardable_bytes_ += sign > 0 ? discardable : std::size_t{0} - discardable;
}

void page_heap::unlink(span* run) noexcept {
  const unsigned bin = bin_of(run->pages);
  bins_.used(bin).remove(run);
  if (bins_.used(bin).empty()) {
    filled_bins_[bin / 64] &= ~(std::uint64_t{1} << (bin % 64));
  }
  free_bytes_ -= run->bytes();
  add_touched(*run, -1);
}

// Of a new run its pages, and a record: one that was of another run, if there is one, as its memory is there.
span* page_heap::begin_run(heap_region& home, std::uint32_t first_page, std::uint32_t pages) noexcept {
  record_stock& stock = home.stock();
  const bool is_new = stock.returned == record_stock::none;
  span* const run = home.spans() + (is_new ? stock.begun : stock.returned);
  if (is_new) {
    run->slot = stock.begun++;
  } else {
    stock.returned = run->first_page;
  }
  run->first_page = first_page;
  run->pages = pages;
  return run;
}

// The record of a free run is of none now: who looks for what was a block of it finds one of no pages.
void page_heap::end_run(span* run) noexcept {
  record_stock& stock = run->home()->stock();
  run->pages = 0;
  run->first_page = stock.returned;
  stock.returned = run->slot;
}

void page_heap::join(span* run, span* next) noexcept {
  run->pages += next->pages;
  run->out += next->out;
  end_run(next);
}

// The neighbours of a run look at its first and its last page only.
void page_heap::mark(const span* run) noexcept {
  std::uint32_t* const slots = run->home()->slots() + run->first_page;
  slots[0] = run->slot;
  slots[run->pages - 1] = run->slot;
}

// The run behind this one, or null where it is the last of its region.
span* page_heap::after(const span* run) noexcept {
  const heap_region& home = *run->home();
  const std::uint32_t page = run->first_page + run->pages;
  return page != home.pages() ? home.run_at(page) : nullptr;
}

// A bin has runs of several lengths from 17 pages up. A few are looked at; one of the next bin is always long
// enough, by a page at least.
span* page_heap::find_free(std::uint32_t pages, std::size_t alignment) const noexcept {
  constexpr int most_looks = 8;
  const unsigned own_bin = bin_of(pages);
  int looks = 0;
  for (span* run = is_filled(own_bin) ? bins_.used(own_bin).head() : nullptr;
       run != nullptr && looks < most_looks; ++looks) {
    if (run->pages >= pages + (needs_page_more(*run->home(), alignment) ? 1 : 0)) {
      return run;
    }
    run = bins_.used(own_bin).after(run);
  }
  const unsigned above = own_bin + 1;
  for (unsigned word = above / 64; word < filled_bins_.size(); ++word) {
    std::uint64_t filled = filled_bins_[word];
    if (word == above / 64) {
      filled &= ~std::uint64_t{0} << (above % 64);
    }
    if (filled != 0) {
      return bins_.used(word * 64 + static_cast<unsigned>(std::countr_zero(filled))).head();
    }
  }
  return nullptr;
}

span* page_heap::try_take(std::uint32_t pages, std::size_t alignment) noexcept {
  span* const run = find_free(pages, alignment);
  if (run == nullptr) {
    return nullptr;
  }
  heap_region* const home = run->home();
  if (home->is_idle()) {
    unlink_idle(home);
  }
  unlink(run);
  cut_behind(run, pages + (needs_page_more(*home, alignment) ? 1 : 0));
  home->free_pages -= run->pages;
  run->use = span_use::single;
  run->is_free = false;
  if (home->alignment < alignment) {
    run->begins_behind = static_cast<std::uint16_t>(bytes_to_boundary(home->base, alignment));
  }
  mark(run);
  return run;
}

// What a run has beyond `pages` becomes a free one.
void page_heap::cut_behind(span* run, std::uint32_t pages) noexcept {
  if (run->pages > pages) {
    span* const rest = begin_run(*run->home(), run->first_page + pages, run->pages - pages);
    rest->is_free = true;
    rest->is_new = run->is_new;
    rest->out = std::min(run->out, rest->pages);  // which pages they are isn't known
    rest->begins_behind = 0;
    run->pages = pages;
    mark(rest);
    link(rest);
  }
}

bool page_heap::try_resize(span* run, std::uint32_t pages, std::uint64_t now) noexcept {
  heap_region* const home = run->home();
  if (home->is_one_run) {
    return pages == run->pages;
  }
  if (run->begins_behind != 0) {
    ++pages;  // as it had when it was taken
  }
  if (pages < run->pages) {
    span* const rest = begin_run(*home, run->first_page + pages, run->pages - pages);
    run->pages = pages;
    mark(run);
    give(rest, now);
    return true;
  }
  const std::uint32_t more = pages - run->pages;
  if (more != 0) {
    span* const next = after(run);
    if (next == nullptr || !next->is_free || next->pages < more) {
      return false;
    }
    unlink(next);
    cut_behind(next, more);
    end_run(next);
    home->free_pages -= more;
    run->pages = pages;
    mark(run);
  }
  return true;
}

std::size_t page_heap::give(span* run, std::uint64_t now) noexcept {
  heap_region* const home = run->home();
  if (home->is_one_run && !account_.takes_back()) {
    keep_alone(run);
    return 0;
  }
  if (home->is_one_run) {
    const std::size_t bytes = home->bytes;
    give_back(home);
    return bytes;
  }
  run->is_free = true;
  run->out = run->pages;
  home->free_pages += run->pages;
  home->changed_at = now;
  if (run->first_page != 0) {
    if (span* const before = home->run_at(run->first_page - 1); before->is_free) {
      unlink(before);
      join(before, run);
      run = before;
    }
  }
  if (span* const next = after(run); next != nullptr && next->is_free) {
    unlink(next);
    join(run, next);
  }
  run->is_new = false;
  run->begins_behind = 0;
  mark(run);
  link(run);
  if (home->is_idle()) {
    link_idle(home);
  }
  return 0;
}

void page_heap::link_idle(heap_region* idle) noexcept {
  idle->newer = nullptr;
  idle->older = newest_idle_;
  (newest_idle_ != nullptr ? newest_idle_->newer : oldest_idle_) = idle;
  newest_idle_ = idle;
  idle_regions_bytes_ += idle->bytes;
}

void page_heap::unlink_idle(heap_region* used) noexcept {
  (used->older != nullptr ? used->older->newer : oldest_idle_) = used->newer;
  (used->newer != nullptr ? used->newer->older : newest_idle_) = used->older;
  idle_regions_bytes_ -= used->bytes;
}

// Small heaps stay small, and large ones make few calls: a quarter of what there is, in the end.
std::uint32_t page_heap::usual_pages() const noexcept {
  const auto held = static_cast<std::uint32_t>(std::min<std::size_t>(pages_bytes_ / page_bytes, UINT32_MAX));
  if (held < usual_region_pages) {
    return std::max(held, first_region_pages);
  }
  return std::clamp(std::bit_floor(held / 4), usual_region_pages, largest_usual_region_pages);
}

heap_region* page_heap::try_add_region(std::size_t bytes, std::size_t alignment, bool is_one_run) {
  heap_region record{.base = nullptr,
                     .bytes = bytes,
                     .left = nullptr,
                     .right = nullptr,
                     .older = nullptr,
                     .newer = nullptr,
                     .changed_at = 0,
                     .free_pages = 0,
                     .alignment = static_cast<std::uint16_t>(alignment),
                     .is_one_run = is_one_run};
  const std::size_t upstream_bytes = bytes + record.records_bytes();
  if (upstream_bytes > account_.available_bytes()) {
    return nullptr;
  }
  record.base = static_cast<std::byte*>(account_.try_allocate(upstream_bytes, alignment));
  if (record.base == nullptr) {
    return nullptr;
  }
  auto* const added = new (record.base + bytes) heap_region(record);
  if (account_.is_watched()) {
    forbid_access(added->base, bytes);
  }
  regions_.insert(added);
  pages_bytes_ += bytes;
  overhead_bytes_ += added->records_bytes();
  span* const run = added->spans();
  run->slot = 0;
  run->first_page = 0;
  run->pages = added->pages();
  run->is_new = true;
  run->out = 0;
  run->begins_behind = 0;
  if (!is_one_run) {
    added->stock() = {.returned = record_stock::none, .begun = 1};
    if (hardened_build || account_.is_watched()) {
      std::fill_n(added->slots(), added->pages(), 0U);  // who looks at what is no block finds a record
    }
  }
  return added;
}

// Pages of the system come and go whole, and `operator new` has a use for what an alignment leaves over. Of
// other upstreams nothing is known: they may be arenas.
std::size_t page_heap::region_alignment(std::size_t pages, std::size_t alignment) const noexcept {
  const bool is_free_of_cost = account_.gives_pages() || account_.is_new_delete();
  return is_free_of_cost || pages > small_region_pages ? page_bytes : std::max(alignment, records_alignment);
}

// `try_add` for `wanted` units of so many bytes, and where it is refused for half of that, down to `least`.
// As what was refused may be refused again, and a refusal is an exception, the next time begins below that.
template <class Try>
heap_region* page_heap::try_less_and_less(std::size_t wanted, std::size_t least, std::size_t unit_bytes,
                                          Try try_add) {
  const auto note_refusal = [&](std::size_t units) {
    is_refused_ = true;
    refused_bytes_ = units * unit_bytes;
  };
  std::size_t units = wanted;
  while (units > least && units * unit_bytes >= refused_bytes_) {
    units = std::max(least, units / 2);
  }
  for (;; units = std::max(least, units / 2)) {
    try {
      if (heap_region* const added = try_add(units); added != nullptr) {
        is_refused_ = false;
        refused_bytes_ = units < wanted ? 4 * added->bytes : SIZE_MAX;
        return added;
      }
      note_refusal(units);
      if (units == least) {
        return nullptr;
      }
    } catch (const std::bad_alloc&) {
      note_refusal(units);
      if (units == least) {
        throw;
      }
    }
  }
}

bool page_heap::grow(std::uint32_t pages, std::size_t alignment, std::size_t most_pages) {
  const std::size_t usual = std::min<std::size_t>(usual_pages(), most_pages);
  const std::size_t wanted = std::max<std::size_t>(pages, usual);
  heap_region* const added = try_less_and_less(wanted, pages, page_bytes, [&](std::size_t asked) {
    return try_add_region(asked * page_bytes, region_alignment(asked, alignment), false);
  });
  if (added == nullptr) {
    return false;
  }
  span* const run = added->spans();
  run->is_free = true;
  mark(run);
  link(run);
  added->free_pages = run->pages;
  link_idle(added);
  return true;
}

// `operator new` without an alignment takes a fraction of the time that it takes with one, which is worth a
// few bytes in front of the first block.
std::size_t page_heap::alone_alignment(std::size_t alignment) const noexcept {
  constexpr std::size_t least = alignof(heap_region);
  constexpr std::size_t most = 64;
  return account_.is_new_delete() && alignment <= most ? least : std::max(alignment, least);
}

span* page_heap::try_take_alone(std::size_t block_bytes, std::size_t blocks, std::size_t alignment) {
  if (span* const kept = try_take_kept_alone(block_bytes, alignment); kept != nullptr) {
    return kept;
  }
  constexpr std::size_t records_at = alignof(heap_region);
  const std::size_t asked_alignment = alone_alignment(alignment);
  const std::size_t most_in_front = alignment > asked_alignment ? alignment - asked_alignment : 0;
  heap_region* const added = try_less_and_less(blocks, 1, block_bytes, [&](std::size_t asked) {
    const std::size_t bytes = (asked * block_bytes + most_in_front + (records_at - 1)) & ~(records_at - 1);
    return try_add_region(bytes, asked_alignment, true);
  });
  if (added == nullptr) {
    return nullptr;
  }
  span* const run = added->spans();
  run->use = span_use::single;
  run->is_free = false;
  run->begins_behind = static_cast<std::uint16_t>(bytes_to_boundary(added->base, alignment));
  return run;
}

span* page_heap::try_take_small(std::size_t block_bytes, std::size_t blocks, std::size_t alignment) {
  constexpr std::size_t small_heap_bytes = std::size_t{16} << 10;
  if (account_.gives_pages() || pages_bytes_ >= small_heap_bytes || has_run(1, alignment)) {
    return nullptr;
  }
  try {
    return try_take_alone(block_bytes, blocks, alignment);
  } catch (const std::bad_alloc&) {  // of pages less may be asked, and more can be done about it
    return nullptr;
  }
}

void page_heap::keep_alone(span* run) noexcept {
  const std::size_t bytes = run->bytes();
  run->is_free = true;
  run->begins_behind = 0;
  kept_alone_.push(run);
  free_bytes_ += bytes;
  idle_regions_bytes_ += bytes;
}

// A few are looked at: those that came back last.
span* page_heap::try_take_kept_alone(std::size_t block_bytes, std::size_t alignment) noexcept {
  constexpr int most_looks = 8;
  span* run = kept_alone_.head();
  for (int looks = 1; run != nullptr; ++looks) {
    const std::size_t in_front = bytes_to_boundary(run->home()->base, alignment);
    if (run->bytes() >= in_front + block_bytes) {
      kept_alone_.remove(run);
      free_bytes_ -= run->bytes();
      idle_regions_bytes_ -= run->home()->bytes;
      run->use = span_use::single;
      run->is_free = false;
      run->begins_behind = static_cast<std::uint16_t>(in_front);
      return run;
    }
    run = looks < most_looks ? kept_alone_.after(run) : nullptr;
  }
  return nullptr;
}

// The records lie inside the memory that is given back: they must not be touched afterwards.
void page_heap::give_back(heap_region* gone) noexcept {
  regions_.remove(gone);
  pages_bytes_ -= gone->bytes;
  overhead_bytes_ -= gone->records_bytes();
  std::byte* const base = gone->base;
  const std::size_t bytes = gone->bytes + gone->records_bytes();
  const std::size_t alignment = gone->alignment;
  if (account_.is_watched()) {
    allow_access(base, bytes);
  }
  if (hardened_build && !account_.gives_pages()) {
    // A free block may begin here. Another pool, to which all of this is a block in use, would see its mark.
    (void)reinterpret_cast<free_block*>(base)->handed_out();
  }
  account_.deallocate(base, bytes, alignment);
}

std::size_t page_heap::discard(heap_region& in, std::size_t least_bytes) noexcept {
  std::size_t discarded_bytes = 0;
  for (span* run = in.is_one_run ? nullptr : in.run_at(0); run != nullptr; run = after(run)) {
    if (run->is_free && !run->is_new && run->bytes() >= least_bytes) {
      discarded_bytes += discard(run);
    }
  }
  return discarded_bytes;
}

std::size_t page_heap::discard(span* run) noexcept {
  asan_unpoison(run->base(), run->bytes());
  const bool is_done = discard_pages(run->base(), run->bytes());
  asan_poison(run->base(), run->bytes());
  system_refuses_ = !is_done;
  if (!is_done) {
    return 0;
  }
  add_touched(*run, -1);
  const std::size_t bytes = std::size_t{std::exchange(run->out, 0)} * page_bytes;
  run->is_new = true;
  add_touched(*run, 1);
  return bytes;
}

std::size_t page_heap::discard_next(std::uint64_t now, std::uint64_t age) noexcept {
  heap_region* const next = regions_.next(discarded_up_to_);
  discarded_up_to_ = next != nullptr ? next->base : nullptr;
  return next != nullptr && next->changed_at + age < now ? discard(*next, least_discarded_bytes) : 0;
}

std::size_t page_heap::discard_all() noexcept {
  std::size_t bytes = 0;
  const std::byte* at = nullptr;
  while (heap_region* const next = regions_.next(at)) {
    bytes += discard(*next, page_bytes);
    at = next->base;
  }
  return bytes;
}

std::size_t page_heap::give_back_oldest() noexcept {
  heap_region* const gone = oldest_idle_;
  if (gone == nullptr || !account_.takes_back()) {
    return 0;
  }
  const std::size_t bytes = gone->bytes + gone->records_bytes();
  unlink_idle(gone);
  unlink(gone->spans());
  give_back(gone);
  return bytes;
}

void page_heap::release() noexcept {
  if (regions_.empty()) {
    return;  // a pool that served nobody
  }
  bins_.clear();
  filled_bins_ = {};
  kept_alone_ = {};
  oldest_idle_ = newest_idle_ = nullptr;
  idle_regions_bytes_ = free_bytes_ = untouched_bytes_ = discardable_bytes_ = 0;
  while (!regions_.empty()) {
    give_back(regions_.any());  // upstream may call back: nothing here is to be found any more
  }
}

// What is kept of its page tells: of pages inside of a run it is of another one, as it is of those of runs
// that are free by now.
bool page_heap::is_run_in_use(unsigned index, const void* block) const noexcept {
  const heap_region* const home = regions_.find(block);
  if (home == nullptr || home->is_one_run) {
    return false;
  }
  const span& run = *home->run_of(block);
  return run.pages != 0 && !run.is_free && run.use == span_use::single && run.index == index &&
         run.base() == block;
}

span* page_heap::find(const void* address) const noexcept {
  const heap_region* const home = regions_.find(address);
  if (home == nullptr) {
    return nullptr;
  }
  span* run = home->spans();
  if (!home->is_one_run) {
    const std::uint32_t page = home->page_of(address);
    run = home->run_at(0);
    while (run->first_page + run->pages <= page) {
      run = after(run);
    }
  }
  return !run->is_free ? run : nullptr;
}

void page_heap::check_invariants() const noexcept {
  std::size_t free_bytes = 0;
  std::size_t bytes = 0;
  std::size_t idle_bytes = 0;
  std::size_t overhead_bytes = 0;
  regions_.for_each([&](const heap_region& each) {
    const heap_region* const home = &each;
    bytes += home->bytes;
    overhead_bytes += home->records_bytes();
    if (reinterpret_cast<const std::byte*>(home) != home->base + home->bytes) {
      broken_invariant("page heap", 0, "a region's record is not behind its pages");
    }
    if (home->is_one_run) {
      free_bytes += home->spans()->is_free ? home->bytes : 0;
      idle_bytes += home->spans()->is_free ? home->bytes : 0;
      return;
    }
    std::size_t free_pages = 0;
    bool free_before = false;
    for (std::uint32_t page = 0; page != home->pages();) {
      if (home->slots()[page] >= home->stock().begun) {
        broken_invariant("page heap", 0, "a page leads to no record");
      }
      const span* const run = home->run_at(page);
      if (run->home() != home || run->first_page != page || run->pages == 0 ||
          run->pages > home->pages() - page || home->slots()[page + run->pages - 1] != run->slot) {
        broken_invariant("page heap", 0, "a run's records don't agree");
      }
      page += run->pages;
      const bool is_free = run->is_free;
      if (is_free && free_before) {
        broken_invariant("page heap", 0, "two free runs lie side by side");
      }
      free_pages += is_free ? run->pages : 0;
      free_before = is_free;
    }
    if (free_pages != home->free_pages) {
      broken_invariant("page heap", 0, "a region's free pages are miscounted");
    }
    free_bytes += free_pages * page_bytes;
    idle_bytes += home->is_idle() ? home->bytes : 0;
  });
  std::size_t binned_bytes = 0;
  std::size_t untouched_bytes = 0;
  std::size_t discardable_bytes = 0;
  for (unsigned bin = 0; bin < bin_count; ++bin) {
    const span_list* const runs = bins_.find(bin);
    const span* const first = runs != nullptr ? runs->head() : nullptr;
    if ((first != nullptr) != is_filled(bin)) {
      broken_invariant("page heap", 0, "the set of filled bins is wrong");
    }
    for (const span* run = first; run != nullptr; run = runs->after(run)) {
      binned_bytes += run->bytes();
      const std::size_t touched = std::size_t{run->out} * page_bytes;
      untouched_bytes += run->bytes() - touched;
      discardable_bytes += is_discardable(*run) ? touched : 0;
      if (run->out > run->pages || run->is_new != (run->out == 0)) {
        broken_invariant("page heap", 0, "a free run's touched pages are miscounted");
      }
      if (!run->is_free || bin_of(run->pages) != bin) {
        broken_invariant("page heap", 0, "a run is in the wrong bin");
      }
    }
  }
  for (const span* run = kept_alone_.head(); run != nullptr; run = kept_alone_.after(run)) {
    binned_bytes += run->bytes();
  }
  if (binned_bytes != free_bytes || free_bytes != free_bytes_ || bytes != pages_bytes_ ||
      idle_bytes != idle_regions_bytes_ || overhead_bytes != overhead_bytes_ ||
      untouched_bytes != untouched_bytes_ || discardable_bytes != discardable_bytes_) {
    broken_invariant("page heap", 0, "sums differ from what the regions say");
  }
}

}  // namespace cistern::detail
