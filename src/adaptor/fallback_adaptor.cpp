#include <cistern/adaptor/fallback_adaptor.hpp>
#include <cistern/bad_allocation.hpp>
#include <cistern/detail/base/asan_tail.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/give_back.hpp>
#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/base/possible_size.hpp>

#include <algorithm>
#include <bit>
#include <new>

// Records lie in memory that is poisoned for everybody else (see `poison_behind`). Functions that touch them
// aren't instrumented, and call nothing that is.
#define CISTERN_TOUCHES_RECORDS [[gnu::no_sanitize_address]]

namespace cistern {

/// Lies behind each block of the fallback.
struct fallback_adaptor::record {
  record* next;  // In its bucket.
  void* block;
  std::size_t bytes;
  std::size_t alignment;

  /// Where the record of a block of so many bytes lies, counted from the block's start.
  [[nodiscard]] static constexpr std::size_t offset_for(std::size_t bytes) noexcept {
    return (bytes + (alignof(record) - 1)) & ~(alignof(record) - 1);
  }
  [[nodiscard]] static constexpr std::size_t whole_bytes_for(std::size_t bytes) noexcept {
    return offset_for(bytes) + sizeof(record);
  }
  [[nodiscard]] static constexpr std::size_t whole_alignment_for(std::size_t alignment) noexcept {
    return std::max(alignment, alignof(record));
  }
  static constexpr std::size_t most_bytes = PTRDIFF_MAX - sizeof(void*) * 8;
};

namespace {

constexpr std::size_t bucket_bytes = sizeof(void*);

/// AddressSanitizer goes on finding what is written or read behind a block: padding and record.
void poison_behind(void* block, std::size_t bytes, std::size_t whole_bytes) noexcept {
  detail::poison_tail(static_cast<std::byte*>(block) + bytes, whole_bytes - bytes);
}

void unpoison_behind(void* block, std::size_t bytes, std::size_t whole_bytes) noexcept {
  detail::unpoison_tail(static_cast<std::byte*>(block) + bytes, whole_bytes - bytes);
}

}  // namespace

fallback_adaptor::~fallback_adaptor() {
  CISTERN_EXPECTS(fallback_live_blocks() == 0, "fallback_adaptor destroyed with live blocks of the fallback",
                  fallback_live_blocks());
  give_buckets_back();
}

void* fallback_adaptor::do_allocate(std::size_t bytes, std::size_t alignment) {
  detail::expect_possible_size(bytes, fallback_live_bytes());
  try {
    return upstream_->allocate(bytes, alignment);
  } catch (const std::bad_alloc&) {
    return allocate_from_fallback(bytes, alignment);
  }
}

void* fallback_adaptor::allocate_from_fallback(std::size_t bytes, std::size_t alignment) {
  if (bytes > record::most_bytes) {
    throw bad_allocation("fallback_adaptor: more than a machine has", bytes, record::most_bytes,
                         fallback_live_bytes());
  }
  const std::size_t whole_bytes = record::whole_bytes_for(bytes);
  void* const block = fallback_->allocate(whole_bytes, record::whole_alignment_for(alignment));
  auto* const made = ::new (static_cast<std::byte*>(block) + record::offset_for(bytes))
      record{nullptr, block, bytes, alignment};
  poison_behind(block, bytes, whole_bytes);
  insert(made);
  return block;
}

void fallback_adaptor::do_deallocate(void* block, std::size_t bytes, std::size_t alignment) {
  record known{};
  if (fallback_live_blocks() == 0 || !remove(block, known)) {
    detail::give_back(*upstream_, block, bytes, alignment);
    return;
  }
  CISTERN_EXPECTS(known.bytes == bytes, "fallback_adaptor: freed with the wrong size", bytes);
  CISTERN_EXPECTS(known.alignment == alignment, "fallback_adaptor: freed with the wrong alignment",
                  alignment);
  const std::size_t whole_bytes = record::whole_bytes_for(known.bytes);
  unpoison_behind(block, known.bytes, whole_bytes);
  detail::give_back(*fallback_, block, whole_bytes, record::whole_alignment_for(known.alignment));
}

CISTERN_TOUCHES_RECORDS bool fallback_adaptor::is_from_fallback(const void* block) const noexcept {
  if (fallback_live_blocks() == 0) return false;
  const detail::scoped_lock guard(lock_);
  return *link_to(block) != nullptr;
}

fallback_adaptor::record** fallback_adaptor::bucket_of(const void* block) const noexcept {
  constexpr std::uint64_t golden = 0x9E3779B97F4A7C15;
  const auto mixed = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(block)) * golden;
  return &buckets_[mixed >> (64 - std::countr_zero(bucket_count_))];
}

