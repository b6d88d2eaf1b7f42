// sampler: picks one call in N, at random, for a subtraction a call.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include <pthread.h>

namespace cistern::detail {

/// There are some clocks, of which a thread has one; all its samplers share it. It runs out at random times
/// and is wound up again. A call moves it on by one part in N, so that of a sampler's calls one in N is
/// picked in the long run, whatever other samplers with another N, and other threads, do in between. Each
/// clock begins at a random time. Thread-safe; O(1).
///
/// They aren't `thread_local`: sixty plug-ins with a copy of the library each have to find room for what is.
class sampler {
 public:
  /// `one_in` 0: picks none. 1: picks every call.
  explicit sampler(std::size_t one_in) noexcept;

  [[nodiscard]] bool picks() noexcept { return is_due() && ran_out(); }

 private:
  struct alignas(64) sampling_clock {
    std::atomic<std::int64_t> left{0};
    std::atomic<std::uint64_t> random_state{0};  ///< 0: it was never wound up.
  };
  static constinit std::array<sampling_clock, 32> clocks_;

  /// Moves this thread's clock on; most calls end here.
  // NOLINTNEXTLINE(readability-make-member-function-const): the clock is part of it
  [[nodiscard]] bool is_due() noexcept {
    return step_ != 0 && clock_of_thread().left.fetch_sub(step_, std::memory_order_relaxed) <= step_;
  }
  /// False where the clock has just been wound up for the first time.
  [[nodiscard]] bool ran_out() noexcept;
  [[nodiscard]] static sampling_clock& clock_of_thread() noexcept {
    const auto self = std::bit_cast<std::uintptr_t>(::pthread_self());
    return clocks_[self * 0x9e3779b97f4a7c15U >> 59U];
  }

  const std::int64_t step_;
};

}  // namespace cistern::detail
