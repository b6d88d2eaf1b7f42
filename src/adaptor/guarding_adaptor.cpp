#include <cistern/adaptor/guarding_adaptor.hpp>
#include <cistern/bad_allocation.hpp>
#include <cistern/detail/base/asan_tail.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/give_back.hpp>
#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/base/thread_id.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <iterator>
#include <new>
#include <utility>

namespace cistern {
namespace {

constexpr std::size_t least_alignment = 16;  // So that a front canary ends where AddressSanitizer can see it.
constexpr std::size_t most_canary_bytes = std::size_t{64} << 10;
constexpr auto poison = std::byte{0xDD};

[[nodiscard]] constexpr std::size_t rounded_up(std::size_t bytes, std::size_t multiple) noexcept {
  return (bytes + (multiple - 1)) & ~(multiple - 1);
}

/// What canaries of a block hold, again and again. Of its own for each address, so that a copy of a
/// neighbour's is found, and without zeros, which are what programs write behind blocks most.
class canary_pattern {
 public:
  explicit canary_pattern(const void* block) noexcept {
    std::uint64_t mixed = reinterpret_cast<std::uintptr_t>(block) * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03;
    for (std::byte& each : bytes_) {
      each = static_cast<std::byte>((mixed >> 56) | 0x80);
      mixed <<= 8;
    }
  }
  [[nodiscard]] std::byte operator()(std::size_t position) const noexcept { return bytes_[position % 8]; }

 private:
  std::array<std::byte, 8> bytes_{};
};

struct poison_pattern {
  [[nodiscard]] std::byte operator()(std::size_t) const noexcept { return poison; }
};

template <class Pattern>
void fill(std::byte* from, std::size_t bytes, const Pattern& pattern) noexcept {
  for (std::size_t i = 0; i < bytes; ++i) from[i] = pattern(i);
}

struct damage {
  std::size_t changed_bytes = 0;
  std::size_t first = 0;  // Position of the first changed byte.
  std::byte expected{};
  std::byte found{};
};

/// What differs from the pattern. The memory must not be poisoned for AddressSanitizer.
template <class Pattern>
[[nodiscard]] damage compare(const std::byte* from, std::size_t bytes, const Pattern& pattern) noexcept {
  damage seen;
  for (std::size_t i = 0; i < bytes; ++i) seen.changed_bytes += from[i] != pattern(i) ? 1 : 0;
  if (seen.changed_bytes == 0) return seen;
  while (from[seen.first] == pattern(seen.first)) ++seen.first;
  seen.expected = pattern(seen.first);
  seen.found = from[seen.first];
  return seen;
}

/// Compares memory that is poisoned for everybody else.
template <class Pattern>
[[nodiscard]] damage compare_poisoned(const std::byte* from, std::size_t bytes,
                                      const Pattern& pattern) noexcept {
  detail::unpoison_tail(from, bytes);
  const damage seen = compare(from, bytes, pattern);
  detail::poison_tail(from, bytes);
  return seen;
}

[[nodiscard]] guard_report report_of(guard_fault fault, const guarded_block& block) noexcept {
  guard_report made;
  made.fault = fault;
  made.block = block;
  made.thread = detail::thread_id();
  return made;
}

/// `offset`: of the compared bytes, from the block's start.
[[nodiscard]] guard_report report_of(guard_fault fault, const guarded_block& block, const damage& seen,
                                     std::ptrdiff_t offset) noexcept {
  guard_report made = report_of(fault, block);
  made.offset = offset + static_cast<std::ptrdiff_t>(seen.first);
  made.changed_bytes = seen.changed_bytes;
  made.expected = seen.expected;
  made.found = seen.found;
  return made;
}

}  // namespace

/// What one call found, to be reported when its lock is gone.
class guarding_adaptor::fault_list {
 public:
  /// What any one block can have: wrong size or alignment, a damaged canary on each side.
  void add(const guard_report& fault) noexcept {
    if (count_ < faults_.size()) faults_[count_++] = fault;
  }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  [[nodiscard]] const guard_report* begin() const noexcept { return faults_.data(); }
  [[nodiscard]] const guard_report* end() const noexcept { return faults_.data() + count_; }

