// idle_policy: what of a pool's idle memory goes, and when.
#pragma once

#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/pool/guarded_heap.hpp>
#include <cistern/detail/pool/listed_blocks.hpp>
#include <cistern/detail/pool/missed_returns.hpp>
#include <cistern/detail/pool/rare_passes.hpp>
#include <cistern/detail/pool/recent_peak.hpp>
#include <cistern/detail/pool/sorted_blocks.hpp>
#include <cistern/pool_options.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// Sorts lists, gives regions back, and takes memory away from free pages, in steps, so that no call takes
/// long. What counts as idle are blocks in lists and regions without a run in use; and where pages can be
/// discarded, those between runs in use. `Sorter`, `Lock`: as of `span_supply`, which has one of these.
template <class Sorter, class Lock>
class idle_policy {
 public:
  /// `gives_pages`: see `upstream_account`. `discards`: free pages can be taken away. All must outlive this.
  idle_policy(const pool_options& options, Sorter& sorter, guarded_heap<Lock>& heap, listed_blocks& listed,
              bool gives_pages, bool discards) noexcept
      : options_(options),
        sorter_(sorter),
        heap_(heap),
        listed_(listed),
        gives_pages_(gives_pages),
        discards_(discards) {}
  idle_policy(const idle_policy&) = delete;
  idle_policy& operator=(const idle_policy&) = delete;
  ~idle_policy() = default;

  /// A step on the way back to the bounds, after blocks of so many bytes together were freed. To be called in
  /// every slow path of a free.
  void settle(std::size_t freed_bytes) noexcept {
    listed_.tick(freed_bytes);
    if (has_nothing_to_do()) {
      return;
    }
    peak_.note(used_bytes(), listed_.freed_bytes());
    settle_to(most_idle_bytes());
  }
  /// The same on the way to a bound of `most_bytes`.
  void settle_to(std::size_t most_bytes) noexcept;
  /// The heap has grown.
  void grew() noexcept { returns_.took(listed_.now()); }
  /// Whether frees should be seen more often than usual: there is more to do than the last step did, or more
  /// is idle than may be for long.
  [[nodiscard]] bool is_late() const noexcept {
    return left_stays_.load(std::memory_order_relaxed) != 0 || heap_.left_bytes() != 0 ||
           sorts_all_.is_promising() || (idle_bytes() > options_.max_idle_bytes && has_excess()) ||
           has_excess_pages(options_.max_idle_bytes);
  }
  /// Whether a pass over all that lies in lists is under way: what is kept back meanwhile is missed by it.
  [[nodiscard]] bool sorts_all() const noexcept { return sorts_all_.is_on(); }
  /// Sorts of what a class has beyond its least stay, and takes that off `effort`.
  sorted_blocks sort_some(unsigned index, std::size_t most_blocks, std::size_t& effort) noexcept {
    const sorted_blocks sorted = sorter_.sort(index, listed_blocks::stay_blocks(index), most_blocks);
    sorted.spend(effort);
    return sorted;
  }

