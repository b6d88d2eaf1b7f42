// trace_filter: some of a trace's events, by what they are.
#pragma once

#include <cistern/adaptor/trace.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "frame_names.hpp"

namespace cistern::tool {

/// Events pass that have all of it. As it is made, all pass.
struct trace_filter {
  std::set<trace_call> calls{};  ///< One of these; empty: any.
  std::uint64_t min_bytes = 0;
  std::uint64_t max_bytes = std::numeric_limits<std::uint64_t>::max();
  std::set<std::uint64_t> threads{};  ///< One of these; empty: any.
  std::chrono::nanoseconds from = std::chrono::nanoseconds::min();
  std::chrono::nanoseconds to = std::chrono::nanoseconds::max();
  std::string at{};  ///< In a function's name or a module's path of the stack.

  [[nodiscard]] bool passes(const trace_event& event, frame_names& names) const;
};

/// By the name that `to_string` gives; none if it is none.
[[nodiscard]] std::optional<trace_call> call_from_text(std::string_view text) noexcept;

/// "1500", "1500ns", "1.5us", "20ms", "3s": a time since the trace began. None if it is anything else, or too
/// long.
[[nodiscard]] std::optional<std::chrono::nanoseconds> time_from_text(std::string_view text) noexcept;

}  // namespace cistern::tool
