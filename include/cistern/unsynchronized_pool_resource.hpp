// unsynchronized_pool_resource: the memory pool for one thread at a time.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/block_ledger.hpp>
#include <cistern/detail/pool/bucket_set.hpp>
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

namespace cistern {

namespace detail {
template <class Pool>
class sampled_pool;
}  // namespace detail

/// A drop-in for `std::pmr::unsynchronized_pool_resource`: free lists of blocks in size classes, over regions
/// from an upstream resource. One thread at a time may use a pool.
///
/// Every operation is O(1), amortised, but for upstream. What is thrown
/// leaves the pool as it was. Blocks are not cleared: they come with whatever their last user left.
class unsynchronized_pool_resource : public std::pmr::memory_resource {
 public:
  /// Over `std::pmr::get_default_resource()`, with default options.
  unsynchronized_pool_resource() : unsynchronized_pool_resource(pool_options{}) {}

  /// Over `upstream`; null means new/delete.
  explicit unsynchronized_pool_resource(std::pmr::memory_resource* upstream CISTERN_LIFETIMEBOUND)
      : unsynchronized_pool_resource(pool_options{}, upstream) {}

  /// Throws `std::invalid_argument`, naming field and value, where an option can't be honoured. Gets nothing
  /// from upstream yet.
  explicit unsynchronized_pool_resource(const pool_options& options)
      : unsynchronized_pool_resource(options, std::pmr::get_default_resource()) {}
  unsynchronized_pool_resource(const pool_options& options,
                               std::pmr::memory_resource* upstream CISTERN_LIFETIMEBOUND);

  /// From the standard's options. A template so that braces always mean `cistern::pool_options`.
  template <std::same_as<std::pmr::pool_options> Options>
  explicit unsynchronized_pool_resource(const Options& options)
      : unsynchronized_pool_resource(from_standard(options)) {}
  template <std::same_as<std::pmr::pool_options> Options>
  unsynchronized_pool_resource(const Options& options,
                               std::pmr::memory_resource* upstream CISTERN_LIFETIMEBOUND)
      : unsynchronized_pool_resource(from_standard(options), upstream) {}

  unsynchronized_pool_resource(const unsynchronized_pool_resource&) = delete;
  unsynchronized_pool_resource& operator=(const unsynchronized_pool_resource&) = delete;

  /// Calls `release()`.
  ~unsynchronized_pool_resource() override;

  /// Gives all memory back to upstream, blocks still in use included.
  void release() noexcept;

  [[nodiscard]] std::pmr::memory_resource* upstream_resource() const noexcept { return account_.upstream(); }

  /// The options in effect.
  [[nodiscard]] pool_options options() const noexcept { return options_; }

  /// The same as through the base class, with static dispatch: what is known when compiling (size,
  /// alignment) folds away. Throws `std::bad_alloc` (see `bad_allocation`) and what upstream throws.
  [[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment = alignof(std::max_align_t)) {
    CISTERN_EXPECTS(std::has_single_bit(alignment), "alignment is not a power of two", alignment);
    if constexpr (detail::inline_fast_paths) {
      const std::size_t last = detail::last_byte(bytes, alignment);
      if (last < detail::small_limit_bytes) [[likely]] {
        return allocate_from(detail::small_place_of(last), bytes, alignment);
      }
    }
    return unsynchronized_pool_resource::do_allocate(bytes, alignment);
  }

  /// `bytes` and `alignment` as at the allocation; `bytes` may be what `allocate_at_least` granted.
  void deallocate(void* block, std::size_t bytes,
                  std::size_t alignment = alignof(std::max_align_t)) noexcept {
    CISTERN_EXPECTS(std::has_single_bit(alignment), "alignment is not a power of two", alignment);
    if constexpr (detail::inline_fast_paths) {
      const std::size_t last = detail::last_byte(bytes, alignment);
      if (last < detail::small_limit_bytes) [[likely]] {
        return deallocate_to(detail::small_place_of(last), block, bytes, alignment);
      }
    }
    unsynchronized_pool_resource::do_deallocate(block, bytes, alignment);
  }

  /// Like `allocate`, and says how large the block is: all of it may be used.
  [[nodiscard]] sized_block allocate_at_least(std::size_t bytes,
                                              std::size_t alignment = alignof(std::max_align_t));

  /// The size of the block that a request of `bytes`, aligned to at most 8, gets from a bucket: sizes worth
  /// growing to. For a larger alignment, pass `bytes` rounded up to a multiple of it.
  [[nodiscard]] static constexpr std::size_t good_size(std::size_t bytes) noexcept {
    return detail::good_size(bytes);
  }

  /// Gives regions with no live block back to upstream until at most `keep_bytes` are idle. Over
  /// `page_resource` and new/delete the memory of free pages goes back to the system as well. Returns the
  /// bytes given back to upstream. O(free blocks * log(regions)).
  std::size_t trim(std::size_t keep_bytes = 0) noexcept;

  /// An exact account. O(1).
  [[nodiscard]] pool_statistics statistics() const;

  /// Aborts with a message when an invariant of the pool doesn't hold. O(free blocks * pages of a region):
  /// for tests.
  void check_invariants() const noexcept;

 protected:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

 private:
  static pool_options from_standard(const std::pmr::pool_options& options) noexcept;

  void* allocate_from(detail::class_place place, std::size_t bytes, std::size_t alignment) {
    if (detail::hot_list& list = buckets_.at(place); list.head != nullptr) [[likely]] {
      return list.pop();
    }
    return allocate_slow(bytes, alignment);
  }

  void deallocate_to(detail::class_place place, void* block, std::size_t bytes,
                     std::size_t alignment) noexcept {
    if (!buckets_.at(place).try_push(block, detail::class_block_bytes(detail::class_at(place))))
        [[unlikely]] {
      deallocate_slow(block, bytes, alignment);
    }
  }

  [[gnu::noinline]] void* allocate_not_small(std::size_t bytes, std::size_t alignment);
  [[gnu::noinline]] void deallocate_not_small(void* block, std::size_t bytes, std::size_t alignment) noexcept;
  void* allocate_slow(std::size_t bytes, std::size_t alignment);
  void deallocate_slow(void* block, std::size_t bytes, std::size_t alignment) noexcept;
  [[gnu::noinline]] void deallocate_unpooled(void* block, std::size_t bytes, std::size_t alignment,
                                             const void* caller) noexcept;

  const pool_options options_;
  detail::upstream_account account_;
  detail::unpooled_blocks unpooled_;
  detail::bucket_set buckets_;
  [[no_unique_address]] detail::pool_ledger ledger_;
  /// Serves all requests, if there is one.
  const std::unique_ptr<detail::sampled_pool<unsynchronized_pool_resource>> sampled_;
  const std::size_t pooled_limit_bytes_;  ///< No bucket serves this or more: one test for the slow paths.
};

}  // namespace cistern
