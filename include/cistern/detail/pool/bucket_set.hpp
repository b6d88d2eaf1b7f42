// bucket_set: the buckets of a pool for one thread, under one budget of idle memory.
#pragma once

#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/bucket.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/pool_statistics.hpp>

#include <array>
#include <cstddef>

namespace cistern::detail {

/// Not thread-safe. `depot` is its counterpart for many threads.
class bucket_set {
 public:
  /// `options` in effect; they and `account` must outlive this.
  bucket_set(const pool_options& options, upstream_account& account) noexcept
      : options_(options), account_(account) {}
  bucket_set(const bucket_set&) = delete;
  bucket_set& operator=(const bucket_set&) = delete;
  /// Calls `release`.
  ~bucket_set() { release(); }

  /// For the fast paths.
  [[nodiscard]] bucket& operator[](unsigned index) noexcept { return buckets_[index]; }

  /// A block from a bucket whose list is empty; null where `max_bytes` refuses. Passes on what upstream
  /// throws.
  [[nodiscard]] void* try_allocate(unsigned index);
  /// Takes a block back into a bucket whose limit is reached.
  void deallocate(unsigned index, void* block) noexcept;

  /// Gives chunks with no live block back until at most `keep_bytes` are idle. Returns the bytes given back.
  std::size_t trim(std::size_t keep_bytes) noexcept;
  /// Gives every chunk back.
  void release() noexcept;
  void add_to(pool_statistics& statistics) const;
  void check_invariants() const noexcept;

  // For `idle_budget` and `bucket_walks`.
  template <class F>
  auto visit(unsigned index, F f) {
    bucket& b = buckets_[index];
    struct limit_setter {  // after whatever `f` did to the grant
      bucket_set& set;
      unsigned index;
      ~limit_setter() { set.set_limit(index); }
    } const on_return{*this, index};
    return f(b);
  }
  std::size_t trim(unsigned index, std::size_t& surplus_bytes) noexcept;
  [[nodiscard]] bool frees_are_in_order(unsigned index) const noexcept {
    return are_in_order(buckets_[index].head);
  }
  [[nodiscard]] static std::size_t blocks_out_of_reach(unsigned /*index*/) noexcept { return 0; }
  void note_over_budget() noexcept { over_budget_ = true; }

 private:
  [[nodiscard]] bucket_shape shape(unsigned index) const noexcept {
    return {index, class_block_bytes(index), options_.max_blocks_per_chunk};
  }
  void set_limit(unsigned index) noexcept {
    buckets_[index].set_limit(class_block_bytes(index), options_.zero_on_free || options_.pass_through);
  }
  [[nodiscard]] bool add_chunk(unsigned index);
  void keep(unsigned index, void* block) noexcept;

  std::array<bucket, class_count> buckets_{};
  const pool_options& options_;
  upstream_account& account_;
  bool over_budget_ = false;  ///< More is idle than may be, for want of chunks known to be free.
};

}  // namespace cistern::detail
