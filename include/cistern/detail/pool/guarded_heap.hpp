// guarded_heap: a page heap behind a lock, and those of its figures that are read without it.
#pragma once

#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/mutex.hpp>
#include <cistern/detail/base/thread_annotations.hpp>
#include <cistern/detail/pool/page_heap.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/pool_statistics.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// `Lock`: `reentrant_mutex`, or `no_lock`. Upstream is called with it held, and may call back. `now`,
/// everywhere: see `page_heap`.
template <class Lock>
class guarded_heap {
 public:
  /// Spans that one step lets join the heap.
  static constexpr std::size_t joined_at_once = 256;
  /// Why memory goes back to upstream.
  enum class reason : std::uint8_t { idle, trim, need };

  explicit guarded_heap(upstream_account& account) noexcept : heap_(account) {}
  guarded_heap(const guarded_heap&) = delete;
  guarded_heap& operator=(const guarded_heap&) = delete;
  ~guarded_heap() = default;

  /// A run of `pages`, or of `least_pages` at worst, that is idle already; or null.
  [[nodiscard]] span* try_take(std::uint32_t pages, std::uint32_t least_pages, std::size_t alignment,
                               std::uint64_t now) noexcept {
    const scoped_lock guard(lock_);
    return take(pages, least_pages, alignment, now);
  }
  /// The same after growth, by `most_pages` at most, unless that is refused, in which case `grown` is false.
  /// See `page_heap::grow`.
  [[nodiscard]] span* try_grow(std::uint32_t pages, std::uint32_t least_pages, std::size_t alignment,
                               std::size_t most_pages, std::uint64_t now, bool& grown) {
    const scoped_lock guard(lock_);
    grown = heap_.grow(least_pages, alignment, most_pages);
    return grown ? take(pages, least_pages, alignment, now) : nullptr;
  }
  /// See `page_heap::try_take_alone`.
  [[nodiscard]] span* try_take_alone(std::size_t block_bytes, std::size_t blocks, std::size_t alignment) {
    const scoped_lock guard(lock_);
    span* const run = heap_.try_take_alone(block_bytes, blocks, alignment);
    publish();
    return run;
  }
  /// See `page_heap::try_take_small`; `blocks` may be 0, and so is the answer.
  [[nodiscard]] span* try_take_small(std::size_t block_bytes, std::size_t blocks, std::size_t alignment) {
    if (blocks == 0) {
      return nullptr;
    }
    const scoped_lock guard(lock_);
    span* const run = heap_.try_take_small(block_bytes, blocks, alignment);
    publish();
    return run;
  }
  /// See `page_heap::may_grow`.
  [[nodiscard]] bool may_grow() noexcept {
    const scoped_lock guard(lock_);
    return heap_.may_grow();
  }
  [[nodiscard]] bool has_run(std::uint32_t pages, std::size_t alignment) const noexcept {
    const scoped_lock guard(lock_);
    return heap_.has_run(pages, alignment);
  }
  [[nodiscard]] bool has_used_run(std::uint32_t pages, std::size_t alignment) const noexcept {
    const scoped_lock guard(lock_);
    return heap_.has_used_run(pages, alignment);
  }
  /// See `page_heap`.
  [[nodiscard]] bool has_kept_alone() const noexcept {
    const scoped_lock guard(lock_);
    return heap_.has_kept_alone();
  }
  /// See `page_heap::try_resize`.
  [[nodiscard]] bool try_resize(span* run, std::uint32_t pages, std::uint64_t now) noexcept {
    const scoped_lock guard(lock_);
    const bool resized = heap_.try_resize(run, pages, now);
    publish();
    return resized;
  }

  /// Takes back the runs of a list. O(runs).
  void give(span_list& runs, std::uint64_t now) noexcept {
    const scoped_lock guard(lock_);
    while (!runs.empty()) {
      heap_.give(runs.pop(), now);
    }
    publish();
  }
  void give(span* run, std::uint64_t now) noexcept {
    const scoped_lock guard(lock_);
    heap_.give(run, now);
    publish();
  }
  /// Takes back spans that left their class whole, of so many bytes. O(1): `join_left` does the rest.
  void give_left(span_list& spans, std::size_t bytes) noexcept {
    const scoped_lock guard(lock_);
    left_.take_all(spans);
    add_left_bytes(bytes);
    publish();
  }
  /// Lets up to `most_spans` of them join the heap.
  void join_left(std::size_t most_spans, std::uint64_t now) noexcept {
    const scoped_lock guard(lock_);
    join(most_spans, now);
    publish();
  }

