// thread_directory: which pools have a cache for each thread, and where each thread finds its own.
#pragma once

#include <cistern/detail/base/thread_record.hpp>

#include <cstddef>
#include <cstdint>

namespace cistern::detail {

class thread_directory;  // NOLINT(cppcoreguidelines-virtual-class-destructor): never deleted

/// Who keeps something for each thread: a pool. What it keeps is called a cache, and is opaque here.
class cache_owner {
 public:
  /// Takes back the cache of a thread that ends; called on that thread, at the very end.
  virtual void retire(void* cache) noexcept = 0;

 protected:
  ~cache_owner() = default;
};

/// The one word of thread-local storage that a copy of the library takes for this: "initial-exec", one load,
/// also in a shared library, and loaders set little aside for that. Points to a record that is never written
/// before the thread has its first cache, and to another one after it has given back its last.
extern constinit thread_local thread_record* this_thread_record __attribute__((tls_model("initial-exec")));

/// A pool's place in the directory. It knows which directory that is: code of another copy of the library
/// that is handed the pool finds none of the caches in its own `this_thread_record`, where no serial number
/// matches, and asks the directory of the copy that made the pool.
///
/// The pool may change the ticket by `renew` and `withdraw` only while no other thread is inside of it.
class cache_ticket {
 public:
  constexpr cache_ticket() noexcept = default;

  /// This thread's cache where it is at hand, else null: it may exist nevertheless, see `find`. The fast
  /// path.
  [[nodiscard]] void* at_hand() const noexcept {
    const auto* const base = reinterpret_cast<const std::byte*>(this_thread_record);
    const auto& entry = *reinterpret_cast<const cache_reference*>(base + table_offset_bytes_);
    if (entry.serial != serial_) [[unlikely]] {
      return nullptr;
    }
    if (entry.cache == nullptr) {
      __builtin_unreachable();  // saves those who call this the question
    }
    return entry.cache;
  }

  /// This thread's cache, or null. From now on it is at hand. O(1).
  [[nodiscard]] void* find() const noexcept;
  /// Whether this thread may be given a cache: false at its very end, and inside of `remember`.
  [[nodiscard]] bool thread_takes_caches() const noexcept;
  /// Makes `cache`, which isn't null, this thread's until the thread ends. False where there is no memory to
  /// note it down. Amortised O(1).
  [[nodiscard]] bool remember(void* cache) const noexcept;

  /// No thread finds a cache of this pool from now on, and those that were giving one back have finished.
  void withdraw() noexcept;
  /// The same, and the pool goes on.
  void renew() noexcept;

 private:
  friend class thread_directory;
  void become(std::uint32_t id, std::uint64_t serial) noexcept {
    id_ = id;
    serial_ = serial;
    table_offset_bytes_ = id % thread_record::table_size * sizeof(cache_reference);
  }

  std::uint64_t serial_ = 0;
  std::size_t table_offset_bytes_ = 0;  ///< Kept ready: the arithmetic would be a tenth of the fast path.
  std::uint32_t id_ = 0;                ///< Reused after the pool's death, as low as possible.
  thread_directory* directory_ = nullptr;
};

/// Makes a pool known. Throws `std::bad_alloc`, and `std::system_error` where the process has no
/// thread-specific key left. O(log(pools)).
[[nodiscard]] cache_ticket enroll(cache_owner& owner);

}  // namespace cistern::detail
