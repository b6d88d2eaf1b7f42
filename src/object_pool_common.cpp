#include "object_pool_common.hpp"

#include <algorithm>
#include <ctime>
#include <string>

namespace cistern::detail {

time_point later(time_point start, duration by) noexcept {
  return by > duration::zero() && start > time_point::max() - by ? time_point::max() : start + by;
}

time_point coarse_time(pool_clock clock) noexcept {
#if defined(CLOCK_MONOTONIC_COARSE)
  if (clock == &std::chrono::steady_clock::now) {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
    return time_point{std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec}};
  }
#endif
  return clock();
}

std::vector<outstanding_lease> collect_holders(const slot_table& slots, std::uint32_t slots_used,
                                               time_point now, std::size_t most) {
  std::vector<outstanding_lease> result;
  for (std::uint32_t index = 1; index <= slots_used; ++index) {
    const pool_slot& slot = slots[index];
    const auto since = slot.acquired_at.load(std::memory_order_relaxed);
    if (since > not_leased) {
      const duration age = now.time_since_epoch() - duration{since};
      result.push_back({slot.site.load(), std::max(age, duration::zero())});
    }
  }
  std::stable_sort(result.begin(), result.end(), [](const auto& a, const auto& b) { return a.age > b.age; });
  result.resize(std::min(result.size(), most));
  return result;
}

void throw_factory_failed(const std::exception_ptr& cause) {
  std::string what = "object_pool: the factory failed";
  try {
    std::rethrow_exception(cause);
  } catch (const std::exception& error) {
    what += std::string(": ") + error.what();
  } catch (...) {
    what += ": with something that is not a std::exception";
  }
  throw pool_error(pool_errc::factory_failed, what, cause);
}

}  // namespace cistern::detail
