// missed_returns: whether what goes back is needed again at once, time after time.
#pragma once

#include <atomic>
#include <cstdint>

namespace cistern::detail {

/// Memory that goes back to upstream, and is asked for again. Where one region goes and comes with each use
/// of a block, what it costs is more than what it saves. Relaxed: grounds for decisions, and no more.
class missed_returns {
 public:
  /// Of ticks of the clock: twice what a free of the largest block is.
  static constexpr std::uint64_t soon = 512;

  /// At `now`, on a clock of the caller's, a region goes back because more was idle than may be.
  void gave(std::uint64_t now) noexcept {
    if (is_away_.exchange(true, std::memory_order_relaxed)) {
      in_a_row_.store(0, std::memory_order_relaxed);  // the one before wasn't missed
    }
    gave_at_.store(now, std::memory_order_relaxed);
  }
  /// Upstream was asked for a region.
  void took(std::uint64_t now) noexcept {
    if (is_away_.exchange(false, std::memory_order_relaxed)) {
      const bool was_soon = now - gave_at_.load(std::memory_order_relaxed) <= soon;
      in_a_row_.store(was_soon ? in_a_row_.load(std::memory_order_relaxed) + 1 : 0,
                      std::memory_order_relaxed);
    }
  }
  /// Whether the last regions that went were missed soon, each before another one went.
  [[nodiscard]] bool recur() const noexcept { return in_a_row_.load(std::memory_order_relaxed) >= recurring; }

 private:
  static constexpr std::uint32_t recurring = 2;

  std::atomic<bool> is_away_{false};  ///< What went last.
  std::atomic<std::uint64_t> gave_at_{0};
  std::atomic<std::uint32_t> in_a_row_{0};
};

}  // namespace cistern::detail
