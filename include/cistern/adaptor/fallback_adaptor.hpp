// fallback_adaptor: takes memory from a second resource when the first one is out.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/detail/base/mutex.hpp>
#include <cistern/resource_or_new_delete.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory_resource>

namespace cistern {

/// Passes requests to upstream; where that throws `std::bad_alloc`, to the fallback. A block goes back to the
/// resource it came from. Other exceptions of upstream pass through; where both are out, the fallback's
/// exception does.
///
/// Which blocks are the fallback's is kept in a hash table whose records lie behind those blocks (32 bytes
/// and the padding before them), so that remembering one never needs memory beyond the block's own: what is
/// thrown leaves everything as it was. The table's buckets come from the fallback too, if it has room for
/// them, and go back when its last block does.
///
/// Thread-safe if both resources are. While no block of the fallback is live, both operations cost one call
/// of upstream and a look at a counter. Otherwise a deallocation takes a lock and looks the block up, in O(1)
/// on average (O(blocks of the fallback) where it has no room for buckets). Upstream and fallback are called
/// under no lock, but for the table's buckets. Equality is identity. Fallbacks nest: the second resource may
/// be a `fallback_adaptor` too.
class fallback_adaptor : public std::pmr::memory_resource {
 public:
  /// Null, for either, means new/delete.
  explicit fallback_adaptor(std::pmr::memory_resource* upstream CISTERN_LIFETIMEBOUND,
                            std::pmr::memory_resource* fallback CISTERN_LIFETIMEBOUND = nullptr) noexcept
      : upstream_(resource_or_new_delete(upstream)), fallback_(resource_or_new_delete(fallback)) {}

  fallback_adaptor(const fallback_adaptor&) = delete;
  fallback_adaptor& operator=(const fallback_adaptor&) = delete;
  /// Precondition: no block of the fallback is live. In unchecked builds such blocks stay where they are.
  ~fallback_adaptor() override;

  [[nodiscard]] std::pmr::memory_resource* upstream_resource() const noexcept { return upstream_; }
  [[nodiscard]] std::pmr::memory_resource* fallback_resource() const noexcept { return fallback_; }

  /// Requests that the fallback served.
  [[nodiscard]] std::uint64_t fallbacks() const noexcept {
    return fallbacks_.load(std::memory_order_relaxed);
  }
  /// Blocks of the fallback that are live now.
  [[nodiscard]] std::size_t fallback_live_blocks() const noexcept {
    return live_blocks_.load(std::memory_order_relaxed);
  }
  /// Their bytes, as asked for.
  [[nodiscard]] std::size_t fallback_live_bytes() const noexcept {
    return live_bytes_.load(std::memory_order_relaxed);
  }
  /// Whether `block` is a live one of the fallback. Thread-safe; O(1) on average.
  [[nodiscard]] bool is_from_fallback(const void* block) const noexcept;

 protected:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  /// `bytes` and `alignment` as at the allocation; asserted for blocks of the fallback.
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

 private:
  struct record;
  static constexpr std::size_t first_buckets = 16;

  [[nodiscard]] void* allocate_from_fallback(std::size_t bytes, std::size_t alignment);
  void insert(record* made) noexcept;
  [[nodiscard]] bool remove(const void* block, record& known) noexcept;
  [[nodiscard]] record** bucket_of(const void* block) const noexcept CISTERN_REQUIRES(lock_);
  [[nodiscard]] record** link_to(const void* block) const noexcept CISTERN_REQUIRES(lock_);
  void grow() noexcept CISTERN_REQUIRES(lock_);
  void give_buckets_back() noexcept CISTERN_REQUIRES(lock_);

  std::pmr::memory_resource* upstream_;
  std::pmr::memory_resource* fallback_;
  mutable detail::mutex lock_;
  detail::held_at_fork<detail::mutex> fork_guard_{lock_};
  std::array<record*, first_buckets> own_buckets_ CISTERN_GUARDED_BY(lock_){};
  record** buckets_ CISTERN_GUARDED_BY(lock_) = own_buckets_.data();
  std::size_t bucket_count_ CISTERN_GUARDED_BY(lock_) = first_buckets;  // A power of two.
  // Relaxed: a thread that frees a block of the fallback has synchronised with the one that allocated it, or
  // is it, and so sees a count of at least 1; others may see any. The rest only counts.
  std::atomic<std::size_t> live_blocks_{0};
  std::atomic<std::size_t> live_bytes_{0};
  std::atomic<std::uint64_t> fallbacks_{0};
};

}  // namespace cistern
