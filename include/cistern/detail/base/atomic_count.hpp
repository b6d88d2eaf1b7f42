// Counters that several threads change: one that stays within a limit, one that keeps the highest value.
#pragma once

#include <atomic>
#include <cstddef>

namespace cistern::detail {

// All relaxed: they count, and publish nothing that other memory depends on. That a sum is exact follows from
// its being changed by read-modify-write only.

/// What `reserve` did: whether the bytes fit, and how many are held now, with them if they did.
struct reservation {
  bool granted;
  std::size_t held_bytes;
};

/// Adds `bytes` to `held`, unless the sum would exceed `limit_bytes`; no bytes always fit. Tries again rather
/// than take back what was too much: two threads near the limit must not make each other fail where either
/// one alone would have passed.
[[nodiscard]] inline reservation reserve(std::atomic<std::size_t>& held, std::size_t bytes,
                                         std::size_t limit_bytes) noexcept {
  std::size_t now = held.load(std::memory_order_relaxed);
  do {
    // More may be held than a limit that was lowered; the sum isn't formed before it is known to fit.
    if (bytes != 0 && (now > limit_bytes || bytes > limit_bytes - now)) {
      return {false, now};
    }
  } while (!held.compare_exchange_weak(now, now + bytes, std::memory_order_relaxed));
  return {true, now + bytes};
}

/// Makes `peak` at least `value`.
inline void raise(std::atomic<std::size_t>& peak, std::size_t value) noexcept {
  std::size_t highest = peak.load(std::memory_order_relaxed);
  while (highest < value && !peak.compare_exchange_weak(highest, value, std::memory_order_relaxed)) {
  }
}

}  // namespace cistern::detail
