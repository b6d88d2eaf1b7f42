#include <cistern/bad_allocation.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/pool/effective_options.hpp>
#include <cistern/detail/pool/idle_budget.hpp>
#include <cistern/resource_or_new_delete.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <bit>
#include <cstdint>
#include <cstring>

namespace cistern {

using namespace detail;  // NOLINT(google-build-using-namespace): the pool is made of these parts

/// The pool's buckets as `idle_budget` sees them.
struct unsynchronized_pool_resource::budget_view {
  unsynchronized_pool_resource& pool;

  template <class F>
  auto visit(unsigned index, F f) {
    bucket& b = pool.buckets_[index];
    struct set_limit {  // after whatever `f` did to the grant
      bucket& b;
      std::size_t block_bytes;
      bool every_free_is_slow;
      ~set_limit() { b.set_limit(block_bytes, every_free_is_slow); }
    } const on_return{b, class_block_bytes(index), pool.sees_every_free()};
    return f(b);
  }

  [[nodiscard]] bool frees_are_in_order(unsigned index) const noexcept {
    return are_in_order(pool.buckets_[index].head);
  }

  void trim(unsigned index, std::size_t& surplus_bytes) {
    pool.buckets_[index].trim(pool.shape(index), pool.account_, surplus_bytes);
  }

