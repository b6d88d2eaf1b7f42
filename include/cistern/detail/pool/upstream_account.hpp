// upstream_account: the one gate between a pool and its upstream, which counts and limits what passes.
#pragma once

#include <cistern/detail/pool/chunk_source.hpp>
#include <cistern/pool_statistics.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory_resource>

namespace cistern::detail {

/// Every byte a pool holds came through `try_allocate` and leaves through `deallocate`. Invariant:
/// `bytes() <= max_bytes`, also while several threads allocate.
///
/// Thread-safe as far as the upstream is. The counters are relaxed atomics also for pools of one thread: next
/// to a call of upstream the difference can't be measured. Nothing is published through them, so no stronger
/// order is needed; a reader in a quiet moment is ordered by whatever made the moment quiet.
class upstream_account {
 public:
  /// `upstream` must not be null.
  /// `gives_pages`: what comes from upstream is pages of the system, as from `page_resource`.
  upstream_account(std::pmr::memory_resource* upstream, std::size_t max_bytes,
                   bool gives_pages = false) noexcept;
  /// Without upstream and without limit: memory comes from `source`.
  explicit upstream_account(chunk_source& source) noexcept : source_(&source), gives_pages_(true) {}

  upstream_account(const upstream_account&) = delete;
  upstream_account& operator=(const upstream_account&) = delete;
  ~upstream_account() = default;

  [[nodiscard]] chunk_source* source() const noexcept { return source_; }
  /// Whether memory can be taken away from addresses that stay.
  [[nodiscard]] bool gives_pages() const noexcept { return gives_pages_; }
  /// Whether upstream is the program's `operator new`.
  [[nodiscard]] bool is_new_delete() const noexcept { return is_new_delete_; }
  /// False: what goes back to upstream is lost, and nothing is gained by it, not even room under `max_bytes`.
  [[nodiscard]] bool takes_back() const noexcept { return takes_back_; }
  /// Whether upstream, or `max_bytes`, has a use for `bytes` that came back just now: known, or tried.
  [[nodiscard]] bool reuses(std::size_t bytes) noexcept;
  /// Whether a memory checker is to be told what of this memory nobody may touch.
  [[nodiscard]] bool is_watched() const noexcept { return is_watched_; }
  /// Whether it is, by a library that isn't instrumented. Then no block may lie in a list: a fast path, which
  /// may be compiled into anybody's code, would hand it out without a word.
  [[nodiscard]] bool lists_are_shut() const noexcept { return lists_are_shut_; }

  /// Memory from upstream, or null where `max_bytes` would be exceeded, or a `chunk_source` refuses. Passes
  /// on what upstream throws; nothing is changed then.
  [[nodiscard]] void* try_allocate(std::size_t bytes, std::size_t alignment);
  void deallocate(void* memory, std::size_t bytes, std::size_t alignment) noexcept {
    deallocate_as(memory, bytes, alignment, bytes);
  }
  /// The same for memory that was counted as `counted_bytes`, whatever `bytes` says.
  void deallocate_as(void* memory, std::size_t bytes, std::size_t alignment,
                     std::size_t counted_bytes) noexcept;

  /// Asks upstream for more than any object can have, as the standard wants it to be asked, and throws
  /// `bad_allocation`, whatever it says; passes on what it throws but `std::bad_alloc`. `bytes`: what the
  /// user asked for. Without a call of upstream where `max_bytes` refuses it, or upstream is `operator new`,
  /// whose aligned form in libstdc++ rounds such sizes up past zero, and which ends the program under
  /// AddressSanitizer.
  [[noreturn]] void refuse_impossible(std::size_t bytes, std::size_t needed_bytes,
                                      std::size_t alignment) const;
  /// Throws the `bad_allocation` that tells why there is no memory for `bytes`, which would take
  /// `needed_bytes`.
  [[noreturn]] void refuse(std::size_t bytes, std::size_t needed_bytes) const;

  /// Whether anything ever came from upstream.
  [[nodiscard]] bool was_used() const noexcept { return allocations_.load(std::memory_order_relaxed) != 0; }
  /// Fills in the four figures of `statistics` that are known here.
  void add_to(pool_statistics& statistics) const noexcept;

  [[nodiscard]] std::pmr::memory_resource* upstream() const noexcept { return upstream_; }
  [[nodiscard]] std::size_t max_bytes() const noexcept { return max_bytes_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t peak_bytes() const noexcept {
    return peak_bytes_.load(std::memory_order_relaxed);
  }
  /// What may still be allocated.
  [[nodiscard]] std::size_t available_bytes() const noexcept { return max_bytes_ - bytes(); }

 private:
  std::pmr::memory_resource* upstream_ = nullptr;
  chunk_source* source_ = nullptr;
  std::size_t max_bytes_ = SIZE_MAX;
  bool gives_pages_ = false;
  bool is_new_delete_ = false;
  bool takes_back_ = true;
  bool is_watched_ = false;
  bool lists_are_shut_ = false;
  std::atomic<std::size_t> bytes_{0};
  std::atomic<std::size_t> peak_bytes_{0};
  std::atomic<std::uint64_t> allocations_{0};
  std::atomic<std::uint64_t> deallocations_{0};
};

}  // namespace cistern::detail
