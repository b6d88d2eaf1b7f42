#include <cistern/adaptor/statistics_adaptor.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/give_back.hpp>
#include <cistern/detail/base/possible_size.hpp>

#include <algorithm>
#include <bit>

namespace cistern {
namespace {

void raise(std::int64_t& peak, std::int64_t value) noexcept {
  peak = std::max(peak, value);
}

}  // namespace

std::size_t request_size_class(std::size_t bytes) noexcept {
  return bytes == 0 ? 0 : static_cast<std::size_t>(std::bit_width(bytes - 1)) + 1;
}

std::size_t request_size_class_limit_bytes(std::size_t size_class) noexcept {
  if (size_class == 0) return 0;
  return size_class >= request_size_classes - 1 ? SIZE_MAX : std::size_t{1} << (size_class - 1);
}

statistics_adaptor::~statistics_adaptor() {
  CISTERN_EXPECTS(youngest_ == nullptr, "statistics_adaptor destroyed before its scopes", 0);
}

void statistics_adaptor::count_allocation(std::size_t bytes) noexcept {
  const detail::scoped_lock guard(lock_);
  ++totals_.allocations;
  totals_.allocated_bytes += bytes;
  ++totals_.live_blocks;
  totals_.live_bytes += static_cast<std::int64_t>(bytes);
  ++totals_.allocations_by_size[request_size_class(bytes)];
  raise(totals_.peak_blocks, totals_.live_blocks);
  raise(totals_.peak_bytes, totals_.live_bytes);
  if (youngest_ != nullptr) {
    raise(youngest_->peak_blocks_, totals_.live_blocks);
    raise(youngest_->peak_bytes_, totals_.live_bytes);
  }
}

void* statistics_adaptor::do_allocate(std::size_t bytes, std::size_t alignment) {
  void* block = nullptr;
  try {
    detail::expect_possible_size(bytes);
    block = upstream_->allocate(bytes, alignment);
  } catch (...) {
    const detail::scoped_lock guard(lock_);
    ++totals_.failures;
    throw;
  }
  count_allocation(bytes);
  return block;
}

void statistics_adaptor::do_deallocate(void* block, std::size_t bytes, std::size_t alignment) {
  {
    const detail::scoped_lock guard(lock_);
    ++totals_.deallocations;
    totals_.deallocated_bytes += bytes;
    --totals_.live_blocks;
    totals_.live_bytes -= static_cast<std::int64_t>(bytes);
  }
  detail::give_back(*upstream_, block, bytes, alignment);
}

allocation_statistics statistics_adaptor::statistics() const {
  const detail::scoped_lock guard(lock_);
  return totals_;
}

void statistics_adaptor::reset_peak() noexcept {
  const detail::scoped_lock guard(lock_);
  totals_.peak_blocks = std::max<std::int64_t>(totals_.live_blocks, 0);
  totals_.peak_bytes = std::max<std::int64_t>(totals_.live_bytes, 0);
}

statistics_adaptor::scope::scope(statistics_adaptor& adaptor) noexcept : adaptor_(adaptor) {
  const detail::scoped_lock guard(adaptor_.lock_);
  at_start_ = adaptor_.totals_;
  peak_blocks_ = at_start_.live_blocks;
  peak_bytes_ = at_start_.live_bytes;
  older_ = adaptor_.youngest_;
  if (older_ != nullptr) older_->younger_ = this;
  adaptor_.youngest_ = this;
}

statistics_adaptor::scope::~scope() {
  const detail::scoped_lock guard(adaptor_.lock_);
  if (older_ != nullptr) {
    raise(older_->peak_blocks_, peak_blocks_);
    raise(older_->peak_bytes_, peak_bytes_);
    older_->younger_ = younger_;
  }
  (younger_ != nullptr ? younger_->older_ : adaptor_.youngest_) = older_;
}

allocation_statistics statistics_adaptor::scope::statistics() const {
  const detail::scoped_lock guard(adaptor_.lock_);
  allocation_statistics now = adaptor_.totals_;
  now.allocations -= at_start_.allocations;
  now.deallocations -= at_start_.deallocations;
  now.failures -= at_start_.failures;
  now.allocated_bytes -= at_start_.allocated_bytes;
  now.deallocated_bytes -= at_start_.deallocated_bytes;
  now.live_blocks -= at_start_.live_blocks;
  now.live_bytes -= at_start_.live_bytes;
  now.peak_blocks = peak_blocks_;
  now.peak_bytes = peak_bytes_;
  for (const scope* each = younger_; each != nullptr; each = each->younger_) {
    raise(now.peak_blocks, each->peak_blocks_);
    raise(now.peak_bytes, each->peak_bytes_);
  }
  now.peak_blocks -= at_start_.live_blocks;
  now.peak_bytes -= at_start_.live_bytes;
  for (std::size_t i = 0; i < request_size_classes; ++i) {
    now.allocations_by_size[i] -= at_start_.allocations_by_size[i];
  }
  return now;
}

}  // namespace cistern