 private:
  std::array<guard_report, 4> faults_;
  std::size_t count_ = 0;
};

guarding_adaptor::guarding_adaptor(guarding_options options, std::pmr::memory_resource* upstream)
    : upstream_(resource_or_new_delete(upstream)),
      canary_bytes_(rounded_up(std::clamp<std::size_t>(options.canary_bytes, 8, most_canary_bytes), 8)),
      quarantine_limit_bytes_(options.quarantine_bytes),
      on_fault_(std::move(options.on_fault)),
      records_(resource_or_new_delete(options.records)) {
  CISTERN_EXPECTS(on_fault_ != nullptr, "guarding_adaptor needs a handler", 0);
}

guarding_adaptor::~guarding_adaptor() {
  flush_quarantine();
  guard_report leak = report_of(guard_fault::leak, {});
  for (auto& [ptr, one] : records_) {
    fault_list faults;
    find_canary_damage(one, faults);
    report_all(faults);
    ++leak.leaked_blocks;
    leak.leaked_bytes += one.block.bytes;
    if (leak.block.ptr == nullptr || one.block.sequence < leak.block.sequence) leak.block = one.block;
  }
  if (leak.leaked_blocks != 0) report(leak);
  while (!records_.empty()) forget_and_free(records_.begin()->second);
  const detail::no_cancellation until_the_table_is_back;
  records_ = decltype(records_)(records_.get_allocator());
}

// --- Layout ---

std::size_t guarding_adaptor::front_bytes_for(std::size_t alignment) const noexcept {
  return rounded_up(canary_bytes_, std::max(alignment, least_alignment));
}

guarding_adaptor::extent guarding_adaptor::extent_of(const guarded_block& block) const noexcept {
  const std::size_t front_bytes = front_bytes_for(block.alignment);
  auto* const start = static_cast<std::byte*>(const_cast<void*>(block.ptr));
  return {start - front_bytes, front_bytes, front_bytes + block.bytes + canary_bytes_,
          std::max(block.alignment, least_alignment)};
}

// --- Allocation ---

void* guarding_adaptor::allocate_upstream(std::size_t bytes, std::size_t alignment) {
  try {
    return upstream_->allocate(bytes, alignment);
  } catch (const std::bad_alloc&) {
    if (quarantined_bytes() == 0) throw;
  }
  flush_quarantine();
  return upstream_->allocate(bytes, alignment);
}

/// Writes the canaries, and tells AddressSanitizer that all around the block is nobody's.
void guarding_adaptor::watch(std::byte* base, std::size_t whole_bytes, std::byte* start,
                             std::size_t bytes) const noexcept {
  const canary_pattern pattern(start);
  fill(start - canary_bytes_, canary_bytes_, pattern);
  fill(start + bytes, canary_bytes_, pattern);
  detail::poison_tail(base, whole_bytes);
  detail::unpoison_tail(start, bytes);
}

void guarding_adaptor::add_record(const guarded_block& block) {
  const detail::no_cancellation until_it_is_whole;  // a table that grows gives memory back on the way
  const detail::scoped_lock guard(lock_);
  const auto [made, is_new] = records_.try_emplace(block.ptr);
  CISTERN_EXPECTS(is_new, "guarding_adaptor: upstream gave out a block that is in use", block.bytes);
  made->second = {};
  made->second.block = block;
  made->second.block.sequence = ++sequence_;
  ++live_blocks_;
  live_bytes_ += block.bytes;
}

void* guarding_adaptor::do_allocate(std::size_t bytes, std::size_t alignment) {
  if (!std::has_single_bit(alignment)) {
    guard_report fault = report_of(guard_fault::bad_alignment, {});
    fault.stated_bytes = bytes;
    fault.stated_alignment = alignment;
    report(fault);
    throw bad_allocation("guarding_adaptor: bad alignment", bytes, alignment, 0);
  }
  const std::size_t front_bytes = front_bytes_for(alignment);
  const std::size_t most_bytes = PTRDIFF_MAX - front_bytes - canary_bytes_;
  if (front_bytes < alignment || front_bytes > PTRDIFF_MAX - canary_bytes_ || bytes > most_bytes) {
    throw bad_allocation("guarding_adaptor: no room for canaries", bytes, most_bytes, outstanding_bytes());
  }
  const std::size_t whole_bytes = front_bytes + bytes + canary_bytes_;
  const std::size_t whole_alignment = std::max(alignment, least_alignment);
  auto* const base = static_cast<std::byte*>(allocate_upstream(whole_bytes, whole_alignment));
  std::byte* const start = base + front_bytes;
  watch(base, whole_bytes, start, bytes);
  try {
    add_record(
        {.ptr = start, .bytes = bytes, .alignment = alignment, .allocating_thread = detail::thread_id()});
  } catch (...) {
    detail::unpoison_tail(base, whole_bytes);
    detail::give_back(*upstream_, base, whole_bytes, whole_alignment);
    throw;
  }
  return start;
}

// --- Looking for damage ---

void guarding_adaptor::find_canary_damage(record& one, fault_list& faults) const noexcept {
  if (one.reported) return;
  auto* const start = extent_of(one.block).base + extent_of(one.block).front_bytes;
  const canary_pattern pattern(start);
  const auto look = [&](guard_fault fault, std::byte* canary) {
    const damage seen = compare_poisoned(canary, canary_bytes_, pattern);
    if (seen.changed_bytes == 0) return;
    one.reported = true;
    faults.add(report_of(fault, one.block, seen, canary - start));
  };
  look(guard_fault::underrun, start - canary_bytes_);
  look(guard_fault::overrun, start + one.block.bytes);
}

void guarding_adaptor::find_poison_damage(record& one, fault_list& faults) const noexcept {
  if (one.reported) return;
  find_canary_damage(one, faults);
  const auto* const start = static_cast<const std::byte*>(one.block.ptr);
  const damage seen = compare_poisoned(start, one.block.bytes, poison_pattern{});
  if (seen.changed_bytes == 0) return;
  one.reported = true;
  faults.add(report_of(guard_fault::use_after_free, one.block, seen, 0));
}

std::size_t guarding_adaptor::check() {
  std::vector<guard_report> found;
  std::size_t damaged_blocks = 0;
  {
    const detail::scoped_lock guard(lock_);
    for (auto& [ptr, one] : records_) {
      found.reserve(found.size() + 4);  // Before a record counts as reported.
      fault_list faults;
      if (one.state == block_state::live) find_canary_damage(one, faults);
      if (one.state == block_state::quarantined) find_poison_damage(one, faults);
      found.insert(found.end(), faults.begin(), faults.end());
      damaged_blocks += faults.empty() ? 0 : 1;
    }
  }
  for (const guard_report& each : found) report(each);
  return damaged_blocks;
}

// --- Deallocation ---

/// What can be said of a pointer that has no record. O(blocks).
guard_report guarding_adaptor::foreign_pointer(const void* ptr) const {
  guard_report fault = report_of(guard_fault::foreign_pointer, {});
  const auto address = reinterpret_cast<std::uintptr_t>(ptr);
  for (const auto& [start, one] : records_) {
    const auto first = reinterpret_cast<std::uintptr_t>(start);
    if (address - first >= one.block.bytes) continue;
    fault.block = one.block;
    fault.offset = static_cast<std::ptrdiff_t>(address - first);
  }
  return fault;
}

/// The record of a live block that is freed now: it is closing, and the caller's. Null where the call is to
/// be ignored.
guarding_adaptor::record* guarding_adaptor::close_live(void* block, std::size_t bytes, std::size_t alignment,
                                                       fault_list& faults) {
  const auto stated = [&](guard_report fault) {
    fault.stated_ptr = block;
    fault.stated_bytes = bytes;
    fault.stated_alignment = alignment;
    faults.add(fault);
  };
  const detail::scoped_lock guard(lock_);
  const auto found = records_.find(block);
  if (found == records_.end()) {
    stated(foreign_pointer(block));
    return nullptr;
  }
  record& one = found->second;
  if (one.state != block_state::live) {
    stated(report_of(guard_fault::double_free, one.block));
    return nullptr;
  }
  if (bytes != one.block.bytes) {
    stated(report_of(guard_fault::wrong_size, one.block));
  } else if (alignment != one.block.alignment) {
    stated(report_of(guard_fault::wrong_alignment, one.block));
  }
  find_canary_damage(one, faults);
  one.state = block_state::closing;
  one.block.freeing_thread = detail::thread_id();
  --live_blocks_;
  live_bytes_ -= one.block.bytes;
  return &one;
}

void guarding_adaptor::do_deallocate(void* block, std::size_t bytes, std::size_t alignment) {
  fault_list faults;
  record* const closing = close_live(block, bytes, alignment, faults);
  report_all(faults);
  if (closing == nullptr) return;
  if (extent_of(closing->block).whole_bytes > quarantine_limit_bytes_) {
    forget_and_free(*closing);
    return;
  }
  if (closing->block.bytes != 0) {
    std::memset(block, static_cast<int>(poison), closing->block.bytes);
    detail::poison_tail(block, closing->block.bytes);
  }
  give_back(quarantine(*closing));
}

/// Puts the block into the quarantine. Returns those that have to leave it, oldest first, linked.
guarding_adaptor::record* guarding_adaptor::quarantine(record& one) noexcept {
  const detail::scoped_lock guard(lock_);
  one.state = block_state::quarantined;
  one.newer = nullptr;
  (newest_freed_ != nullptr ? newest_freed_->newer : oldest_freed_) = &one;
  newest_freed_ = &one;
  quarantined_bytes_ += extent_of(one.block).whole_bytes;

  record* const first = oldest_freed_;
  record* last = nullptr;
  while (quarantined_bytes_ > quarantine_limit_bytes_) {
    last = oldest_freed_;
    last->state = block_state::closing;
    quarantined_bytes_ -= extent_of(last->block).whole_bytes;
    oldest_freed_ = last->newer;
  }
  if (last == nullptr) return nullptr;
  last->newer = nullptr;
  return first;
}

void guarding_adaptor::flush_quarantine() noexcept {
  record* oldest = nullptr;
  {
    const detail::scoped_lock guard(lock_);
    oldest = std::exchange(oldest_freed_, nullptr);
    newest_freed_ = nullptr;
    quarantined_bytes_ = 0;
    for (record* each = oldest; each != nullptr; each = each->newer) each->state = block_state::closing;
  }
  give_back(oldest);
}

/// Checks blocks that left the quarantine, and gives them to upstream.
void guarding_adaptor::give_back(record* oldest) noexcept {
  for (record* each = oldest; each != nullptr;) {
    record* const newer = each->newer;
    fault_list faults;
    find_poison_damage(*each, faults);
    report_all(faults);
    forget_and_free(*each);
    each = newer;
  }
}

/// The record goes before the block: upstream may give the same address to another thread at once.
void guarding_adaptor::forget_and_free(record& one) noexcept {
  const extent whole = extent_of(one.block);
  const detail::no_cancellation until_both_are_back;
  {
    const detail::scoped_lock guard(lock_);
    records_.erase(one.block.ptr);
  }
  detail::unpoison_tail(whole.base, whole.whole_bytes);
  upstream_->deallocate(whole.base, whole.whole_bytes, whole.alignment);
}

// --- Reports and accounts ---

void guarding_adaptor::report(const guard_report& fault) noexcept {
  {
    const detail::scoped_lock guard(lock_);
    ++faults_;
  }
  const detail::no_cancellation in_a_free;  // which can't be unwound
  on_fault_(fault);
}

void guarding_adaptor::report_all(const fault_list& faults) noexcept {
  for (const guard_report& each : faults) report(each);
}

std::vector<guarded_block> guarding_adaptor::outstanding() const {
  std::vector<guarded_block> live;
  {
    const detail::scoped_lock guard(lock_);
    live.reserve(live_blocks_);
    for (const auto& [ptr, one] : records_) {
      if (one.state == block_state::live) live.push_back(one.block);
    }
  }
  std::sort(live.begin(), live.end(),
            [](const guarded_block& a, const guarded_block& b) { return a.sequence < b.sequence; });
  return live;
}

std::size_t guarding_adaptor::outstanding_blocks() const {
  const detail::scoped_lock guard(lock_);
  return live_blocks_;
}

std::size_t guarding_adaptor::outstanding_bytes() const {
  const detail::scoped_lock guard(lock_);
  return live_bytes_;
}

std::size_t guarding_adaptor::quarantined_bytes() const {
  const detail::scoped_lock guard(lock_);
  return quarantined_bytes_;
}

std::uint64_t guarding_adaptor::allocations() const {
  const detail::scoped_lock guard(lock_);
  return sequence_;
}

std::uint64_t guarding_adaptor::faults() const {
  const detail::scoped_lock guard(lock_);
  return faults_;
}

}  // namespace cistern
