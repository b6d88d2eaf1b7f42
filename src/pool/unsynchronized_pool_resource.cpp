#include <cistern/detail/base/give_back.hpp>
#include <cistern/detail/pool/effective_options.hpp>
#include <cistern/detail/pool/sampled_pool.hpp>
#include <cistern/detail/pool/watched_blocks.hpp>
#include <cistern/resource_or_new_delete.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <bit>

namespace cistern {

using namespace detail;  // NOLINT(google-build-using-namespace): the pool is made of these parts

unsynchronized_pool_resource::unsynchronized_pool_resource(const pool_options& options,
                                                           std::pmr::memory_resource* upstream)
    : options_(effective_options(options)),
      account_(resource_or_new_delete(upstream), options_.max_bytes, gives_pages(upstream)),
      unpooled_(options_, account_),
      buckets_(options_, account_),
      ledger_("unsynchronized_pool_resource", this, options_, unpooled_),
      sampled_(sampled_pool<unsynchronized_pool_resource>::make(options_, account_.is_watched(), upstream)),
      pooled_limit_bytes_(
          options_.pass_through || sampled_ != nullptr ? 0 : options_.largest_required_pool_block) {}

unsynchronized_pool_resource::~unsynchronized_pool_resource() = default;

const std::type_info* const detail::unsynchronized_pool_type = &typeid(unsynchronized_pool_resource);

pool_options unsynchronized_pool_resource::from_standard(const std::pmr::pool_options& options) noexcept {
  return detail::from_standard(options);
}

void unsynchronized_pool_resource::release() noexcept {
  if (sampled_ != nullptr) {
    return sampled_->release();
  }
  ledger_.forget();
  buckets_.release();
  unpooled_.release();
}

void* unsynchronized_pool_resource::do_allocate(std::size_t bytes, std::size_t alignment) {
  CISTERN_EXPECTS(std::has_single_bit(alignment), "alignment is not a power of two", alignment);
  if (checked_build && sampled_ != nullptr) {  // whose pool has a ledger of its own
    return sampled_->allocate(bytes, alignment, __builtin_return_address(0));
  }
  const std::size_t last = last_byte(bytes, alignment);
  if (last >= small_limit_bytes) [[unlikely]] {
    return allocate_not_small(bytes, alignment);
  }
  void* const block = allocate_from(small_place_of(last), bytes, alignment);
  asan_unpoison(block, bytes);
  ledger_.hand_out(block, bytes, alignment);
  return block;
}

void unsynchronized_pool_resource::do_deallocate(void* block, std::size_t bytes, std::size_t alignment) {
  CISTERN_EXPECTS(std::has_single_bit(alignment), "alignment is not a power of two", alignment);
  if (checked_build && sampled_ != nullptr) {
    return sampled_->deallocate(block, bytes, alignment, __builtin_return_address(0));
  }
  if (!ledger_.take_back(block, bytes, alignment)) {
    return;
  }
  const std::size_t last = last_byte(bytes, alignment);
  if (last >= small_limit_bytes) [[unlikely]] {
    return deallocate_not_small(block, bytes, alignment);
  }
  deallocate_to(small_place_of(last), block, bytes, alignment);
}

// Apart, so that what these need costs the small ones nothing.
void* unsynchronized_pool_resource::allocate_not_small(std::size_t bytes, std::size_t alignment) {
  const std::size_t last = last_byte(bytes, alignment);
  void* const block = last < largest_cached_block_bytes && alignment <= page_bytes
                          ? allocate_from(place_of(large_class_of(last)), bytes, alignment)
                          : allocate_slow(bytes, alignment);
  asan_unpoison(block, bytes);
  ledger_.hand_out(block, bytes, alignment);
  return block;
}

void unsynchronized_pool_resource::deallocate_not_small(void* block, std::size_t bytes,
                                                        std::size_t alignment) noexcept {
  const std::size_t last = last_byte(bytes, alignment);
  if (last < largest_cached_block_bytes && alignment <= page_bytes) {
    deallocate_to(place_of(large_class_of(last)), block, bytes, alignment);
  } else {
    deallocate_slow(block, bytes, alignment);
  }
}

sized_block unsynchronized_pool_resource::allocate_at_least(std::size_t bytes, std::size_t alignment) {
  if (sampled_ != nullptr) {
    return sampled_->allocate_at_least(bytes, alignment, __builtin_return_address(0));
  }
  void* block = unsynchronized_pool_resource::do_allocate(bytes, alignment);
  ledger_.allow_slack(block);
  const std::size_t granted = granted_block_bytes(bytes, alignment, options_);
  if (account_.is_watched()) {
    allow_access(block, granted);
  }
  return {block, granted};
}

// The bucket's list is empty, or the request is none of a bucket's.
void* unsynchronized_pool_resource::allocate_slow(std::size_t bytes, std::size_t alignment) {
  const std::size_t last = last_byte(bytes, alignment);
  if (last >= pooled_limit_bytes_ || alignment > page_bytes) {
    if (sampled_ != nullptr) {
      return sampled_->allocate(bytes, alignment, __builtin_return_address(0));
    }
    if (bytes == 0 && !options_.pass_through) {
      return unsynchronized_pool_resource::do_allocate(1, alignment);
    }
    return unpooled_.allocate(bytes, alignment, [&] { return buckets_.make_room(); });
  }
  const unsigned index = class_of(last);
  void* block = buckets_.try_allocate(index);
  if (block == nullptr) {
    account_.refuse(bytes, class_block_bytes(index));
  }
  if (account_.lists_are_shut()) [[unlikely]] {
    hand_out_watched(block, index, bytes);
  }
  return block;
}

// The bucket's limit is reached, or the block is none of a bucket's.
void unsynchronized_pool_resource::deallocate_slow(void* block, std::size_t bytes,
                                                   std::size_t alignment) noexcept {
  const std::size_t last = last_byte(bytes, alignment);
  if (last < pooled_limit_bytes_ && alignment <= page_bytes) {
    buckets_.deallocate(class_of(last), block);
  } else {
    deallocate_unpooled(block, bytes, alignment, __builtin_return_address(0));
  }
}

// Apart, so that what this needs costs the others nothing.
void unsynchronized_pool_resource::deallocate_unpooled(void* block, std::size_t bytes, std::size_t alignment,
                                                       const void* caller) noexcept {
  if (sampled_ != nullptr) {
    sampled_->deallocate(block, bytes, alignment, caller);
  } else if (bytes == 0 && !options_.pass_through) {
    unsynchronized_pool_resource::do_deallocate(block, 1, alignment);
  } else {
    unpooled_.deallocate(block, bytes, alignment);
  }
}

std::size_t unsynchronized_pool_resource::trim(std::size_t keep_bytes) noexcept {
  if (sampled_ != nullptr) {
    return sampled_->unguarded().trim(keep_bytes);
  }
  return buckets_.trim(keep_bytes);
}

pool_statistics unsynchronized_pool_resource::statistics() const {
  if (sampled_ != nullptr) {
    return sampled_->statistics();
  }
  pool_statistics statistics;
  buckets_.add_to(statistics);
  unpooled_.add_to(statistics);
  account_.add_to(statistics);
  return statistics;
}

void unsynchronized_pool_resource::check_invariants() const noexcept {
  if (sampled_ != nullptr) {
    return sampled_->unguarded().check_invariants();
  }
  buckets_.check_invariants();
}

}  // namespace cistern
