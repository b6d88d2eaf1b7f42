// advice_plan: what the profile of a trace suggests to try.
#pragma once

#include <cistern/adaptor/trace_advice.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "../trace/replay_script.hpp"
#include "../trace/site_profile.hpp"

namespace cistern::tool {

/// The kinds of advice, from what changes least in a program to what changes most.
enum class advice_kind : std::uint8_t {
  reserve,
  small_buffer,
  monotonic_for_sites,
  pool_for_sites,
  monotonic,
  pool,
};

/// "reserve", "small_buffer" and so on.
[[nodiscard]] const char* to_string(advice_kind kind) noexcept;

/// One thing to try.
struct planned_trial {
  advice_kind kind{};
  std::string on = "new";  ///< The resource, as `advice_trial` has it.
};

/// What to try, and for the blocks of which sites.
struct advice_plan {
  std::vector<std::uint32_t> growing;   ///< Sites of blocks that grow step by step: worst first.
  std::vector<std::uint32_t> local;     ///< Sites of small blocks that are freed where they were made.
  std::vector<std::uint32_t> paying;    ///< Sites of most calls, but for those above.
  std::vector<planned_trial> trials{};  ///< Some of a kind may differ in options.
  /// Nearly all that is asked for is live at once: the program builds up and ends. Such a program gets its
  /// memory from the system whatever serves it.
  bool is_one_shot = false;
};

/// `rules`: what the trace says by itself.
[[nodiscard]] advice_plan plan_for(const detail::trace_profile& profile, const trace_advice& rules);

}  // namespace cistern::tool
