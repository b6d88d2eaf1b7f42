// synchronized_pool_resource: the memory pool that any number of threads share, cached per thread.
#pragma once

#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/depot.hpp>
#include <cistern/detail/pool/thread_cache.hpp>
#include <cistern/detail/pool/thread_registry.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/pool_statistics.hpp>
#include <cistern/sized_block.hpp>

#include <bit>
#include <concepts>
#include <cstddef>
#include <memory_resource>

namespace cistern {

namespace detail {
class heap;
void deallocate_unsized(void* block) noexcept;
}  // namespace detail

/// A drop-in for `std::pmr::synchronized_pool_resource`. Any thread allocates, any thread frees, also what
/// another one allocated. Each thread works on free lists of its own and trades whole lists ("magazines")
/// with the others, so that a lock is taken once in many operations.
///
/// A thread that ends gives its cache back. A pool may be destroyed before or after the threads that used it,
/// as long as none is inside. After `fork` the pool works in parent and child; what the caches of threads
/// that the child doesn't have held stays there, unused, until `release`.
///
/// Every operation is O(1) but those that get chunks from upstream or give them back. What is thrown leaves
/// the pool as it was. Blocks are not cleared: they come with whatever their last user left. Upstream must be
/// thread-safe, and is called with a lock of the pool held: it must not fork, nor make pools, while it serves
/// a request.
class synchronized_pool_resource : public std::pmr::memory_resource, private detail::cache_owner {
 public:
  /// Over `std::pmr::get_default_resource()`, with default options.
  synchronized_pool_resource() : synchronized_pool_resource(pool_options{}) {}

  /// Over `upstream`; null means new/delete.
  explicit synchronized_pool_resource(std::pmr::memory_resource* upstream)
      : synchronized_pool_resource(pool_options{}, upstream) {}

  /// Throws `std::invalid_argument`, naming field and value, where an option can't be honoured. Gets nothing
  /// from upstream yet.
  explicit synchronized_pool_resource(const pool_options& options)
      : synchronized_pool_resource(options, std::pmr::get_default_resource()) {}
  synchronized_pool_resource(const pool_options& options, std::pmr::memory_resource* upstream);

  /// From the standard's options. A template so that braces always mean `cistern::pool_options`.
  template <std::same_as<std::pmr::pool_options> Options>
  explicit synchronized_pool_resource(const Options& options)
      : synchronized_pool_resource(from_standard(options)) {}
  template <std::same_as<std::pmr::pool_options> Options>
  synchronized_pool_resource(const Options& options, std::pmr::memory_resource* upstream)
      : synchronized_pool_resource(from_standard(options), upstream) {}

  synchronized_pool_resource(const synchronized_pool_resource&) = delete;
  synchronized_pool_resource& operator=(const synchronized_pool_resource&) = delete;

  /// Calls `release()`. No other thread may be inside the pool; threads that used it may still run.
  ~synchronized_pool_resource() override;

  /// Gives all memory back to upstream, blocks still in use included. No other thread may be inside the pool.
  void release() noexcept;

  [[nodiscard]] std::pmr::memory_resource* upstream_resource() const noexcept {
    return depot_.account().upstream();
  }

  /// The options in effect.
  [[nodiscard]] pool_options options() const noexcept { return depot_.options(); }

