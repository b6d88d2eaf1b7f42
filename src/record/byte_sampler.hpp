// byte_sampler: which allocations are recorded where only one in so many bytes is, or none for a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// What a thread keeps of its own.
struct sampling_thread {
  std::uint64_t left_bytes = 0;  ///< That it allocates before the next sample.
  std::uint64_t random = 0;      ///< 0: it hasn't begun yet.
};

/// Every byte that is allocated is a sample with the same chance, whatever was one before: the gaps between
/// samples are distributed exponentially. So an allocation of `b` bytes is recorded with the chance 1 -
/// exp(-b / mean).
///
/// While it is paused, samples go by: what a thread has left before its next one is as random as ever when it
/// goes on.
class byte_sampler {
 public:
  constexpr byte_sampler() noexcept = default;

  /// `mean_bytes` 0: all allocations are recorded, and nothing is ever paused. `every_allocation`: all are,
  /// but while it is paused.
  void begin(std::uint64_t mean_bytes) noexcept { mean_bytes_.store(mean_bytes, std::memory_order_release); }
  static constexpr std::uint64_t every_allocation = 1;
  [[nodiscard]] bool is_on() const noexcept { return mean_bytes_.load(std::memory_order_acquire) != 0; }

  // By any thread, or signal handler. A call that has begun is recorded as it began.
  void pause() noexcept { paused_.store(true, std::memory_order_relaxed); }
  void resume() noexcept { paused_.store(false, std::memory_order_relaxed); }
  /// Of two threads that do it at once, one undoes what the other did.
  void toggle() noexcept {
    bool was = paused_.load(std::memory_order_relaxed);
    while (!paused_.compare_exchange_weak(was, !was, std::memory_order_relaxed)) {
    }
  }

  /// Counts an allocation of the calling thread; whether it isn't to be recorded.
  [[nodiscard]] bool passes_by(sampling_thread& thread, std::size_t bytes) const noexcept {
    return passes_by_quickly(thread, bytes) || !takes(thread, bytes);
  }

  // The same in two steps: nearly always the first one says so, in some instructions. `left_bytes` is 0 where
  // there are no samples.
  [[nodiscard]] static bool passes_by_quickly(sampling_thread& thread, std::size_t bytes) noexcept {
    if (bytes >= thread.left_bytes) return false;
    thread.left_bytes -= bytes;
    return true;
  }
  [[nodiscard]] bool takes(sampling_thread& thread, std::size_t bytes) const noexcept {
    const std::uint64_t mean_bytes = mean_bytes_.load(std::memory_order_acquire);
    if (mean_bytes > every_allocation) return takes_sample(thread, bytes);
    return mean_bytes == 0 || !is_paused();
  }

 private:
  [[nodiscard]] bool is_paused() const noexcept { return paused_.load(std::memory_order_relaxed); }
  [[nodiscard]] [[gnu::noinline]] bool takes_sample(sampling_thread& thread,
                                                    std::size_t bytes) const noexcept;
  [[nodiscard]] std::uint64_t next_gap(sampling_thread& thread) const noexcept;

  std::atomic<std::uint64_t> mean_bytes_{0};
  std::atomic<bool> paused_{false};
  static_assert(std::atomic<bool>::is_always_lock_free);  // For signal handlers.
};

}  // namespace cistern::detail
