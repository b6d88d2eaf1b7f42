// recent_peak: the most that was in use a short while ago.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// What a use that rises and falls needs again. A peak counts until so much was freed as makes up a fall and
/// at least an eighth, at most half of another one: four spans of time with a peak each, the oldest of which
/// is forgotten. Relaxed: grounds for decisions, and no more.
class recent_peak {
 public:
  /// So much is in use, and `freed_bytes` have been freed so far.
  void note(std::size_t used_bytes, std::uint64_t freed_bytes) noexcept {
    unsigned newest = newest_.load(std::memory_order_relaxed);
    if (freed_bytes - since_.load(std::memory_order_relaxed) > bytes() / 8 * 3) {
      newest = (newest + 1) % peaks;
      newest_.store(newest, std::memory_order_relaxed);
      since_.store(freed_bytes, std::memory_order_relaxed);
      of_[newest].store(used_bytes, std::memory_order_relaxed);
    } else if (used_bytes > of_[newest].load(std::memory_order_relaxed)) {
      of_[newest].store(used_bytes, std::memory_order_relaxed);
    }
  }
  [[nodiscard]] std::size_t bytes() const noexcept {
    std::size_t most = 0;
    for (unsigned i = 0; i < peaks; ++i) {
      most = std::max(most, of_[i].load(std::memory_order_relaxed));
    }
    return most;
  }

 private:
  static constexpr unsigned peaks = 4;
  std::array<std::atomic<std::size_t>, peaks> of_{};
  std::atomic<unsigned> newest_{0};
  std::atomic<std::uint64_t> since_{0};  ///< Bytes freed when the newest span of time began.
};

}  // namespace cistern::detail
