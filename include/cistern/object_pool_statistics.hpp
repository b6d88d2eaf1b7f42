// object_pool_statistics: what an object pool holds and has done, for people and for programs.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/object_pool_options.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

namespace cistern {

namespace detail {
class openmetrics_text;
}

/// Why an object left its pool.
enum class destroy_reason : unsigned char {
  closed,       ///< The pool was closed.
  surplus,      ///< Beyond `max_size` or `max_idle`.
  idle,         ///< Idle longer than `idle_timeout`, or faded by `trim`.
  expired,      ///< Older than `max_lifetime`.
  invalid,      ///< `validate` said no, or threw.
  unclean,      ///< `reset` threw.
  discarded,    ///< `lease::discard`.
  evicted,      ///< `evict_if`.
  invalidated,  ///< `invalidate_all`.
  detached,     ///< `lease::detach`: not destroyed, but no longer the pool's.
};
inline constexpr std::size_t destroy_reason_count = 10;

/// The name of `reason` as it appears in JSON and in OpenMetrics labels.
[[nodiscard]] std::string_view to_string(destroy_reason reason) noexcept;

/// A snapshot of an object pool's accounts. Exact at any quiet moment (no other thread inside the pool),
/// where `created + adopted + creating - destroyed_total() == total == idle + in_use + creating`.
struct object_pool_statistics {
  // Gauges, in objects.
  std::size_t total = 0;           ///< Objects that exist or are being created.
  std::size_t idle = 0;            ///< Ready to be given out.
  std::size_t in_use = 0;          ///< Out on loan, or being checked, reset or destroyed.
  std::size_t creating = 0;        ///< Being made by the factory.
  std::size_t waiting = 0;         ///< Threads and coroutines in the queue.
  std::size_t max = 0;             ///< `object_pool_options::max_size` now; `no_limit` if there is no bound.
  std::size_t retained_bytes = 0;  ///< What the idle objects hold, by the lifecycle's `retained_bytes`.
  // Counters since the pool was made.
  std::uint64_t acquired = 0;   ///< Leases given out.
  std::uint64_t created = 0;    ///< Objects made by the factory.
  std::uint64_t adopted = 0;    ///< Objects taken in by `adopt`.
  std::uint64_t waited = 0;     ///< Calls that had to queue.
  std::uint64_t timed_out = 0;  ///< Calls that ended with `pool_errc::timeout`.
  std::uint64_t cancelled = 0;  ///< Calls that ended with `pool_errc::cancelled`.
  std::uint64_t returned = 0;   ///< Leases given back, by `give_back` or the destructor.
  std::uint64_t factory_failures = 0;
  std::array<std::uint64_t, destroy_reason_count> destroyed{};  ///< By `destroy_reason`.
  duration wait_time{};  ///< Spent in the queue, by all callers together.

  /// Objects that left the pool, for any reason.
  [[nodiscard]] std::uint64_t destroyed_total() const noexcept;
  /// Objects that left the pool for `reason`.
  [[nodiscard]] std::uint64_t destroyed_for(destroy_reason reason) const noexcept {
    return destroyed[static_cast<std::size_t>(reason)];
  }

  friend bool operator==(const object_pool_statistics&, const object_pool_statistics&) = default;
  /// How `to_openmetrics` of several (cistern/named_statistics.hpp) writes these.
  friend void add_openmetrics(detail::openmetrics_text& text, const object_pool_statistics& statistics,
                              std::string_view pool_name);
};

/// Writes an aligned table for people.
std::ostream& operator<<(std::ostream& out, const object_pool_statistics& statistics);

/// The same figures as one JSON object; keys are the field names above, durations in seconds with the suffix
/// `_seconds`, an absent bound is null.
[[nodiscard]] std::string to_json(const object_pool_statistics& statistics);

/// The same figures as OpenMetrics text (ending in "# EOF"), metric names prefixed `cistern_object_pool_`,
/// each with a label `pool="<pool_name>"`; `pool_name` is escaped as the format asks, and what is no
/// UTF-8 in it becomes U+FFFD. Several in one text: cistern/named_statistics.hpp.
[[nodiscard]] std::string to_openmetrics(const object_pool_statistics& statistics,
                                         std::string_view pool_name);

}  // namespace cistern
