#include "byte_sampler.hpp"

#include <bit>
#include <ctime>

namespace cistern::detail {
namespace {

/// The natural logarithm of 1 / u, for a number u that is evenly distributed between 0 and 1, and of which
/// these are the bits. To a millionth; the C library's is in a library of its own.
[[nodiscard]] double logarithm_of_inverse(std::uint64_t bits) noexcept {
  const std::uint64_t number = bits | 1U;
  const auto shift = static_cast<unsigned>(std::countl_zero(number));
  const double mantissa = static_cast<double>(number << shift) * 0x1p-63;  // From 1 to 2.
  const double z = (mantissa - 1) / (mantissa + 1);
  const double z2 = z * z;
  const double log_of_mantissa =
      2 * z * (1 + z2 * (1.0 / 3 + z2 * (1.0 / 5 + z2 * (1.0 / 7 + z2 * (1.0 / 9 + z2 / 11)))));
  constexpr double log_of_2 = 0.69314718055994531;
  return (shift + 1) * log_of_2 - log_of_mantissa;
}

/// Another one in each thread, and in each run.
[[nodiscard]] std::uint64_t seed_of(const sampling_thread& thread) noexcept {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  const auto where = reinterpret_cast<std::uintptr_t>(&thread);
  return (where * 0x9E3779B97F4A7C15U ^ static_cast<std::uint64_t>(time.tv_nsec) * 0xBF58476D1CE4E5B9U) | 1U;
}

}  // namespace

/// At least 1.
std::uint64_t byte_sampler::next_gap(sampling_thread& thread) const noexcept {
  thread.random += 0x9E3779B97F4A7C15U;  // The generator "splitmix64".
  std::uint64_t bits = thread.random;
  bits = (bits ^ bits >> 30U) * 0xBF58476D1CE4E5B9U;
  bits = (bits ^ bits >> 27U) * 0x94D049BB133111EBU;
  bits ^= bits >> 31U;
  const double gap =
      logarithm_of_inverse(bits) * static_cast<double>(mean_bytes_.load(std::memory_order_relaxed));
  constexpr double most = 0x1p62;
  return 1 + static_cast<std::uint64_t>(gap < most ? gap : most);
}

bool byte_sampler::takes_sample(sampling_thread& thread, std::size_t bytes) const noexcept {
  if (thread.random == 0) {
    thread.random = seed_of(thread);
    thread.left_bytes = next_gap(thread);
    if (bytes < thread.left_bytes) {
      thread.left_bytes -= bytes;
      return false;
    }
  }
  thread.left_bytes = next_gap(thread);
  return !is_paused();
}

}  // namespace cistern::detail
