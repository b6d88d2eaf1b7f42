// sampler: picks one call in N, at random, for a subtraction a call.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// All samplers of a thread share one clock, which runs out at random times and is wound up again. A call
/// moves it on by one part in N, so that of a sampler's calls one in N is picked in the long run, whatever
/// other samplers with another N do in between. Each thread begins at a random time. Thread-safe; O(1).
class sampler {
 public:
  /// `one_in` 0: picks none. 1: picks every call.
  explicit sampler(std::size_t one_in) noexcept;

  [[nodiscard]] bool picks() noexcept { return is_due() && ran_out(); }

  /// The two halves of `picks`, for callers that want the second out of their way: most calls end here.
  // NOLINTNEXTLINE(readability-make-member-function-const): it moves the clock
  [[nodiscard]] bool is_due() noexcept {
    left_ -= step_;
    return left_ <= 0;
  }
  /// To be called once where `is_due`; false where this thread's clock has only now been wound up.
  [[nodiscard]] bool ran_out() noexcept;

 private:
  static constinit thread_local std::int64_t left_;

  const std::int64_t step_;
};

}  // namespace cistern::detail
