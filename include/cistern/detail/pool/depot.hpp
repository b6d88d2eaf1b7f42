// depot: what the threads of a synchronized pool share: blocks by class, each behind a lock of its own.
#pragma once

#include <cistern/detail/base/block_request.hpp>
#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/mutex.hpp>
#include <cistern/detail/base/reentrant_mutex.hpp>
#include <cistern/detail/base/thread_annotations.hpp>
#include <cistern/detail/pool/class_spans.hpp>
#include <cistern/detail/pool/lazy_array.hpp>
#include <cistern/detail/pool/magazine.hpp>
#include <cistern/detail/pool/run_class.hpp>
#include <cistern/detail/pool/span_supply.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/pool_options.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <optional>

namespace cistern::detail {

/// Thread-safe, every function, but `release`. No two of its locks are ever held together, but at a fork, in
/// `check_invariants`, and where upstream calls back: it is called with the lock of the supply alone, which
/// the thread that holds it may take again, and any other one after it.
class depot {
 public:
  /// `options` in effect; they and `account` must outlive the depot.
  depot(const pool_options& options, upstream_account& account) noexcept;
  depot(const depot&) = delete;
  depot& operator=(const depot&) = delete;
  ~depot() = default;

  [[nodiscard]] const pool_options& options() const noexcept { return options_; }

  /// Whether thread caches may have blocks of a class.
  [[nodiscard]] bool is_cached(unsigned index) const noexcept { return index < cached_classes_; }
  /// Counts the caches of threads that run, among which the room of all is divided.
  void add_cache() noexcept { caches_.fetch_add(1, std::memory_order_relaxed); }
  void remove_cache() noexcept { caches_.fetch_sub(1, std::memory_order_relaxed); }
  /// What one of them may have now: the fewer there are, the more. One that has more should give some up.
  [[nodiscard]] std::size_t cache_share_bytes() const noexcept;
  /// Room for so many bytes more in a cache that has `had_bytes`, of what all may have together. False: there
  /// is none. The last quarter is for caches that have next to nothing.
  [[nodiscard]] bool reserve_cache_bytes(std::size_t had_bytes, std::size_t bytes) noexcept;
  void give_cache_bytes(std::size_t bytes) noexcept {
    cache_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  }

  /// At least one block and at most `most_blocks`: of a magazine as it came, or of a span, in which case
  /// `fresh` is set and the first block counts as a miss. None where `max_bytes` or a `chunk_source` refuses;
  /// passes on what upstream throws. `own` is the calling thread's cache, if it has one: it is flushed before
  /// a request is refused. `others_blocks`: how many of the class's blocks are neither here nor among those
  /// taken, where it matters when the last of them is freed. O(most_blocks) but for upstream.
  [[nodiscard]] magazine try_take(unsigned index, std::size_t most_blocks, bool& fresh,
                                  std::size_t& others_blocks, flushable* own);

  /// Takes in a magazine. O(1). Returns how many blocks of the class aren't in the depot, where it matters
  /// when the last of them is freed.
  std::size_t put(unsigned index, magazine blocks) noexcept;
  static constexpr std::size_t unknown_blocks = SIZE_MAX;
  /// A step on the way back to the bounds, as `put` does one, after a cache took so many bytes.
  void settle(std::size_t freed_bytes) noexcept { supply_.settle(freed_bytes); }
  /// See `span_supply`.
  [[nodiscard]] bool is_late() const noexcept { return supply_.is_late(); }
  [[nodiscard]] bool sorts_all() const noexcept { return supply_.sorts_all(); }

  /// One block without a thread cache; null where there is no memory.
  [[nodiscard]] void* try_allocate(unsigned index, flushable* own);
  /// The same for a class whose blocks are runs of pages; `is_new`: nobody has had it since it came from
  /// upstream.
  [[nodiscard]] void* try_allocate_run(unsigned index, bool& is_new, flushable* own);
  /// Makes a live block of such a class one of another, where it is. False, and nothing changed, where there
  /// is no room behind it.
  [[nodiscard]] bool try_resize_run(unsigned from, void* block, unsigned to) noexcept;
  void deallocate(unsigned index, void* block) noexcept;
  /// The same where lists are shut: checks the block, and overwrites it if it is to be.
  void deallocate_watched(unsigned index, void* block) noexcept;

  /// Gives back everything idle that the calling thread can reach, its own cache included. False: there was
  /// nothing, and asking again is vain.
  [[nodiscard]] bool make_room(flushable* own) noexcept;

  /// Whether a block of a class may begin at `address`: for checks. O(log(regions)).
  [[nodiscard]] bool is_block(unsigned index, const void* address) noexcept;
  /// The same, but for blocks that are known to be free without a look into them. Of a block in use only.
  [[nodiscard]] bool may_be_out(unsigned index, const void* address) noexcept;
  /// How `block` can be given back, if it is of a class: for the rare caller who doesn't know.
  [[nodiscard]] std::optional<block_request> find(const void* block) const;

  /// Gives regions without a live block back until at most `keep_bytes` are idle in the depot. `cached`:
  /// bytes of free blocks in caches. Returns the bytes given back.
  std::size_t trim(std::size_t keep_bytes) noexcept;

