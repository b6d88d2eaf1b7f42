#include "trace_filter.hpp"

#include <charconv>
#include <cmath>
#include <system_error>

namespace cistern::tool {

bool trace_filter::passes(const trace_event& event, frame_names& names) const {
  return (calls.empty() || calls.contains(event.call)) && event.bytes >= min_bytes &&
         event.bytes <= max_bytes && (threads.empty() || threads.contains(event.thread)) &&
         event.time >= from && event.time <= to && (at.empty() || names.has(event.stack, at));
}

std::optional<trace_call> call_from_text(std::string_view text) noexcept {
  for (const trace_call each :
       {trace_call::allocate, trace_call::deallocate, trace_call::failed_allocate, trace_call::reallocate}) {
    if (text == to_string(each)) return each;
  }
  return std::nullopt;
}

std::optional<std::chrono::nanoseconds> time_from_text(std::string_view text) noexcept {
  const char* const end = text.data() + text.size();
  std::uint64_t whole = 0;
  auto [last, error] = std::from_chars(text.data(), end, whole);
  auto number = static_cast<double>(whole);
  if (error == std::errc() && last != end && *last == '.') {
    double digit_value = 1;
    for (++last; last != end && *last >= '0' && *last <= '9'; ++last) {
      number += (*last - '0') * (digit_value /= 10);
    }
  }
  const std::string_view unit(last, static_cast<std::size_t>(end - last));
  const double factor = unit.empty() || unit == "ns" ? 1
                        : unit == "us"               ? 1e3
                        : unit == "ms"               ? 1e6
                        : unit == "s"                ? 1e9
                                                     : 0;
  const double nanoseconds = number * factor;
  if (error != std::errc() || factor == 0 || !(nanoseconds >= 0 && nanoseconds < 9e18)) return std::nullopt;
  return std::chrono::nanoseconds(std::llround(nanoseconds));
}

}  // namespace cistern::tool
