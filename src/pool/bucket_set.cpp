#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/pool/bucket_set.hpp>
#include <cistern/detail/pool/bucket_walks.hpp>
#include <cistern/detail/pool/idle_budget.hpp>

#include <cstring>
#include <new>

namespace cistern::detail {

void* bucket_set::try_allocate(unsigned index) {
  bucket& b = buckets_[index];
  const std::size_t block_bytes = class_block_bytes(index);
  void* block = b.carve(block_bytes);
  if (block == nullptr) {
    if (!add_chunk(index)) {
      return nullptr;
    }
    block = b.carve(block_bytes);
  }
  ++b.misses;
  set_limit(index);
  return block;
}

bool bucket_set::add_chunk(unsigned index) {
  if (over_budget_) {
    over_budget_ = false;
    idle_budget(*this, options_).look_again();
  }
  bucket& b = buckets_[index];
  try {
    if (b.add_chunk(shape(index), account_)) {
      return true;
    }
    if (trim(0) == 0) {
      return false;
    }
  } catch (const std::bad_alloc&) {
    if (trim(0) == 0) {  // else what lay idle may be what upstream missed
      throw;
    }
  }
  return b.add_chunk(shape(index), account_);
}

void bucket_set::deallocate(unsigned index, void* block) noexcept {
  if (options_.zero_on_free) {
    asan_unpoison(block, class_block_bytes(index));
    std::memset(block, 0, class_block_bytes(index));
  }
  keep(index, block);
}

void bucket_set::keep(unsigned index, void* block) noexcept {
  bucket& b = buckets_[index];
  const std::size_t block_bytes = class_block_bytes(index);
  idle_budget budget(*this, options_);
  if (!comes_singly(block_bytes)) {
    b.push(block, block_bytes);
    if (b.depth() > b.granted) {
      budget.settle(index);
    }
    if (b.is_worth_rewinding(block_bytes)) {
      b.rewind(block_bytes);
      set_limit(index);
    }
  } else if (b.depth() < b.granted || budget.make_room_for_single(index)) {
    b.push(block, block_bytes);
  } else {
    b.discard(block, shape(index), account_);
  }
}

std::size_t bucket_set::trim(unsigned index, std::size_t& surplus_bytes) noexcept {
  const std::size_t given_back_bytes = buckets_[index].trim(shape(index), account_, surplus_bytes);
  set_limit(index);
  return given_back_bytes;
}

std::size_t bucket_set::trim(std::size_t keep_bytes) noexcept {
  return trim_to(*this, keep_bytes);
}

void bucket_set::release() noexcept {
  for (unsigned i = 0; i < class_count; ++i) {
    buckets_[i].release(shape(i), account_);
  }
}

void bucket_set::add_to(pool_statistics& statistics) const {
  for (unsigned i = 0; i < class_count; ++i) {
    const bucket& b = buckets_[i];
    b.add_to(statistics, shape(i), options_.count_operations, 0, b.hits());
  }
}

void bucket_set::check_invariants() const noexcept {
  for (unsigned i = 0; i < class_count; ++i) {
    buckets_[i].check_invariants(shape(i), 0);
  }
}

}  // namespace cistern::detail
