// depot: what the threads of a synchronized pool share: the buckets, each behind a lock of its own.
#pragma once

#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/mutex.hpp>
#include <cistern/detail/base/thread_annotations.hpp>
#include <cistern/detail/pool/block_request.hpp>
#include <cistern/detail/pool/bucket.hpp>
#include <cistern/detail/pool/magazine.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/pool_options.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <optional>

namespace cistern::detail {

template <class Buckets>
class idle_budget;

/// Thread-safe, every function, but `release`. Locks, in the order in which they may be taken together:
///
///     budget_lock_  →  lock of one bucket  →  whatever upstream takes
///
/// At most one bucket's lock is held at a time, but at a fork.
class depot {
 public:
  /// `options` in effect; they and `account` must outlive the depot.
  depot(const pool_options& options, upstream_account& account) noexcept;
  depot(const depot&) = delete;
  depot& operator=(const depot&) = delete;
  ~depot() = default;

  [[nodiscard]] const pool_options& options() const noexcept { return options_; }

  /// Blocks in a full magazine of a class; 0: the class is not for thread caches.
  [[nodiscard]] std::uint32_t magazine_blocks(unsigned index) const noexcept {
    return index < cached_class_count ? magazine_blocks_[index] : 0;
  }

  /// One or more blocks: a full magazine in O(1) if there is one, else what lies loose, else about
  /// `carve_blocks` freshly carved, in which case `carved` is set and the first block counts as a miss.
  /// `rather_fresh`: carve even if there are free blocks, where they are few and that takes no new chunk.
  /// None where `max_bytes` or a `chunk_source` refuses; passes on what upstream throws. `own` is the calling
  /// thread's cache, if it has one: it is flushed before a request is refused.
  [[nodiscard]] magazine try_take(unsigned index, std::size_t carve_blocks, bool rather_fresh, bool& carved,
                                  flushable* own);

  /// Takes in a magazine, full (O(1)) or not (O(blocks)). Returns how many blocks of the class aren't in the
  /// depot, where it matters when the last of them is freed.
  std::size_t put(unsigned index, magazine blocks) noexcept;
  static constexpr std::size_t unknown_live_blocks = SIZE_MAX;

  /// One block without a thread cache; null where `try_take` has none.
  [[nodiscard]] void* try_allocate(unsigned index, flushable* own);
  void deallocate(unsigned index, void* block) noexcept;

  /// Makes a live block of a class that comes singly one of another such class, without a copy: its pages
  /// move. Over a `chunk_source` only. Null, and nothing changed, where there is no memory.
  [[nodiscard]] void* try_move_single(unsigned from, void* block, unsigned to) noexcept;

  /// Gives back everything idle that the calling thread can reach, its own cache included. False: there was
  /// nothing, and asking again is vain.
  [[nodiscard]] bool make_room(flushable* own) noexcept;

  /// How `block` can be given back, if it is of a bucket: for the rare caller who doesn't know. O(chunks).
  [[nodiscard]] std::optional<block_request> find(const void* block) const;

  /// Gives free chunks back until at most `keep_bytes` are idle in the depot. Returns the bytes given back.
  std::size_t trim(std::size_t keep_bytes) noexcept;