  /// The runs that `blocks` lie in; in a hardened build null for one in no region. O(blocks * log(regions)).
  template <std::size_t Most>
  void find_spans(const std::array<free_block*, Most>& blocks, std::size_t count,
                  std::array<span*, Most>& spans) noexcept {
    const scoped_lock guard(lock_);
    span* last = nullptr;
    for (std::size_t i = 0; i < count; ++i) {
      const bool is_near =
          last != nullptr && last->home()->holds(blocks[i]);  // spares the search for the region
      spans[i] = last = is_near ? last->home()->run_of(blocks[i]) : known_span_of(blocks[i]);
    }
  }
  [[nodiscard]] span* span_of(const void* block) noexcept {
    const scoped_lock guard(lock_);
    return known_span_of(block);
  }
  /// The same for an address that may be in no run: null then.
  [[nodiscard]] span* span_at(const void* address) noexcept {
    const scoped_lock guard(lock_);
    return heap_.holds(address) ? heap_.span_of(address) : nullptr;
  }
  /// See `page_heap::is_run_in_use`.
  [[nodiscard]] bool is_run_in_use(unsigned index, const void* block) const noexcept {
    const scoped_lock guard(lock_);
    return heap_.is_run_in_use(index, block);
  }
  /// See `page_heap::find`.
  [[nodiscard]] span* find(const void* address) const noexcept {
    const scoped_lock guard(lock_);
    return heap_.find(address);
  }

  /// Gives the region back that has been idle for longest, if `may_go` says so of the moment when it became
  /// so, and whether it is the only one. Returns its pages' bytes, or 0.
  template <class MayGo>
  std::size_t give_back_oldest(reason why, MayGo may_go) noexcept {
    const scoped_lock guard(lock_);
    if (!may_go(heap_.oldest_idle_since(), heap_.has_one_idle_region())) {
      return 0;
    }
    const std::size_t bytes = heap_.give_back_oldest();
    given_back_bytes_[index_of(why)] += bytes;
    publish();
    return bytes;
  }
  /// The same until at most `most_bytes` of pages are held.
  void give_back(reason why, std::size_t most_bytes) noexcept {
    while (pages_bytes() > most_bytes && give_back_oldest(why, always) != 0) {
    }
  }
  /// The same of all regions for a request that upstream refused: but of one only, where it has no use for
  /// what it gets back.
  void give_back_for_need() noexcept {
    if (const std::size_t bytes = give_back_oldest(reason::need, always);
        bytes != 0 && upstream_reuses(bytes)) {
      give_back(reason::need, 0);
    }
  }
  /// See `page_heap`.
  void discard_next(std::uint64_t now, std::uint64_t age) noexcept {
    const scoped_lock guard(lock_);
    discarded_bytes_ += heap_.discard_next(now, age);
    publish();
  }
  void discard_all() noexcept {
    const scoped_lock guard(lock_);
    discarded_bytes_ += heap_.discard_all();
    publish();
  }
  /// What was taken away from between blocks.
  void add_discarded(std::size_t bytes) noexcept {
    const scoped_lock guard(lock_);
    discarded_bytes_ += bytes;
  }
  /// Gives every region back, whatever is in use.
  void release() noexcept {
    const scoped_lock guard(lock_);
    left_ = {};
    add_left_bytes(std::size_t{0} - left_bytes());
    heap_.release();
    publish();
  }

  [[nodiscard]] std::size_t held_bytes() const noexcept {
    const scoped_lock guard(lock_);
    return heap_.held_bytes();
  }
  // Without the lock, and relaxed: who reads these wants to know whether to look.
  /// Of spans that left their class and haven't joined the heap.
  [[nodiscard]] std::size_t left_bytes() const noexcept {
    return left_bytes_.load(std::memory_order_relaxed);
  }
  /// What could go back to upstream: of those, and of idle regions.
  [[nodiscard]] std::size_t spare_bytes() const noexcept {
    return spare_bytes_.load(std::memory_order_relaxed);
  }
  /// Of those, and of all free runs.
  [[nodiscard]] std::size_t free_bytes() const noexcept {
    return free_bytes_.load(std::memory_order_relaxed);
  }

  /// Of free runs beside others in use, what could go back to the system.
  [[nodiscard]] std::size_t discardable_bytes() const noexcept {
    return discardable_bytes_.load(std::memory_order_relaxed);
  }
  /// All memory of runs, in use or free.
  [[nodiscard]] std::size_t pages_bytes() const noexcept {
    return pages_bytes_.load(std::memory_order_relaxed);
  }