CISTERN_TOUCHES_RECORDS void fallback_adaptor::insert(record* made) noexcept {
  const detail::scoped_lock guard(lock_);
  const std::size_t live = live_blocks_.load(std::memory_order_relaxed) + 1;
  if (live > bucket_count_) grow();
  record** const bucket = bucket_of(made->block);
  made->next = *bucket;
  *bucket = made;
  live_blocks_.store(live, std::memory_order_relaxed);
  live_bytes_.fetch_add(made->bytes, std::memory_order_relaxed);
  fallbacks_.fetch_add(1, std::memory_order_relaxed);
}

/// What points to the record of `block`; to null where it isn't the fallback's.
CISTERN_TOUCHES_RECORDS fallback_adaptor::record** fallback_adaptor::link_to(
    const void* block) const noexcept {
  record** link = bucket_of(block);
  while (*link != nullptr && (*link)->block != block) link = &(*link)->next;
  return link;
}

/// Takes the record of `block` out of the table, into `known`; false where the block isn't the fallback's.
CISTERN_TOUCHES_RECORDS bool fallback_adaptor::remove(const void* block, record& known) noexcept {
  const detail::scoped_lock guard(lock_);
  record** const link = link_to(block);
  record* const found = *link;
  if (found == nullptr) return false;
  *link = found->next;
  known.bytes = found->bytes;
  known.alignment = found->alignment;
  live_bytes_.fetch_sub(known.bytes, std::memory_order_relaxed);
  if (live_blocks_.fetch_sub(1, std::memory_order_relaxed) == 1) give_buckets_back();
  return true;
}

/// Four times the buckets. Without room for them the chains get longer, which is all that is lost.
CISTERN_TOUCHES_RECORDS void fallback_adaptor::grow() noexcept {
  const std::size_t old_count = bucket_count_;
  record** const old = buckets_;
  record** wider = nullptr;
  const detail::no_cancellation in_a_function_that_does_not_throw;
  try {
    wider = static_cast<record**>(fallback_->allocate(4 * old_count * bucket_bytes, alignof(void*)));
  } catch (...) {
    return;
  }
  buckets_ = wider;
  bucket_count_ = 4 * old_count;
  for (std::size_t i = 0; i < bucket_count_; ++i) buckets_[i] = nullptr;
  for (std::size_t i = 0; i < old_count; ++i) {
    for (record* each = old[i]; each != nullptr;) {
      record* const next = each->next;
      record** const bucket = bucket_of(each->block);
      each->next = *bucket;
      *bucket = each;
      each = next;
    }
    old[i] = nullptr;
  }
  if (old != own_buckets_.data()) {
    detail::give_back(*fallback_, old, old_count * bucket_bytes, alignof(void*));
  }
}

void fallback_adaptor::give_buckets_back() noexcept {
  if (buckets_ == own_buckets_.data()) return;
  detail::give_back(*fallback_, buckets_, bucket_count_ * bucket_bytes, alignof(void*));
  buckets_ = own_buckets_.data();
  bucket_count_ = own_buckets_.size();
}

}  // namespace cistern
