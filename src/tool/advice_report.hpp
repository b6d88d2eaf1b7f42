// advice_report: what there is to say about a trace, in text or otherwise.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "../trace/site_profile.hpp"
#include "advice_choice.hpp"

namespace cistern::tool {

struct advice_report {
  std::string trace;  ///< Its file.
  const detail::trace_profile& profile;
  const trace_verdict& verdict;
  std::uint64_t sample_bytes = 0;                            ///< As `trace_reader` has it.
  std::function<std::string(std::uint32_t site)> site_name;  ///< By number in the profile.
};

}  // namespace cistern::tool