  /// Adds idle pages and regions, records, and what was given back.
  void add_to(pool_statistics& statistics) const noexcept {
    const scoped_lock guard(lock_);
    const std::size_t in_regions = heap_.idle_regions_bytes();
    statistics.idle_in_pages_bytes += left_bytes() + heap_.free_bytes() - in_regions;
    statistics.idle_in_regions_bytes += in_regions;
    statistics.idle_untouched_bytes += heap_.untouched_bytes();
    statistics.overhead_bytes += heap_.overhead_bytes();
    statistics.given_back_idle_bytes += given_back_bytes_[index_of(reason::idle)];
    statistics.given_back_trim_bytes += given_back_bytes_[index_of(reason::trim)];
    statistics.given_back_need_bytes += given_back_bytes_[index_of(reason::need)];
    statistics.discarded_bytes += discarded_bytes_;
  }
  void check_invariants() const noexcept {
    const scoped_lock guard(lock_);
    heap_.check_invariants();
  }
  /// For fork, and to look at several spans at once.
  [[nodiscard]] Lock& lock() const noexcept CISTERN_RETURN_CAPABILITY(lock_) { return lock_; }

 private:
  static bool always(std::uint64_t /*idle_since*/, bool /*is_only*/) noexcept { return true; }
  [[nodiscard]] static constexpr std::size_t index_of(reason why) noexcept {
    return static_cast<std::size_t>(why);
  }

  [[nodiscard]] bool upstream_reuses(std::size_t bytes) noexcept {
    const scoped_lock guard(lock_);
    return heap_.upstream_reuses(bytes);
  }
  // A hardened build doesn't take it for granted that what was given back is in a region.
  [[nodiscard]] span* known_span_of(const void* block) const noexcept CISTERN_REQUIRES(lock_) {
    return !hardened_build || heap_.holds(block) ? heap_.span_of(block) : nullptr;
  }

  [[nodiscard]] span* take(std::uint32_t pages, std::uint32_t least_pages, std::size_t alignment,
                           std::uint64_t now) noexcept CISTERN_REQUIRES(lock_) {
    span* run = heap_.try_take(pages, alignment);
    while (run == nullptr && !left_.empty()) {
      join(joined_at_once, now);
      run = heap_.try_take(pages, alignment);
    }
    if (run == nullptr && least_pages < pages) {
      run = heap_.try_take(least_pages, alignment);
    }
    publish();
    return run;
  }
  void join(std::size_t most_spans, std::uint64_t now) noexcept CISTERN_REQUIRES(lock_) {
    for (std::size_t joined = 0; joined < most_spans && !left_.empty(); ++joined) {
      span* const run = left_.pop();
      add_left_bytes(std::size_t{0} - run->bytes());
      heap_.give(run, now);
    }
  }
  void publish() noexcept CISTERN_REQUIRES(lock_) {
    spare_bytes_.store(left_bytes() + heap_.spare_bytes(), std::memory_order_relaxed);
    free_bytes_.store(left_bytes() + heap_.free_bytes(), std::memory_order_relaxed);
    discardable_bytes_.store(heap_.discardable_bytes(), std::memory_order_relaxed);
    pages_bytes_.store(heap_.pages_bytes(), std::memory_order_relaxed);
  }
  void add_left_bytes(std::size_t bytes) noexcept CISTERN_REQUIRES(lock_) {
    left_bytes_.store(left_bytes() + bytes, std::memory_order_relaxed);
  }

  mutable Lock lock_;
  page_heap heap_ CISTERN_GUARDED_BY(lock_);
  /// Spans that left their class whole, on their way to the heap.
  span_list left_ CISTERN_GUARDED_BY(lock_);
  std::array<std::uint64_t, 3> given_back_bytes_ CISTERN_GUARDED_BY(lock_){};  ///< By `reason`.
  std::uint64_t discarded_bytes_ CISTERN_GUARDED_BY(lock_) = 0;
  // Written under the lock.
  std::atomic<std::size_t> left_bytes_{0};
  std::atomic<std::size_t> spare_bytes_{0};
  std::atomic<std::size_t> free_bytes_{0};
  std::atomic<std::size_t> discardable_bytes_{0};
  std::atomic<std::size_t> pages_bytes_{0};
};

}  // namespace cistern::detail
