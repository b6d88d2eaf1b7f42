// page_heap: the memory of a pool, in runs of pages: one size serves another.
#pragma once

#include <cistern/detail/base/no_lock.hpp>
#include <cistern/detail/pool/lazy_array.hpp>
#include <cistern/detail/pool/region_tree.hpp>
#include <cistern/detail/pool/span.hpp>
#include <cistern/detail/pool/upstream_account.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// Regions from upstream, a quarter of what is held each, from 8 KiB to 4 MiB, cut into runs of pages. A run
/// is taken from the shortest free one that is long enough, and joined with its free neighbours when it comes
/// back. Not thread-safe.
///
/// Where upstream may be a fixed arena, small regions are aligned only as whoever needs them needs it, so
/// that they lie close. A run that has to be more aligned than its region begins a little behind its first
/// page.
///
/// Invariants (see `check_invariants`):
///     every page is in one run; free runs are in the bin of their length, and never lie side by side
///     held_bytes()         == sum of the regions' sizes, records included
///     idle_regions_bytes() == pages of the regions that have no run in use, which are in order of age
///     untouched_bytes()    == what is as new of free runs; discardable_bytes() == what isn't, of those that
///                             are worth a call of the system and aren't all of their region
class page_heap {
 public:
  /// `account` must outlive the heap.
  explicit page_heap(upstream_account& account) noexcept : account_(account) {}
  page_heap(const page_heap&) = delete;
  page_heap& operator=(const page_heap&) = delete;
  /// Calls `release`.
  ~page_heap() { release(); }

  // `alignment`: at most a page.

  /// A run of just so many pages, at least one, or null where there is none that long. Where more than a
  /// quarter of a page could be missing in front, for the alignment, it has a page more. O(1).
  [[nodiscard]] span* try_take(std::uint32_t pages, std::size_t alignment = page_bytes) noexcept;
  /// Whether `try_take` would find one. O(1).
  [[nodiscard]] bool has_run(std::uint32_t pages, std::size_t alignment = page_bytes) const noexcept {
    return find_free(pages, alignment) != nullptr;
  }
  /// Whether somebody has had the one that it would find, so that its memory is there. O(1).
  [[nodiscard]] bool has_used_run(std::uint32_t pages, std::size_t alignment) const noexcept {
    const span* const run = find_free(pages, alignment);
    return run != nullptr && !run->is_new;
  }
  /// Gets a region from upstream that has room for `pages`. Where upstream says `std::bad_alloc`, or
  /// `max_bytes` refuses, for less than would be usual, down to `pages`; false if that is refused too, by
  /// `max_bytes`; passes on what upstream throws. The region has at most `most_pages`, or `pages` if that is
  /// more. After a refusal it isn't asked for as much again, but for twice what it gave since. O(regions) at
  /// worst, but for upstream.
  [[nodiscard]] bool grow(std::uint32_t pages, std::size_t alignment = page_bytes,
                          std::size_t most_pages = SIZE_MAX);
  /// A run of its own for `blocks` of so many bytes at a multiple of `alignment`, where pages can't be had:
  /// it takes no more of upstream than that and a record, and goes back there when it is given. Where that is
  /// refused, for fewer, down to one; else as `grow`.
  [[nodiscard]] span* try_take_alone(std::size_t block_bytes, std::size_t blocks, std::size_t alignment);
  /// Whether growth is worth a try before anything else: not where it was refused the last time, but for once
  /// in a while, as others may have given back since.
  [[nodiscard]] bool may_grow() noexcept {
    constexpr std::uint32_t most_spared = 32;
    return !is_refused_ || ++growths_spared_ % most_spared == 0;
  }

  /// The same as `try_take_alone` while the heap is small and has no page left: so a pool of a few blocks
  /// takes less than one of upstream. Null: there are pages, or upstream has nothing less, or it is refused;
  /// passes on what else upstream throws.
  [[nodiscard]] span* try_take_small(std::size_t block_bytes, std::size_t blocks, std::size_t alignment);

