#include <cistern/detail/base/give_back.hpp>
#include <cistern/detail/pool/effective_options.hpp>
#include <cistern/detail/pool/sampled_pool.hpp>
#include <cistern/detail/pool/watched_blocks.hpp>
#include <cistern/resource_or_new_delete.hpp>
#include <cistern/synchronized_pool_resource.hpp>

#include <bit>

namespace cistern {

using namespace detail;  // NOLINT(google-build-using-namespace): the pool is made of these parts

synchronized_pool_resource::synchronized_pool_resource(const pool_options& options,
                                                       std::pmr::memory_resource* upstream)
    : options_(effective_options(options)),
      account_(resource_or_new_delete(upstream), options_.max_bytes, gives_pages(upstream)),
      unpooled_(options_, account_),
      engine_(options_, account_, &unpooled_),
      ledger_("synchronized_pool_resource", this, options_, unpooled_),
      sampled_(sampled_pool<synchronized_pool_resource>::make(options_, account_.is_watched(), upstream)),
      pooled_limit_bytes_(
          options_.pass_through || sampled_ != nullptr ? 0 : options_.largest_required_pool_block) {}

synchronized_pool_resource::~synchronized_pool_resource() = default;

const std::type_info* const detail::synchronized_pool_type = &typeid(synchronized_pool_resource);

pool_options synchronized_pool_resource::from_standard(const std::pmr::pool_options& options) noexcept {
  return detail::from_standard(options);
}

void synchronized_pool_resource::release() noexcept {
  if (sampled_ != nullptr) {
    return sampled_->release();
  }
  ledger_.forget();
  engine_.release();
  unpooled_.release();
}

void* synchronized_pool_resource::do_allocate(std::size_t bytes, std::size_t alignment) {
  CISTERN_EXPECTS(std::has_single_bit(alignment), "alignment is not a power of two", alignment);
  if (checked_build && sampled_ != nullptr) {  // whose pool has a ledger of its own
    return sampled_->allocate(bytes, alignment, __builtin_return_address(0));
  }
  const std::size_t last = last_byte(bytes, alignment);
  if (last >= small_limit_bytes) [[unlikely]] {
    return allocate_not_small(bytes, alignment);
  }
  void* const block = allocate_cached(small_place_of(last), bytes, alignment);
  asan_unpoison(block, bytes);
  ledger_.hand_out(block, bytes, alignment);
  return block;
}

void synchronized_pool_resource::do_deallocate(void* block, std::size_t bytes, std::size_t alignment) {
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
  deallocate_cached(small_place_of(last), block, bytes, alignment);
}

// Apart, so that what these need costs the small ones nothing.
void* synchronized_pool_resource::allocate_not_small(std::size_t bytes, std::size_t alignment) {
  const std::size_t last = last_byte(bytes, alignment);
  void* block = last < largest_cached_block_bytes && alignment <= page_bytes
                    ? engine_.try_pop_large(large_class_of(last))
                    : nullptr;
  if (block == nullptr) {
    block = allocate_slow(bytes, alignment);
  }
  asan_unpoison(block, bytes);
  ledger_.hand_out(block, bytes, alignment);
  return block;
}

void synchronized_pool_resource::deallocate_not_small(void* block, std::size_t bytes,
                                                      std::size_t alignment) noexcept {
  const std::size_t last = last_byte(bytes, alignment);
  if (last >= largest_cached_block_bytes || alignment > page_bytes ||
      !engine_.try_push_large(large_class_of(last), block)) {
    deallocate_slow(block, bytes, alignment);
  }
}

sized_block synchronized_pool_resource::allocate_at_least(std::size_t bytes, std::size_t alignment) {
  if (sampled_ != nullptr) {
    return sampled_->allocate_at_least(bytes, alignment, __builtin_return_address(0));
  }
  void* block = synchronized_pool_resource::do_allocate(bytes, alignment);
  ledger_.allow_slack(block);
  const std::size_t granted = granted_block_bytes(bytes, alignment, options_);
  if (account_.is_watched()) {
    allow_access(block, granted);
  }
  return {block, granted};
}

// No cache yet, or none in the table, or nothing in it, or the request is none of a cache's.
void* synchronized_pool_resource::allocate_slow(std::size_t bytes, std::size_t alignment) {
  const std::size_t last = last_byte(bytes, alignment);
  if (last >= pooled_limit_bytes_ || alignment > page_bytes) {
    if (sampled_ != nullptr) {
      return sampled_->allocate(bytes, alignment, __builtin_return_address(0));
    }
    if (bytes == 0 && !options_.pass_through) {
      return synchronized_pool_resource::do_allocate(1, alignment);
    }
    engine_.honour_trims();
    return unpooled_.allocate(bytes, alignment, [&] { return engine_.make_room(); });
  }
  const unsigned index = class_of(last);
  void* block = engine_.try_allocate(index);
  if (block == nullptr) {
    account_.refuse(bytes, class_block_bytes(index));
  }
  if (account_.lists_are_shut()) [[unlikely]] {
    hand_out_watched(block, index, bytes);
  }
  return block;
}

void synchronized_pool_resource::deallocate_slow(void* block, std::size_t bytes,
                                                 std::size_t alignment) noexcept {
  const std::size_t last = last_byte(bytes, alignment);
  if (last < pooled_limit_bytes_ && alignment <= page_bytes) {
    engine_.deallocate(class_of(last), block);
  } else {
    deallocate_unpooled(block, bytes, alignment, __builtin_return_address(0));
  }
}

// Apart, so that what this needs costs the others nothing.
void synchronized_pool_resource::deallocate_unpooled(void* block, std::size_t bytes, std::size_t alignment,
                                                     const void* caller) noexcept {
  if (sampled_ != nullptr) {
    sampled_->deallocate(block, bytes, alignment, caller);
  } else if (bytes == 0 && !options_.pass_through) {
    synchronized_pool_resource::do_deallocate(block, 1, alignment);
  } else {
    engine_.honour_trims();
    unpooled_.deallocate(block, bytes, alignment);
  }
}

std::optional<block_request> synchronized_pool_resource::find(const void* block) const {
  if (sampled_ != nullptr) {
    return sampled_->find(block);
  }
  const std::optional<block_request> found = engine_.find(block);
  return found ? found : unpooled_.find(block);
}

std::size_t synchronized_pool_resource::trim(std::size_t keep_bytes) noexcept {
  if (sampled_ != nullptr) {
    return sampled_->unguarded().trim(keep_bytes);
  }
  return engine_.trim(keep_bytes);
}

pool_statistics synchronized_pool_resource::statistics() const {
  if (sampled_ != nullptr) {
    return sampled_->statistics();
  }
  pool_statistics statistics;
  engine_.add_to(statistics);
  unpooled_.add_to(statistics);
  account_.add_to(statistics);
  return statistics;
}

void synchronized_pool_resource::check_invariants() const noexcept {
  if (sampled_ != nullptr) {
    return sampled_->unguarded().check_invariants();
  }
  engine_.check_invariants();
}

}  // namespace cistern
