// byte_sampler: which allocations are recorded where only one in so many bytes is.
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
class byte_sampler {
 public:
  constexpr byte_sampler() noexcept = default;

  /// `mean_bytes` 0: all allocations are recorded.
  void begin(std::uint64_t mean_bytes) noexcept { mean_bytes_.store(mean_bytes, std::memory_order_release); }
  [[nodiscard]] bool is_on() const noexcept { return mean_bytes_.load(std::memory_order_acquire) != 0; }

  /// Counts an allocation of the calling thread; whether it isn't to be recorded. Some instructions, nearly
  /// always.
  [[nodiscard]] bool passes_by(sampling_thread& thread, std::size_t bytes) const noexcept {
    if (!is_on()) return false;
    if (bytes < thread.left_bytes) {
      thread.left_bytes -= bytes;
      return true;
    }
    return !takes(thread, bytes);
  }

 private:
  [[nodiscard]] [[gnu::noinline]] bool takes(sampling_thread& thread, std::size_t bytes) const noexcept;
  [[nodiscard]] std::uint64_t next_gap(sampling_thread& thread) const noexcept;

  std::atomic<std::uint64_t> mean_bytes_{0};
};

}  // namespace cistern::detail
