// One OpenMetrics text of the statistics of several pools, object pools and adaptors.
#include <cistern/named_statistics.hpp>

#include <utility>

#include "statistics_text.hpp"

namespace cistern {

std::string to_openmetrics(std::span<const named_statistics> all) {
  detail::openmetrics_text text;
  for (const named_statistics& one : all) one.add_to_(text);
  return std::move(text).finish();
}

}  // namespace cistern