  /// Makes a run in use, of one block, longer or shorter, where it is. False, and nothing changed, where what
  /// lies behind it is in use. O(1).
  [[nodiscard]] bool try_resize(span* run, std::uint32_t pages, std::uint64_t now) noexcept;

  /// Takes a run back. `now`: a time that never goes backwards. Returns the bytes that went back to upstream:
  /// 0, but for a run of `try_take_alone`, unless upstream takes nothing back. O(1).
  std::size_t give(span* run, std::uint64_t now) noexcept;

  /// The run that `block` lies in, which must be the beginning of a block in use. O(log(regions)).
  [[nodiscard]] span* span_of(const void* block) const noexcept {
    return regions_.find(block)->run_of(block);
  }
  /// Whether any run has this address.
  [[nodiscard]] bool holds(const void* address) const noexcept { return regions_.find(address) != nullptr; }
  /// Whether `block` is a run of class `index` and in use; false for one in a region of its own, whatever it
  /// is. In a hardened build; others don't prepare the records that it looks at. O(log(regions)).
  [[nodiscard]] bool is_run_in_use(unsigned index, const void* block) const noexcept;
  /// The run in use that `address` lies in, or null. O(pages of a region).
  [[nodiscard]] span* find(const void* address) const noexcept;

  /// Gives back the region that has been idle for longest. Returns its bytes; 0: none is idle, or upstream
  /// takes nothing back.
  std::size_t give_back_oldest() noexcept;
  /// Whether giving such a region back can help: upstream has a use for `bytes` that it got just now.
  [[nodiscard]] bool upstream_reuses(std::size_t bytes) noexcept { return account_.reuses(bytes); }
  /// Where upstream's memory is pages of the system: takes the memory of free runs away, and leaves their
  /// addresses. For the next region in turn, if no run has come back to it for `age`, and runs worth a call
  /// of the system; or for all of them. Returns the bytes. Where the system refuses, nothing is discardable
  /// from then on. O(pages of a region), and O(pages).
  std::size_t discard_next(std::uint64_t now, std::uint64_t age) noexcept;
  std::size_t discard_all() noexcept;
  /// Gives back every region, whatever is in use. O(regions).
  void release() noexcept;

  /// When the region that has been idle for longest became so; the end of time where there is none.
  [[nodiscard]] std::uint64_t oldest_idle_since() const noexcept {
    return oldest_idle_ != nullptr ? oldest_idle_->changed_at : UINT64_MAX;
  }
  [[nodiscard]] bool has_one_idle_region() const noexcept {
    return oldest_idle_ != nullptr && oldest_idle_ == newest_idle_;
  }
  [[nodiscard]] std::size_t idle_regions_bytes() const noexcept { return idle_regions_bytes_; }
  /// Whether there is a free run of its own: one that can't go back to upstream.
  [[nodiscard]] bool has_kept_alone() const noexcept { return !kept_alone_.empty(); }
  /// What of them could go back to upstream.
  [[nodiscard]] std::size_t spare_bytes() const noexcept {
    return account_.takes_back() ? idle_regions_bytes_ : 0;
  }
  /// Bytes of free runs, those of idle regions included.
  [[nodiscard]] std::size_t free_bytes() const noexcept { return free_bytes_; }
  /// Of free runs, idle regions included: what nobody has had since it came from upstream, or since the
  /// system got its memory. At least: where a run is cut it isn't known which of its pages they are.
  [[nodiscard]] std::size_t untouched_bytes() const noexcept { return untouched_bytes_; }
  /// Of free runs beside others in use: what `discard_next` may find.
  [[nodiscard]] std::size_t discardable_bytes() const noexcept {
    return system_refuses_ ? 0 : discardable_bytes_;
  }
  /// All memory of runs, in use or free.
  [[nodiscard]] std::size_t pages_bytes() const noexcept { return pages_bytes_; }
  /// All memory from upstream.
  [[nodiscard]] std::size_t held_bytes() const noexcept { return pages_bytes_ + overhead_bytes(); }
  /// Records.
  [[nodiscard]] std::size_t overhead_bytes() const noexcept { return overhead_bytes_; }
  void check_invariants() const noexcept;