 private:
  using reason = typename guarded_heap<Lock>::reason;
  static constexpr std::uint64_t stays_sorted_every = 64;  ///< Slow paths.
  void sort_stays(std::size_t& effort) noexcept;
  void discard_step(std::size_t most_bytes) noexcept;
  // All that is held may be idle, nothing was begun, and no page is discarded for other reasons.
  [[nodiscard]] bool has_nothing_to_do() const noexcept {
    return !gives_pages_ && std::max(heap_.pages_bytes(), idle_bytes()) <= options_.max_idle_bytes &&
           heap_.left_bytes() == 0 && left_stays_.load(std::memory_order_relaxed) == 0;
  }
  // Whether what was last used then would be asked for again at once, if it went now.
  [[nodiscard]] bool comes_again(std::uint64_t last_use) const noexcept {
    return returns_.recur() && last_use + missed_returns::soon >= listed_.now();
  }
  // A large bound is not for what may be needed at once.
  [[nodiscard]] static bool is_large(std::size_t most_bytes) noexcept {
    constexpr std::size_t least_large_bytes = std::size_t{16} << 20;
    return most_bytes >= least_large_bytes;
  }
  [[nodiscard]] static listed_blocks::reach reach_of(std::size_t most_bytes) noexcept {
    return is_large(most_bytes) ? listed_blocks::reach::ripe : listed_blocks::reach::all;
  }
  /// What may be idle now. Up to three times a large bound what was in use a short while ago: that shows that
  /// it is needed.
  [[nodiscard]] std::size_t most_idle_bytes() const noexcept {
    const std::size_t most_bytes = options_.max_idle_bytes;
    if (!is_large(most_bytes) || most_bytes > SIZE_MAX / 3) {
      return most_bytes;
    }
    const std::size_t peak = peak_.bytes();
    const std::size_t wanted = peak + peak / 4;  // what was idle at the peak is so now
    const std::size_t used = used_bytes();
    return std::clamp(wanted - std::min(wanted, used), most_bytes, 3 * most_bytes);
  }
  [[nodiscard]] std::size_t idle_bytes() const noexcept { return listed_.bytes() + heap_.spare_bytes(); }
  /// Whether there is something that may go, or may have to when the peak was long ago.
  [[nodiscard]] bool has_excess() const noexcept {
    return heap_.spare_bytes() != 0 ||
           listed_.longest_unused(reach_of(options_.max_idle_bytes)) != listed_blocks::none;
  }
  /// Whether pages between those in use make the difference, and are many beside what is in use.
  [[nodiscard]] bool has_excess_pages(std::size_t most_bytes) const noexcept {
    constexpr std::size_t worth_looking_bytes = std::size_t{1} << 20;
    const std::size_t scattered = discards_ ? heap_.discardable_bytes() : 0;
    return scattered > worth_looking_bytes && scattered > used_bytes() / 8 &&
           idle_bytes() + scattered > most_bytes;
  }
  /// Of regions in which something is in use, or in a list.
  [[nodiscard]] std::size_t pinned_bytes() const noexcept {
    const std::size_t pages = heap_.pages_bytes();
    return pages - std::min(pages, heap_.spare_bytes());
  }
  /// Of lists, where hardly anything is in use: then it is they who hold what lies free beside them, and one
  /// sum of all has to keep to the bound. But not to a large one: what has just fallen may rise again.
  [[nodiscard]] std::size_t holding_lists_bytes() const noexcept {
    const std::size_t listed = listed_.bytes();
    const std::size_t used = used_bytes();  // once: other threads change it
    const std::size_t in_use = used - std::min(used, listed_.beside_bytes());
    const bool hold_it = !is_large(options_.max_idle_bytes) && listed_blocks::are_few(in_use, listed);
    return hold_it ? listed : 0;
  }
  /// Neither in lists nor free pages.
  [[nodiscard]] std::size_t used_bytes() const noexcept {
    const std::size_t pages = heap_.pages_bytes();
    return pages - std::min(pages, heap_.free_bytes() + listed_.bytes());
  }

  const pool_options& options_;
  Sorter& sorter_;
  guarded_heap<Lock>& heap_;
  listed_blocks& listed_;
  const bool gives_pages_;
  const bool discards_;
  std::atomic<unsigned> left_stays_{0};  ///< Classes that `sort_stays` has still to look at.
  std::atomic<std::uint64_t> next_stays_at_{stays_sorted_every};  ///< When it goes on.
  rare_passes sorts_all_;                                         ///< Whether it sorts what is in use, too.
  std::atomic<std::uint64_t> next_discard_at_{0};                 ///< When `discard_step` goes on.
  recent_peak peak_;
  missed_returns returns_;
};

// What was used longest ago goes first: a region that no block is in, or blocks of a list into their spans,
// so that regions become idle. What is left over is for the next call.
template <class Sorter, class Lock>
void idle_policy<Sorter, Lock>::settle_to(std::size_t most_bytes) noexcept {
  // 40 us of the system for a MiB; or a region. In a hardened build idle regions keep the addresses of their
  // guards, too: under a limit on addresses up to a tenth less fits if they go that slowly.
  constexpr std::size_t most_given_back_at_once = std::size_t{hardened_build ? 4U : 1U} << 20;
  if (heap_.left_bytes() != 0) {
    heap_.join_left(guarded_heap<Lock>::joined_at_once, listed_.now());
  }
  std::size_t effort = most_sorting_effort;
  sort_stays(effort);  // first, lest the next allocation takes a page of a region that it emptied
  std::size_t given_back = 0;
  while (given_back < most_given_back_at_once && idle_bytes() > most_bytes) {
    const unsigned index = effort > 0 ? listed_.longest_unused(reach_of(most_bytes)) : listed_blocks::none;
    const std::uint64_t last_use = index != listed_blocks::none ? listed_.last_use(index) : UINT64_MAX;
    const auto may_go = [&](std::uint64_t idle_since, bool is_only) {
      return idle_since < last_use && !(is_only && comes_again(idle_since));
    };
    const std::size_t bytes = heap_.give_back_oldest(reason::idle, may_go);
    if (bytes != 0) {
      returns_.gave(listed_.now());
      given_back += bytes;
      continue;
    }
    if (index == listed_blocks::none) {
      break;
    }
    sort_some(index, effort, effort);
  }
  if (given_back < most_given_back_at_once) {
    discard_step(most_bytes);
  }
}