  /// The same as through the base class, with static dispatch: what is known when compiling (size,
  /// alignment) folds away. Throws `std::bad_alloc` (see `bad_allocation`) and what upstream throws.
  /// Thread-safe.
  [[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment = alignof(std::max_align_t)) {
    CISTERN_EXPECTS(std::has_single_bit(alignment), "alignment is not a power of two", alignment);
    if constexpr (!detail::asan_build) {
      const std::size_t last = detail::last_byte(bytes, alignment);
      if (last < detail::small_limit_bytes) [[likely]] {
        return allocate_cached(detail::small_class_of(last), bytes, alignment);
      }
    }
    return synchronized_pool_resource::do_allocate(bytes, alignment);
  }

  /// `bytes` and `alignment` as at the allocation; `bytes` may be what `allocate_at_least` granted.
  /// Thread-safe.
  void deallocate(void* block, std::size_t bytes,
                  std::size_t alignment = alignof(std::max_align_t)) noexcept {
    CISTERN_EXPECTS(std::has_single_bit(alignment), "alignment is not a power of two", alignment);
    if constexpr (!detail::asan_build) {
      const std::size_t last = detail::last_byte(bytes, alignment);
      if (last < detail::small_limit_bytes) [[likely]] {
        return deallocate_cached(detail::small_class_of(last), block, bytes, alignment);
      }
    }
    synchronized_pool_resource::do_deallocate(block, bytes, alignment);
  }

  /// Like `allocate`, and says how large the block is: all of it may be used. Thread-safe.
  [[nodiscard]] sized_block allocate_at_least(std::size_t bytes,
                                              std::size_t alignment = alignof(std::max_align_t));

  /// The size of the block that a request of `bytes`, aligned to at most 8, gets from a bucket: sizes worth
  /// growing to. For a larger alignment, pass `bytes` rounded up to a multiple of it.
  [[nodiscard]] static constexpr std::size_t good_size(std::size_t bytes) noexcept {
    return detail::good_size(bytes);
  }

  /// Gives chunks with no live block back to upstream until at most `keep_bytes` are idle, and puts the free
  /// lists of the buckets it has to look at into address order. Returns the bytes given back. Blocks in the
  /// caches of other threads count as live; each of these threads gives back its own, in the same way, when
  /// it next gets to a slow path of this pool. O(free blocks * log(chunks)). Thread-safe.
  std::size_t trim(std::size_t keep_bytes = 0) noexcept;

  /// An account of the pool, exact in a quiet moment. O(threads). Thread-safe.
  [[nodiscard]] pool_statistics statistics() const;

  /// Aborts with a message when an invariant of the pool doesn't hold. Only in a quiet moment. For tests.
  void check_invariants() const noexcept;

 protected:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

 private:
  friend class detail::heap;  // malloc: knows classes, wants no exceptions
  friend void detail::deallocate_unsized(void* block) noexcept;

  static pool_options from_standard(const std::pmr::pool_options& options) noexcept;

  /// What the thread table has where this pool is looked for.
  [[nodiscard]] const detail::cache_reference& table_entry() const noexcept {
    return detail::thread_table_entry(table_offset_bytes_);
  }

  /// The calling thread's cache, or null.
  [[nodiscard]] detail::thread_cache* known_cache() const noexcept {
    const detail::cache_reference& entry = table_entry();
    return entry.serial == ticket_.serial ? entry.cache : detail::find_cache(ticket_);
  }

  void* allocate_cached(unsigned index, std::size_t bytes, std::size_t alignment) {
    if (const detail::cache_reference& entry = table_entry(); entry.serial == ticket_.serial) [[likely]] {
      if (detail::cache_slot& slot = entry.cache->slot(index); slot.head != nullptr) [[likely]] {
        return slot.pop();
      }
    }
    return allocate_slow(bytes, alignment);
  }

  void deallocate_cached(unsigned index, void* block, std::size_t bytes, std::size_t alignment) noexcept {
    if (const detail::cache_reference& entry = table_entry(); entry.serial == ticket_.serial) [[likely]] {
      if (entry.cache->slot(index).try_push(block, detail::class_block_bytes(index))) [[likely]] {
        return;
      }
    }
    deallocate_slow(block, bytes, alignment);
  }

  void* allocate_slow(std::size_t bytes, std::size_t alignment);
  void deallocate_slow(void* block, std::size_t bytes, std::size_t alignment) noexcept;
  [[nodiscard]] void* try_allocate_pooled(unsigned index);
  void deallocate_pooled(unsigned index, void* block) noexcept;
  [[nodiscard]] detail::thread_cache* own_cache() noexcept;
  detail::thread_cache* cache_after_trims() noexcept;
  [[nodiscard]] detail::thread_cache* idle_or_new_cache() noexcept;
  [[nodiscard]] detail::thread_cache* new_cache() noexcept;
  void put_aside(detail::thread_cache& cache) noexcept;
  void free_caches(bool in_use_too) noexcept;

  void retire(detail::thread_cache& cache) noexcept override;
  void before_fork() noexcept override;
  void after_fork() noexcept override;

  std::size_t table_offset_bytes_ = 0;
  detail::pool_ticket ticket_;
  mutable detail::mutex
      caches_lock_;  // guards the list and each cache's `in_use`; taken before the depot's locks
  detail::thread_cache* caches_ = nullptr;
  detail::depot depot_;
};

}  // namespace cistern