 private:
  // A bin for each length up to 16 pages, then four for each doubling, to 2^22 pages.
  static constexpr std::uint32_t exact_bins = 16;
  static constexpr unsigned bin_count = exact_bins + 4 * 18 + 1;
  [[nodiscard]] static unsigned bin_of(std::uint32_t pages) noexcept;

  [[nodiscard]] bool is_filled(unsigned bin) const noexcept {
    return (filled_bins_[bin / 64] >> (bin % 64) & 1U) != 0;
  }
  [[nodiscard]] span* find_free(std::uint32_t pages, std::size_t alignment) const noexcept;
  void link(span* run) noexcept;
  void cut_behind(span* run, std::uint32_t pages) noexcept;
  void unlink(span* run) noexcept;
  [[nodiscard]] static span* begin_run(heap_region& home, std::uint32_t first_page,
                                       std::uint32_t pages) noexcept;
  static void end_run(span* run) noexcept;
  static void join(span* run, span* next) noexcept;
  static void mark(const span* run) noexcept;
  [[nodiscard]] static span* after(const span* run) noexcept;
  static constexpr std::size_t least_discarded_bytes = std::size_t{64} << 10;
  [[nodiscard]] static bool is_discardable(const span& run) noexcept {
    return !run.is_new && run.bytes() >= least_discarded_bytes && run.pages != run.home()->pages();
  }
  [[nodiscard]] std::size_t discard(heap_region& in, std::size_t least_bytes) noexcept;
  [[nodiscard]] std::size_t discard(span* run) noexcept;
  void add_touched(const span& run, int sign) noexcept;
  [[nodiscard]] std::uint32_t usual_pages() const noexcept;
  [[nodiscard]] std::size_t region_alignment(std::size_t pages, std::size_t alignment) const noexcept;
  [[nodiscard]] heap_region* try_add_region(std::size_t bytes, std::size_t alignment, bool is_one_run);
  [[nodiscard]] std::size_t alone_alignment(std::size_t alignment) const noexcept;
  template <class Try>
  [[nodiscard]] heap_region* try_less_and_less(std::size_t wanted, std::size_t least, std::size_t unit_bytes,
                                               Try try_add);
  void link_idle(heap_region* idle) noexcept;
  void unlink_idle(heap_region* used) noexcept;
  void give_back(heap_region* gone) noexcept;
  void keep_alone(span* run) noexcept;
  [[nodiscard]] span* try_take_kept_alone(std::size_t block_bytes, std::size_t alignment) noexcept;

  upstream_account& account_;
  region_tree regions_;
  std::size_t idle_regions_bytes_ = 0;
  std::size_t free_bytes_ = 0;
  std::size_t untouched_bytes_ = 0;
  std::size_t discardable_bytes_ = 0;
  std::size_t refused_bytes_ = SIZE_MAX;  ///< As much, and more, may be refused again.
  bool is_refused_ = false;               ///< All that was asked for last was.
  std::uint32_t growths_spared_ = 0;
  bool system_refuses_ = false;  ///< To take memory away: it is locked, say.
  std::size_t pages_bytes_ = 0;
  std::size_t overhead_bytes_ = 0;
  heap_region* oldest_idle_ = nullptr;
  heap_region* newest_idle_ = nullptr;
  span_list kept_alone_;  ///< Free runs of their own, where upstream takes nothing back.
  const std::byte* discarded_up_to_ = nullptr;  ///< Where `discard_next` goes on.
  std::array<std::uint64_t, (bin_count + 63) / 64> filled_bins_{};
  lazy_array<span_list, bin_count, no_lock> bins_;
};

}  // namespace cistern::detail
