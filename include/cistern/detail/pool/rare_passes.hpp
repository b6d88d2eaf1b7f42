// rare_passes: whether work that may be in vain is worth another try.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// Passes over something that shall hold less memory afterwards. Each one that brought little is followed by
/// twice the pause. Relaxed: grounds for decisions, and no more.
class rare_passes {
 public:
  /// A pass begins at `now`, on a clock of the caller's, while so much is held.
  void begin(std::uint64_t now, bool is_wanted, std::size_t held_bytes) noexcept {
    if (!is_wanted) {
      pause_.store(first_pause, std::memory_order_relaxed);
      next_at_.store(0, std::memory_order_relaxed);
    }
    is_wanted_.store(is_wanted, std::memory_order_relaxed);
    is_on_.store(is_wanted && now >= next_at_.load(std::memory_order_relaxed), std::memory_order_relaxed);
    held_before_.store(held_bytes, std::memory_order_relaxed);
  }
  /// Whether the work is to be done in this pass.
  [[nodiscard]] bool is_on() const noexcept { return is_on_.load(std::memory_order_relaxed); }
  /// Whether passes are wanted, and the last few weren't all in vain.
  [[nodiscard]] bool is_promising() const noexcept {
    return is_wanted_.load(std::memory_order_relaxed) &&
           pause_.load(std::memory_order_relaxed) <= longest_promising_pause;
  }
  void end(std::uint64_t now, std::size_t held_bytes) noexcept {
    if (!is_on_.exchange(false, std::memory_order_relaxed)) {
      return;
    }
    const std::size_t before = held_before_.load(std::memory_order_relaxed);
    const bool has_gained = held_bytes <= before - before / 16;
    const std::uint64_t pause =
        has_gained ? first_pause : std::min(2 * pause_.load(std::memory_order_relaxed), longest_pause);
    pause_.store(pause, std::memory_order_relaxed);
    next_at_.store(now + pause, std::memory_order_relaxed);
  }

 private:
  static constexpr std::uint64_t first_pause = 64;
  static constexpr std::uint64_t longest_promising_pause = 8 * first_pause;
  static constexpr std::uint64_t longest_pause = std::uint64_t{1} << 20;

  std::atomic<bool> is_on_{false};
  std::atomic<bool> is_wanted_{false};
  std::atomic<std::uint64_t> pause_{first_pause};
  std::atomic<std::uint64_t> next_at_{0};
  std::atomic<std::size_t> held_before_{0};
};

}  // namespace cistern::detail
