// sampled_pool: what a pool with a sampled guard hands its requests to: guarded slots, and a pool without.
#pragma once

#include <cistern/detail/base/block_request.hpp>
#include <cistern/detail/base/guarded_slots.hpp>
#include <cistern/detail/base/sampler.hpp>
#include <cistern/no_limit.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/pool_statistics.hpp>
#include <cistern/sized_block.hpp>

#include <cstddef>
#include <memory>
#include <memory_resource>
#include <optional>

namespace cistern::detail {

/// The pool that it belongs to serves nothing itself then. So its lists stay empty and without room, its fast
/// paths, compiled into the program, find nothing there, and each request gets here by the slow one. A pool
/// without a guard has nothing to ask for that.
template <class Pool>
class sampled_pool {
 public:
  /// Null where `options` (effective) ask for no guard. Throws what `guarded_slots` throws, and
  /// `std::bad_alloc`.
  [[nodiscard]] static std::unique_ptr<sampled_pool> make(const pool_options& options, bool is_watched,
                                                          std::pmr::memory_resource* upstream) {
    const bool is_wanted = options.sample_guard != 0 && options.sample_guard != no_limit && !is_watched;
    return is_wanted ? std::make_unique<sampled_pool>(options, upstream) : nullptr;
  }

  sampled_pool(const pool_options& options, std::pmr::memory_resource* upstream)
      : turns_(options.sample_guard), blocks_(most_blocks), pool_(without_guard(options), upstream) {}

  /// The pool that has all but the guarded blocks.
  [[nodiscard]] Pool& unguarded() noexcept { return pool_; }

  /// `caller`: where in the program, for reports.
  [[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment, const void* caller) {
    void* const guarded = try_guard(bytes, alignment, caller);
    return guarded != nullptr ? guarded : pool_.allocate(bytes, alignment);
  }
  [[nodiscard]] sized_block allocate_at_least(std::size_t bytes, std::size_t alignment, const void* caller) {
    void* const guarded = try_guard(bytes, alignment, caller);
    return guarded != nullptr ? sized_block{guarded, bytes} : pool_.allocate_at_least(bytes, alignment);
  }

  void deallocate(void* block, std::size_t bytes, std::size_t alignment, const void* caller) noexcept {
    if (blocks_.contains(block)) [[unlikely]] {
      blocks_.deallocate(block, bytes, alignment, caller);
    } else {
      pool_.deallocate(block, bytes, alignment);
    }
  }

  /// See `Pool::find`.
  [[nodiscard]] std::optional<block_request> find(const void* block) {
    return blocks_.contains(block) ? blocks_.request_of(block, __builtin_return_address(0))
                                   : pool_.find(block);
  }

  void release() noexcept {
    blocks_.release(__builtin_return_address(0));
    pool_.release();
  }

  [[nodiscard]] pool_statistics statistics() const {
    pool_statistics statistics = pool_.statistics();
    statistics.guarded = blocks_.statistics();
    return statistics;
  }

 private:
  /// As there may be many pools: two mappings each, of the 65,530 that a process may have.
  static constexpr std::size_t most_blocks = 128;

  [[nodiscard]] static pool_options without_guard(pool_options options) noexcept {
    options.sample_guard = no_limit;
    return options;
  }
  [[nodiscard]] void* try_guard(std::size_t bytes, std::size_t alignment, const void* caller) noexcept {
    return turns_.picks() ? blocks_.allocate(bytes, alignment, caller) : nullptr;
  }

  sampler turns_;
  guarded_slots blocks_;
  Pool pool_;
};

}  // namespace cistern::detail
