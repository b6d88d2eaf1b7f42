// synchronized_pool_resource: the memory pool that any number of threads share, cached per thread.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/block_ledger.hpp>
#include <cistern/detail/pool/pool_engine.hpp>
#include <cistern/detail/pool/unpooled_blocks.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/pool_statistics.hpp>
#include <cistern/sized_block.hpp>

#include <bit>
#include <concepts>
#include <cstddef>
#include <memory>
#include <memory_resource>
#include <optional>

namespace cistern {

namespace detail {
void deallocate_unsized(void* block) noexcept;
template <class Pool>
class sampled_pool;
}  // namespace detail

/// A drop-in for `std::pmr::synchronized_pool_resource`. Any thread allocates, any thread frees, also what
/// another one allocated. Each thread works on free lists of its own and trades whole lists ("magazines")
/// with the others, so that a lock is taken once in many operations.
///
/// A thread that ends gives its cache back. A pool may be destroyed before or after the threads that used it,
/// as long as none is inside. After `fork` the pool works in parent and child; what the caches of threads
/// that the child doesn't have held stays there, unused, until `release`.
///
/// Every operation is O(1), amortised, but for upstream. What is thrown leaves
/// the pool as it was. Blocks are not cleared: they come with whatever their last user left. Upstream must be
/// thread-safe. It may call the pool back, as `trim` and `statistics` of a callback do; but it must not fork,
/// nor make pools, while it serves a request.
class synchronized_pool_resource : public std::pmr::memory_resource {
 public:
  /// Over `std::pmr::get_default_resource()`, with default options.
  synchronized_pool_resource() : synchronized_pool_resource(pool_options{}) {}

  /// Over `upstream`; null means new/delete.
  explicit synchronized_pool_resource(std::pmr::memory_resource* upstream CISTERN_LIFETIMEBOUND)
      : synchronized_pool_resource(pool_options{}, upstream) {}

  /// Throws `std::invalid_argument`, naming field and value, where an option can't be honoured. Gets nothing
  /// from upstream yet.
  explicit synchronized_pool_resource(const pool_options& options)
      : synchronized_pool_resource(options, std::pmr::get_default_resource()) {}
  synchronized_pool_resource(const pool_options& options,
                             std::pmr::memory_resource* upstream CISTERN_LIFETIMEBOUND);

  /// From the standard's options. A template so that braces always mean `cistern::pool_options`.
  template <std::same_as<std::pmr::pool_options> Options>
  explicit synchronized_pool_resource(const Options& options)
      : synchronized_pool_resource(from_standard(options)) {}
  template <std::same_as<std::pmr::pool_options> Options>
  synchronized_pool_resource(const Options& options,
                             std::pmr::memory_resource* upstream CISTERN_LIFETIMEBOUND)
      : synchronized_pool_resource(from_standard(options), upstream) {}

  synchronized_pool_resource(const synchronized_pool_resource&) = delete;
  synchronized_pool_resource& operator=(const synchronized_pool_resource&) = delete;

  /// Calls `release()`. No other thread may be inside the pool; threads that used it may still run.
  ~synchronized_pool_resource() override;

  /// Gives all memory back to upstream, blocks still in use included. No other thread may be inside the pool.
  void release() noexcept;

  [[nodiscard]] std::pmr::memory_resource* upstream_resource() const noexcept { return account_.upstream(); }

  /// The options in effect.
  [[nodiscard]] pool_options options() const noexcept { return options_; }

  /// The same as through the base class, with static dispatch: what is known when compiling (size,
  /// alignment) folds away. Throws `std::bad_alloc` (see `bad_allocation`) and what upstream throws.
  /// Thread-safe.
  [[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment = alignof(std::max_align_t)) {
    CISTERN_EXPECTS(std::has_single_bit(alignment), "alignment is not a power of two", alignment);
    if constexpr (detail::inline_fast_paths) {
      const std::size_t last = detail::last_byte(bytes, alignment);
      if (last < detail::small_limit_bytes) [[likely]] {
        return allocate_cached(detail::small_place_of(last), bytes, alignment);
      }
    }
    return synchronized_pool_resource::do_allocate(bytes, alignment);
  }

  /// `bytes` and `alignment` as at the allocation; `bytes` may be what `allocate_at_least` granted.
  /// Thread-safe.
  void deallocate(void* block, std::size_t bytes,
                  std::size_t alignment = alignof(std::max_align_t)) noexcept {
    CISTERN_EXPECTS(std::has_single_bit(alignment), "alignment is not a power of two", alignment);
    if constexpr (detail::inline_fast_paths) {
      const std::size_t last = detail::last_byte(bytes, alignment);
      if (last < detail::small_limit_bytes) [[likely]] {
        return deallocate_cached(detail::small_place_of(last), block, bytes, alignment);
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

  /// Gives regions with no live block back to upstream until at most `keep_bytes` are idle. Over
  /// `page_resource` and new/delete the memory of free pages goes back to the system as well. Returns the
  /// bytes given back to upstream. Blocks in the caches of other threads count as live; each of these threads
  /// flushes its own when it next gets to a slow path of this pool. O(free blocks * log(regions)).
  /// Thread-safe.
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
  friend void detail::deallocate_unsized(void* block) noexcept;
  friend detail::sampled_pool<synchronized_pool_resource>;

  static pool_options from_standard(const std::pmr::pool_options& options) noexcept;

  void* allocate_cached(detail::class_place place, std::size_t bytes, std::size_t alignment) {
    void* const block = engine_.try_pop(place);
    return block != nullptr ? block : allocate_slow(bytes, alignment);
  }

  void deallocate_cached(detail::class_place place, void* block, std::size_t bytes,
                         std::size_t alignment) noexcept {
    if (!engine_.try_push(place, block)) [[unlikely]] {
      deallocate_slow(block, bytes, alignment);
    }
  }

  [[gnu::noinline]] void* allocate_not_small(std::size_t bytes, std::size_t alignment);
  [[gnu::noinline]] void deallocate_not_small(void* block, std::size_t bytes, std::size_t alignment) noexcept;
  void* allocate_slow(std::size_t bytes, std::size_t alignment);
  void deallocate_slow(void* block, std::size_t bytes, std::size_t alignment) noexcept;
  [[gnu::noinline]] void deallocate_unpooled(void* block, std::size_t bytes, std::size_t alignment,
                                             const void* caller) noexcept;

  /// How `block` can be given back, if it is of this pool. O(pages of a region).
  [[nodiscard]] std::optional<detail::block_request> find(const void* block) const;

  const pool_options options_;
  detail::upstream_account account_;
  detail::unpooled_blocks unpooled_;
  detail::pool_engine engine_;
  [[no_unique_address]] detail::pool_ledger ledger_;
  /// Serves all requests, if there is one.
  const std::unique_ptr<detail::sampled_pool<synchronized_pool_resource>> sampled_;
  const std::size_t pooled_limit_bytes_;  ///< No bucket serves this or more: one test for the slow paths.
};

}  // namespace cistern
