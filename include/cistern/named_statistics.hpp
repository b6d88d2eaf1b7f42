// named_statistics: the statistics of several pools, object pools and adaptors, in one OpenMetrics text.
#pragma once

#include <cistern/detail/base/abi.hpp>

#include <concepts>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

namespace cistern {

namespace detail {

class openmetrics_text;

/// Statistics that say how they are written in OpenMetrics: those of pools, object pools and adaptors.
template <class T>
concept has_openmetrics = requires(openmetrics_text& text, const T& statistics, const std::string& name) {
  { add_openmetrics(text, statistics, name) } -> std::same_as<void>;
};

}  // namespace detail

/// A `pool_statistics`, `object_pool_statistics` or `allocation_statistics`, and what the pool, object pool
/// or adaptor is called. It has a copy of both.
class named_statistics {
 public:
  template <class Statistics>
  requires detail::has_openmetrics<std::remove_cvref_t<Statistics>> named_statistics(std::string name,
                                                                                     Statistics&& statistics)
      : add_to_([name = std::move(name), copy = std::forward<Statistics>(statistics)](
                    detail::openmetrics_text& text) { add_openmetrics(text, copy, name); }) {}

 private:
  friend std::string to_openmetrics(std::span<const named_statistics> all);

  std::function<void(detail::openmetrics_text&)> add_to_;
};

/// All of them as one OpenMetrics text, ending in "# EOF", of any kinds and in any order: each family is
/// described once, and has the samples of all. The families and labels are those of `to_openmetrics` for one;
/// names are escaped as the format asks, and bytes that are no UTF-8 become U+FFFD.
///
/// Throws `std::invalid_argument` if two of one kind have the same name: nobody could tell their samples
/// apart.
[[nodiscard]] std::string to_openmetrics(std::span<const named_statistics> all);
/// The same, of a list in braces.
[[nodiscard]] inline std::string to_openmetrics(std::initializer_list<named_statistics> all) {
  return to_openmetrics(std::span<const named_statistics>(all.begin(), all.size()));
}

}  // namespace cistern
