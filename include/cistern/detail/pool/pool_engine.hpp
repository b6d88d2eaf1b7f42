// pool_engine: a pool of blocks by size class for any number of threads: a depot, and a cache for each
// thread.
#pragma once

#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/mutex.hpp>
#include <cistern/detail/base/thread_annotations.hpp>
#include <cistern/detail/base/thread_directory.hpp>
#include <cistern/detail/pool/depot.hpp>
#include <cistern/detail/pool/thread_cache.hpp>
#include <cistern/detail/pool/unpooled_blocks.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/pool_statistics.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace cistern::detail {

/// What `synchronized_pool_resource` and `malloc` are made of. It knows classes only, no sizes and
/// alignments, and says null where there is no memory; what upstream throws it passes on. Thread-safe, every
/// function, but where it says otherwise.
// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor): final, and never deleted through a base
class pool_engine final : private cache_owner, private fork_participant {
 public:
  /// `options` in effect, see `effective_options`; all must outlive the engine. `beside`: what the same pool
  /// serves without buckets, or null; its locks are taken around a fork too. May throw `std::bad_alloc`.
  pool_engine(const pool_options& options, upstream_account& account, unpooled_blocks* beside);
  pool_engine(const pool_engine&) = delete;
  pool_engine& operator=(const pool_engine&) = delete;
  /// Calls `release`.
  ~pool_engine();

  /// Gives every region back, live blocks or not. No other thread may be inside the pool.
  void release() noexcept;

  /// The fast path: a block of this thread's cache, or null. Of a class of small blocks.
  [[nodiscard]] void* try_pop(class_place place) noexcept {
    if (thread_cache* const cache = cache_at_hand(); cache != nullptr) [[likely]] {
      if (cache_slot& slot = cache->slots().at(place); slot.head != nullptr) [[likely]] {
        return slot.pop();
      }
    }
    return nullptr;
  }

  /// The fast path: false, and nothing done, where this thread's cache can't take the block at once.
  [[nodiscard]] bool try_push(class_place place, void* block) noexcept {
    if (thread_cache* const cache = cache_at_hand(); cache != nullptr) [[likely]] {
      if (cache->slots().at(place).try_push(block, class_block_bytes(class_at(place)))) [[likely]] {
        return true;
      }
    }
    return false;
  }

  /// The same for a class of blocks above `small_limit_bytes`.
  [[nodiscard]] void* try_pop_large(unsigned index) noexcept {
    thread_cache* const cache = cache_at_hand();
    return cache != nullptr ? cache->slots().try_pop_large(index) : nullptr;
  }
  [[nodiscard]] bool try_push_large(unsigned index, void* block) noexcept {
    thread_cache* const cache = cache_at_hand();
    return cache != nullptr && cache->slots().try_push_large(index, block);
  }

  /// A block of a class, after a fast path that had none; null where there is no memory.
  [[nodiscard]] void* try_allocate(unsigned index);
  /// The same for a class whose blocks are runs of pages, with zeros in the first `bytes`. From a source
  /// whose memory is zeros only.
  [[nodiscard]] void* try_allocate_zeroed_run(unsigned index, std::size_t bytes);
  /// See `depot::try_resize_run`.
  [[nodiscard]] bool try_resize_run(unsigned from, void* block, unsigned to) noexcept {
    return depot_.try_resize_run(from, block, to);
  }
  /// Takes a block back, after a fast path that could not.
  void deallocate(unsigned index, void* block) noexcept;

  /// See `depot::is_block`.
  [[nodiscard]] bool is_block(unsigned index, const void* address) noexcept {
    return depot_.is_block(index, address);
  }
  /// See `depot::may_be_out`.
  [[nodiscard]] bool may_be_out(unsigned index, const void* address) noexcept {
    return depot_.may_be_out(index, address);
  }
  /// How `block` can be given back, if it is of one of the classes. O(pages of a region).
  [[nodiscard]] std::optional<block_request> find(const void* block) const { return depot_.find(block); }

  /// The calling thread's cache, or null.
  [[nodiscard]] thread_cache* known_cache() const noexcept {
    thread_cache* const cache = cache_at_hand();
    return cache != nullptr ? cache : static_cast<thread_cache*>(ticket_.find());
  }

  /// To be called in slow paths that don't end in `try_allocate` or `deallocate`: does what this thread owes
  /// to a `trim` on another one.
  void honour_trims() noexcept { cache_after_trims(); }

  /// Gives back everything idle that this thread can reach. False: there was nothing.
  [[nodiscard]] bool make_room() noexcept {
    return depot_.make_room(as_flushable(cache_after_trims()).get());
  }

  /// Gives idle regions back until at most `keep_bytes` are idle. Returns the bytes given back.
  std::size_t trim(std::size_t keep_bytes) noexcept;

  /// Adds what is held here to a pool's statistics. Exact in a quiet moment. O(threads).
  void add_to(pool_statistics& statistics) const;

  /// How often a class's lock was taken for a thread: for tests.
  [[nodiscard]] std::uint64_t depot_visits() const noexcept { return depot_.visits(); }

  /// Only in a quiet moment: for tests.
  void check_invariants() const noexcept { depot_.check_invariants(); }

 private:
  /// The calling thread's cache where it is at hand, or null.
  [[nodiscard]] thread_cache* cache_at_hand() const noexcept {
    return static_cast<thread_cache*>(ticket_.at_hand());
  }

  [[nodiscard]] thread_cache* own_cache() noexcept;
  thread_cache* cache_after_trims() noexcept;
  [[nodiscard]] thread_cache* idle_or_new_cache() noexcept;
  [[nodiscard]] thread_cache* new_cache() noexcept;
  void put_aside(thread_cache& cache) noexcept;
  [[nodiscard]] bool is_early() noexcept;
  using in_caches = std::array<depot::cached, cached_class_count>;
  in_caches free_caches(bool in_use_too) noexcept;
  static void add_to(in_caches& sums, const thread_cache& cache) noexcept;

  void retire(void* cache) noexcept override;
  bool each_lock(lock_visitor& visit) noexcept override;

  cache_ticket ticket_;
  mutable mutex caches_lock_;  // the last one: nothing is called with it held
  /// All caches. Guards each one's `next` and `in_use` as well.
  thread_cache* caches_ CISTERN_GUARDED_BY(caches_lock_) = nullptr;
  upstream_account& account_;
  unpooled_blocks* beside_;
  std::atomic<std::uint32_t> early_requests_{0};  ///< Served without a cache, though there could be one.
  depot depot_;
};

}  // namespace cistern::detail
