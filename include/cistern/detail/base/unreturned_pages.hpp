// unreturned_pages: pages that the system would not take back, for whoever wants pages next.
#pragma once

#include <cistern/detail/base/mutex.hpp>
#include <cistern/detail/base/thread_annotations.hpp>

#include <atomic>
#include <cstddef>

namespace cistern::detail {

/// To give back the middle of a mapping takes one mapping more, and the system has a limit on their number.
/// What it refuses is kept here, joined with its neighbours, without its memory where the system takes that.
/// It serves the next who wants pages, and is offered to the system again.
///
/// Takes no memory: the records lie in the pages, as a tree by address in which longer ranges are above
/// shorter ones; after C. Stephenson, "Fast Fits", 1983. All functions are thread-safe, and O(log(ranges))
/// but for the system. Nobody waits for the lock: what comes while another thread has it is put in by the
/// next one. So a fork needn't know of it; the child of one that came just then keeps what is left to it and
/// finds nothing.
class unreturned_pages {
 public:
  constexpr unreturned_pages() noexcept = default;
  unreturned_pages(const unreturned_pages&) = delete;
  unreturned_pages& operator=(const unreturned_pages&) = delete;
  ~unreturned_pages() = default;

  /// O(1). Relaxed, as it only says whether a look is worth it.
  [[nodiscard]] bool any() const noexcept { return any_.load(std::memory_order_relaxed); }

  /// Takes whole pages, which nobody may touch any more.
  void keep(void* pages, std::size_t bytes) noexcept;
  /// Pages that read as zero, or null. `bytes`: whole pages; `alignment`: a power of two.
  [[nodiscard]] void* try_take(std::size_t bytes, std::size_t alignment) noexcept;
  /// Offers some to the system, which has just taken others.
  void offer() noexcept;

 private:
  /// Stands at the beginning of the range.
  struct range {
    std::size_t bytes;
    range* before;  ///< In the tree; or the next that waits to be put in.
    range* behind;
    bool is_zero;  ///< But for this record.

    [[nodiscard]] std::byte* base() noexcept { return reinterpret_cast<std::byte*>(this); }
    [[nodiscard]] std::byte* end() noexcept { return base() + bytes; }
  };

  struct order;
  [[nodiscard]] static range* make(std::byte* pages, std::size_t bytes, bool is_zero) noexcept;
  [[nodiscard]] static std::byte* place_in(range* in, std::size_t bytes, std::size_t alignment) noexcept;

  void put_in_waiting() noexcept CISTERN_REQUIRES(lock_);
  void put_in(std::byte* pages, std::size_t bytes) noexcept CISTERN_REQUIRES(lock_);
  [[nodiscard]] range* ending_at(const std::byte* end) const noexcept CISTERN_REQUIRES(lock_);
  [[nodiscard]] range* beginning_at(const std::byte* begin) const noexcept CISTERN_REQUIRES(lock_);
  void insert(range* added) noexcept CISTERN_REQUIRES(lock_);
  void remove(range* removed) noexcept CISTERN_REQUIRES(lock_);
  void unlock() noexcept CISTERN_RELEASE(lock_);

  std::atomic<bool> any_{false};
  std::atomic<range*> waiting_{nullptr};
  mutex lock_;
  range* root_ CISTERN_GUARDED_BY(lock_) = nullptr;
};

}  // namespace cistern::detail
