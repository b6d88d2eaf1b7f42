// advice_text: advice for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../trace/site_profile.hpp"
#include "advice_choice.hpp"
#include "advice_report.hpp"

namespace cistern::tool {

/// The verdict in one line without an end.
[[nodiscard]] std::string headline(const advice_report& report);
/// An advice in one line without an end: what to do, and what it gains.
[[nodiscard]] std::string headline(const advice_report& report, const advice& one);
/// What an advice costs, in a sentence.
[[nodiscard]] std::string cost_of(const advice& one);

/// Sites by number, those of most calls first.
[[nodiscard]] std::vector<std::uint32_t> sites_by_calls(const detail::trace_profile& profile);
/// The middle one, to the next power of two; 0 if there is none.
[[nodiscard]] std::uint64_t median_of(const detail::power_counts& counts) noexcept;

/// The verdict first, then each advice with its code, then call sites.
[[nodiscard]] std::string as_text(const advice_report& report);

}  // namespace cistern::tool