// Pages that lie free between those in use can't go back to upstream; to the system they can. A region every
// few steps, once much lies free in them, and one after the other once more is idle than may be.
template <class Sorter, class Lock>
void idle_policy<Sorter, Lock>::discard_step(std::size_t most_bytes) noexcept {
  constexpr std::uint64_t ticks_between = 64;
  constexpr std::size_t worth_looking_bytes = std::size_t{1} << 20;
  const bool is_excess = has_excess_pages(most_bytes);
  const std::size_t scattered_bytes = gives_pages_ ? heap_.free_bytes() - heap_.spare_bytes() : 0;
  const bool is_much =
      scattered_bytes >= worth_looking_bytes && scattered_bytes / 4 >= options_.max_idle_bytes / 16;
  const std::uint64_t now = listed_.now();
  if ((is_excess || is_much) && now >= next_discard_at_.load(std::memory_order_relaxed)) {
    next_discard_at_.store(now + (is_excess ? 1 : ticks_between), std::memory_order_relaxed);
    heap_.discard_next(now, is_excess ? listed_blocks::a_while / 16 : listed_blocks::a_while);
  }
}

// The blocks of lists, even of a least stay, may hold a hundred times their size: a span each, and through
// the spans whole regions. It shows in how much lies free between them. So now and then, while that is too
// much, those of classes that haven't been used for a while are sorted; and once in a while those of all.
template <class Sorter, class Lock>
void idle_policy<Sorter, Lock>::sort_stays(std::size_t& effort) noexcept {
  constexpr std::uint64_t ticks_of_a_flush = 128;  // a magazine or two of each class
  constexpr std::size_t worth_looking_bytes = std::size_t{256} << 10;
  unsigned left = left_stays_.load(std::memory_order_relaxed);
  if (listed_.now() < next_stays_at_.load(std::memory_order_relaxed)) {
    return;
  }
  const std::size_t idle = heap_.free_bytes() + listed_.beside_bytes() + holding_lists_bytes();
  const bool is_much = idle - idle / 8 > options_.max_idle_bytes && idle > worth_looking_bytes;
  if (left == 0) {
    sorts_all_.begin(listed_.now(), is_much && idle > most_idle_bytes(), pinned_bytes());
    left = listed_blocks::most_classes;
    if (sorts_all_.is_on() && sorter_.flush_caches()) {  // the pass waits for what they have
      left_stays_.store(left, std::memory_order_relaxed);
      next_stays_at_.store(listed_.now() + ticks_of_a_flush, std::memory_order_relaxed);
      return;
    }
  }
  if (!is_much) {
    left = 0;
  }
  while (left > 0 && effort > 0) {
    const unsigned index = left - 1;
    const bool may_sort =
        !is_large(options_.max_idle_bytes) || sorts_all_.is_on() || listed_.is_old(listed_.last_use(index));
    if (may_sort) {  // whatever was noted: some may have come since
      const sorted_blocks sorted = sorter_.sort(index, 0, effort);
      effort -= std::min(effort, sorted.effort());
      if (sorted.blocks != 0) {
        continue;  // more of it may be there
      }
    }
    left -= effort > 0 ? 1 : 0;
  }
  if (left == 0) {
    sorts_all_.end(listed_.now(), pinned_bytes());
    next_stays_at_.store(listed_.now() + stays_sorted_every, std::memory_order_relaxed);
  }
  left_stays_.store(left, std::memory_order_relaxed);
}

}  // namespace cistern::detail