  [[nodiscard]] static std::size_t blocks_out_of_reach(unsigned /*index*/) noexcept { return 0; }
  void note_over_budget() const noexcept { pool.over_budget_ = true; }
};

unsynchronized_pool_resource::unsynchronized_pool_resource(const pool_options& options,
                                                           std::pmr::memory_resource* upstream)
    : options_(effective_options(options)), account_(resource_or_new_delete(upstream), options_.max_bytes) {}

unsynchronized_pool_resource::~unsynchronized_pool_resource() {
  release();
}

pool_options unsynchronized_pool_resource::from_standard(const std::pmr::pool_options& options) noexcept {
  return detail::from_standard(options);
}

void unsynchronized_pool_resource::release() noexcept {
  for (unsigned i = 0; i < class_count; ++i) {
    buckets_[i].release(shape(i), account_);
  }
  oversize_.release(account_);
  passed_.release(account_);
}

bool unsynchronized_pool_resource::is_pooled(std::size_t last, std::size_t alignment) const noexcept {
  return served_by_bucket(last, alignment, options_);
}

bucket_shape unsynchronized_pool_resource::shape(unsigned index) const noexcept {
  return {index, class_block_bytes(index), options_.max_blocks_per_chunk};
}

void* unsynchronized_pool_resource::do_allocate(std::size_t bytes, std::size_t alignment) {
  CISTERN_EXPECTS(std::has_single_bit(alignment), "alignment is not a power of two", alignment);
  const std::size_t last = last_byte(bytes, alignment);
  void* block = nullptr;
  if (last < small_limit_bytes) [[likely]] {
    block = allocate_from(buckets_[small_class_of(last)], bytes, alignment);
  } else if (last < largest_block_bytes && alignment <= page_bytes) {
    block = allocate_from(buckets_[large_class_of(last)], bytes, alignment);
  } else {
    block = allocate_slow(bytes, alignment);
  }
  asan_unpoison(block, bytes);
  return block;
}

void unsynchronized_pool_resource::do_deallocate(void* block, std::size_t bytes, std::size_t alignment) {
  CISTERN_EXPECTS(std::has_single_bit(alignment), "alignment is not a power of two", alignment);
  const std::size_t last = last_byte(bytes, alignment);
  if (last < small_limit_bytes) [[likely]] {
    const unsigned index = small_class_of(last);
    deallocate_to(buckets_[index], class_block_bytes(index), block, bytes, alignment);
  } else if (last < largest_block_bytes && alignment <= page_bytes) {
    const unsigned index = large_class_of(last);
    deallocate_to(buckets_[index], class_block_bytes(index), block, bytes, alignment);
  } else {
    deallocate_slow(block, bytes, alignment);
  }
}

sized_block unsynchronized_pool_resource::allocate_at_least(std::size_t bytes, std::size_t alignment) {
  void* block = unsynchronized_pool_resource::do_allocate(bytes, alignment);
  const std::size_t granted = granted_block_bytes(bytes, alignment, options_);
  asan_unpoison(block, granted);
  return {block, granted};
}

// The bucket's list is empty, or the request is none of a bucket's.
void* unsynchronized_pool_resource::allocate_slow(std::size_t bytes, std::size_t alignment) {
  const std::size_t last = last_byte(bytes, alignment);
  if (!is_pooled(last, alignment)) {
    return allocate_unpooled(bytes, alignment);
  }
  const unsigned index = class_of(last);
  bucket& b = buckets_[index];
  const std::size_t block_bytes = class_block_bytes(index);
  void* block = b.carve(block_bytes);
  if (block == nullptr) {
    add_chunk(index);
    block = b.carve(block_bytes);
  }
  ++b.misses;
  b.set_limit(block_bytes, sees_every_free());
  return block;
}

void unsynchronized_pool_resource::add_chunk(unsigned index) {
  bucket& b = buckets_[index];
  if (over_budget_) {
    over_budget_ = false;
    budget_view view{*this};
    idle_budget(view, options_.max_idle_bytes, options_.max_idle_blocks_per_bucket).look_again();
  }
  if (b.add_chunk(shape(index), account_)) {
    return;
  }
  trim();
  if (!b.add_chunk(shape(index), account_)) {
    throw bad_allocation("max_bytes reached", class_block_bytes(index), account_.max_bytes(),
                         account_.bytes());
  }
}

void* unsynchronized_pool_resource::allocate_unpooled(std::size_t bytes, std::size_t alignment) {
  if (bytes == 0 && !options_.pass_through) {
    return unsynchronized_pool_resource::do_allocate(1, alignment);
  }
  if (bytes > PTRDIFF_MAX) {
    throw bad_allocation("request is larger than any object can be", bytes, PTRDIFF_MAX, account_.bytes());
  }
  const auto try_allocate = [&] {
    return options_.pass_through ? passed_.try_allocate(bytes, alignment, account_)
                                 : oversize_.try_allocate(bytes, alignment, account_);
  };
  void* block = try_allocate();
  if (block == nullptr) {
    trim();
    block = try_allocate();
  }
  if (block == nullptr) {
    throw bad_allocation("max_bytes reached", bytes, account_.max_bytes(), account_.bytes());
  }
  return block;
}

// The bucket's grant is used up, or every free of this pool must be seen, or the block is none of a bucket's.
void unsynchronized_pool_resource::deallocate_slow(void* block, std::size_t bytes,
                                                   std::size_t alignment) noexcept {
  const std::size_t last = last_byte(bytes, alignment);
  if (!is_pooled(last, alignment)) {
    deallocate_unpooled(block, bytes, alignment);
    return;
  }
  const unsigned index = class_of(last);
  if (options_.zero_on_free) {
    asan_unpoison(block, class_block_bytes(index));
    std::memset(block, 0, class_block_bytes(index));
  }
  keep(index, block);
}

void unsynchronized_pool_resource::deallocate_unpooled(void* block, std::size_t bytes,
                                                       std::size_t alignment) noexcept {
  if (bytes == 0 && !options_.pass_through) {
    unsynchronized_pool_resource::do_deallocate(block, 1, alignment);
    return;
  }
  if (options_.pass_through) {
    passed_.deallocate(block, bytes, alignment, options_.zero_on_free, account_);
    return;
  }
  if (options_.zero_on_free) {
    std::memset(block, 0, granted_block_bytes(bytes, alignment, options_));  // all of `allocate_at_least`
  }
  oversize_.deallocate(block, bytes, alignment, account_);
}

void unsynchronized_pool_resource::keep(unsigned index, void* block) noexcept {
  bucket& b = buckets_[index];
  const std::size_t block_bytes = class_block_bytes(index);
  budget_view view{*this};
  idle_budget budget(view, options_.max_idle_bytes, options_.max_idle_blocks_per_bucket);
  if (!comes_singly(block_bytes)) {
    b.push(block, block_bytes);
    if (b.depth() > b.granted) {
      budget.settle(index);
    }
    if (b.is_worth_rewinding(block_bytes)) {
      b.rewind();
      b.set_limit(block_bytes, sees_every_free());
    }
  } else if (b.depth() < b.granted || budget.make_room_for_single(index)) {
    b.push(block, block_bytes);
  } else {
    b.discard(block, shape(index), account_);
  }
}

std::size_t unsynchronized_pool_resource::trim(std::size_t keep_bytes) noexcept {
  std::size_t idle_bytes = 0;
  for (unsigned i = 0; i < class_count; ++i) {
    idle_bytes += buckets_[i].depth() * class_block_bytes(i) + buckets_[i].uncarved_bytes();
  }
  std::size_t surplus_bytes = idle_bytes - std::min(idle_bytes, keep_bytes);
  std::size_t given_back_bytes = 0;
  for (unsigned i = class_count; i-- > 0 && surplus_bytes > 0;) {
    given_back_bytes += buckets_[i].trim(shape(i), account_, surplus_bytes);
    buckets_[i].set_limit(class_block_bytes(i), sees_every_free());
  }
  return given_back_bytes;
}

pool_statistics unsynchronized_pool_resource::statistics() const {
  pool_statistics statistics;
  for (unsigned i = 0; i < class_count; ++i) {
    buckets_[i].add_to(statistics, shape(i), options_.count_operations, 0, buckets_[i].hits());
  }
  statistics.oversize = options_.pass_through ? passed_.statistics() : oversize_.statistics();
  statistics.in_use_bytes += statistics.oversize.live_bytes;
  statistics.overhead_bytes += oversize_.overhead_bytes();
  account_.add_to(statistics);
  return statistics;
}

void unsynchronized_pool_resource::check_invariants() const noexcept {
  for (unsigned i = 0; i < class_count; ++i) {
    buckets_[i].check_invariants(shape(i), 0);
  }
}

}  // namespace cistern