  /// Asks every thread to flush its cache and trim to `keep_bytes` when it next gets to a slow path.
  void request_trim(std::size_t keep_bytes) noexcept;
  /// How many trims were requested so far, and what the last one wants kept.
  [[nodiscard]] std::uint32_t trims_requested() const noexcept {
    // Relaxed: a request is a hint; its effect goes through the buckets' locks.
    return trims_requested_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::size_t trim_keep_bytes() const noexcept {
    return trim_keep_bytes_.load(std::memory_order_relaxed);
  }

  /// Takes over the counters of a cache that is given up; its blocks must have been put back.
  void add_hits(unsigned index, std::uint64_t hits) noexcept;
  /// The same for a cache that is given up with `blocks` still in it, as its chunks are released next.
  void abandon(unsigned index, std::uint64_t hits, std::size_t blocks) noexcept;

  /// What thread caches hold of one class and have served of it.
  struct cached {
    std::size_t blocks = 0;
    std::uint64_t hits = 0;
  };
  /// Adds the buckets to a pool's statistics.
  void add_to(pool_statistics& statistics, const std::array<cached, cached_class_count>& in_caches) const;

  /// Gives everything back to upstream. No other thread may be inside.
  void release() noexcept;
  void check_invariants() const noexcept;

  /// For fork: with every lock held, no other thread is inside. See `fork_participant`.
  bool each_lock(lock_visitor& visit) noexcept;

  /// Where more is kept than `max_idle_bytes` allows: looks again for chunks to give back.
  void look_for_idle_chunks() noexcept;

  /// How many thread caches there are: some blocks may be free in these.
  void cache_taken() noexcept { caches_in_use_.fetch_add(1, std::memory_order_relaxed); }
  void cache_given_up() noexcept { caches_in_use_.fetch_sub(1, std::memory_order_relaxed); }

  // For `idle_budget`.
  template <class F>
  auto visit(unsigned index, F f) {
    shelf& s = shelves_[index];
    const scoped_lock guard(s.lock);
    return f(s.blocks);
  }
  [[nodiscard]] bool frees_are_in_order(unsigned index) const noexcept;
  [[nodiscard]] std::size_t blocks_out_of_reach(unsigned index) const noexcept;
  void note_over_budget() noexcept { over_budget_.store(true, std::memory_order_relaxed); }
  std::size_t trim(unsigned index, std::size_t& surplus_bytes) noexcept;

 private:
  /// One class. `blocks` counts the blocks in magazines as free; its own list holds the loose ones.
  struct alignas(64) shelf {
    mutable mutex lock;
    free_block* full_magazines CISTERN_GUARDED_BY(lock) = nullptr;
    std::size_t magazine_blocks_total CISTERN_GUARDED_BY(lock) = 0;
    /// Allocations served from free lists, here or in caches since given up.
    std::uint64_t hits CISTERN_GUARDED_BY(lock) = 0;
    bucket blocks CISTERN_GUARDED_BY(lock);
  };

  [[nodiscard]] bucket_shape shape(unsigned index) const noexcept;
  [[nodiscard]] magazine take_locked(shelf& s, unsigned index, std::size_t carve_blocks, bool rather_fresh,
                                     bool& carved) CISTERN_REQUIRES(s.lock);
  [[nodiscard]] static magazine take_loose(shelf& s, std::size_t most_blocks) noexcept
      CISTERN_REQUIRES(s.lock);
  [[nodiscard]] magazine carve(shelf& s, unsigned index, std::size_t most_blocks) noexcept
      CISTERN_REQUIRES(s.lock);
  [[nodiscard]] static std::size_t earned_blocks(const shelf& s) noexcept CISTERN_REQUIRES(s.lock);
  static void rewind_if_free(shelf& s, std::size_t block_bytes) noexcept CISTERN_REQUIRES(s.lock);
  static void dissolve_magazines(shelf& s) noexcept CISTERN_REQUIRES(s.lock);
  static void forget_magazines(shelf& s) noexcept CISTERN_REQUIRES(s.lock);
  [[nodiscard]] idle_budget<depot> budget() noexcept CISTERN_REQUIRES(budget_lock_);
  void settle(unsigned index) noexcept;
  [[nodiscard]] bool make_room_for_single(unsigned index) noexcept;
  [[nodiscard]] bool wants_chunk(unsigned index) const noexcept;

  const pool_options& options_;
  std::array<std::uint8_t, cached_class_count> magazine_blocks_{};
  upstream_account& account_;
  std::atomic<std::uint32_t> trims_requested_{0};
  std::atomic<std::size_t> trim_keep_bytes_{0};
  std::atomic<std::uint32_t> caches_in_use_{0};
  std::atomic<bool> over_budget_{false};  ///< More is idle than may be, for want of chunks known to be free.
  mutex budget_lock_;                     // one thread at a time moves grants between buckets
  std::array<shelf, class_count> shelves_{};
};

}  // namespace cistern::detail