  /// Asks every thread to flush its cache when it next gets to a slow path, and then to call `follow_trim`.
  void request_trim(std::size_t keep_bytes) noexcept {
    trim_keep_bytes_.store(keep_bytes, std::memory_order_relaxed);
    trims_requested_.fetch_add(1, std::memory_order_relaxed);
  }
  /// How many trims were requested so far.
  [[nodiscard]] std::uint32_t trims_requested() const noexcept {
    // Relaxed: a request is a hint; its effect goes through the classes' locks.
    return trims_requested_.load(std::memory_order_relaxed);
  }
  /// A step of what `trim` does, for a thread whose cache a trim could not reach.
  void follow_trim() noexcept;

  /// Memory from upstream for what isn't a block: null where `max_bytes` refuses; passes on what upstream
  /// throws.
  [[nodiscard]] void* try_allocate_record(std::size_t bytes, std::size_t alignment);
  void deallocate_record(void* memory, std::size_t bytes, std::size_t alignment) noexcept;

  /// What thread caches hold of one class and have served of it.
  struct cached {
    std::size_t blocks = 0;
    std::uint64_t hits = 0;
  };
  /// Takes over the hits of caches that are given up; their blocks must have been put back.
  void add_hits(const std::array<cached, cached_class_count>& given_up) noexcept;
  /// Adds the classes to a pool's statistics.
  void add_to(pool_statistics& statistics, const std::array<cached, cached_class_count>& in_caches) const;
  /// How often a class's lock was taken for a thread. For tests.
  [[nodiscard]] std::uint64_t visits() const noexcept;

  /// Gives everything back to upstream. No other thread may be inside. `in_caches`: what caches hold, which
  /// are forgotten next.
  void release(const std::array<cached, cached_class_count>& in_caches) noexcept
      CISTERN_NO_THREAD_SAFETY_ANALYSIS;
  void check_invariants() const noexcept;

  /// For fork: with every lock held, no other thread is inside. That of the supply is the first. See
  /// `fork_participant`.
  bool each_lock(lock_visitor& visit) noexcept;

  // For `span_supply`.
  sorted_blocks sort(unsigned index, std::size_t keep_blocks, std::size_t most_blocks) noexcept;
  std::size_t discard(unsigned index) noexcept;
  bool flush_caches() noexcept;

 private:
  void add_hits(unsigned index, std::uint64_t hits) noexcept;

  /// One class of blocks that may be cached.
  struct alignas(64) shelf {
    mutable mutex lock;
    std::uint64_t visits CISTERN_GUARDED_BY(lock) = 0;
    magazine_stack magazines CISTERN_GUARDED_BY(lock);
    free_block* loose CISTERN_GUARDED_BY(lock) = nullptr;  ///< Blocks that came singly.
    std::size_t loose_blocks CISTERN_GUARDED_BY(lock) = 0;
    class_spans spans CISTERN_GUARDED_BY(lock);
    /// Allocations served from lists, here or in caches since given up.
    std::uint64_t hits CISTERN_GUARDED_BY(lock) = 0;
    std::uint64_t misses CISTERN_GUARDED_BY(lock) = 0;    ///< Allocations that took from a span.
    std::uint64_t released CISTERN_GUARDED_BY(lock) = 0;  ///< Blocks in use when `release` came.

    [[nodiscard]] std::size_t listed_blocks() const noexcept CISTERN_REQUIRES(lock) {
      return magazines.blocks() + loose_blocks;
    }
  };
  /// A class of blocks that are runs.
  struct run_shelf {
    mutable mutex lock;
    run_class runs CISTERN_GUARDED_BY(lock);
  };

  [[nodiscard]] std::size_t least_cache_share_bytes() const noexcept {
    return std::min(std::size_t{64} << 10, options_.thread_caches_total_bytes / 4);
  }
  static void loosen(shelf& s, magazine whole) noexcept CISTERN_REQUIRES(s.lock);
  [[nodiscard]] static magazine take_listed(shelf& s, std::size_t most_blocks) noexcept
      CISTERN_REQUIRES(s.lock);
  [[nodiscard]] magazine take_locked(shelf& s, unsigned index, span* added, std::size_t most_blocks,
                                     bool& fresh) noexcept CISTERN_REQUIRES(s.lock);
  void note(shelf& s, unsigned index) noexcept CISTERN_REQUIRES(s.lock);
  void put_locked(shelf& s, unsigned index, magazine blocks) noexcept CISTERN_REQUIRES(s.lock);
  [[nodiscard]] std::size_t blocks_elsewhere(const shelf& s, unsigned index) const noexcept
      CISTERN_REQUIRES(s.lock);
  [[nodiscard]] span* try_get_span(unsigned index, bool& had_block);
  [[nodiscard]] span* assigned(span* run, unsigned index) noexcept;
  [[nodiscard]] bool has_block(unsigned index) noexcept;
  void deallocate_run(unsigned index, void* block) noexcept;
  void assign_run(span* run, unsigned index) noexcept;
  [[nodiscard]] void* try_take_kept(unsigned index) noexcept;
  void expect_in_class(const free_block* block, unsigned index) const noexcept;
  sorted_blocks sort_runs(unsigned index, std::size_t keep_blocks, std::size_t most_blocks) noexcept;

  const pool_options& options_;
  upstream_account& account_;
  const unsigned cached_classes_;
  std::atomic<std::uint32_t> trims_requested_{0};
  std::atomic<std::size_t> trim_keep_bytes_{0};
  std::atomic<std::size_t> cache_bytes_{0};
  std::atomic<std::size_t> caches_{0};
  span_supply<depot, reentrant_mutex> supply_;
  lazy_array<shelf, cached_class_count, mutex> shelves_;
  lazy_array<run_shelf, class_count - cached_class_count, mutex> runs_;
};

}  // namespace cistern::detail
