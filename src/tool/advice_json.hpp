// advice_json: advice for programs.
#pragma once

#include <string>

#include "advice_report.hpp"

namespace cistern::tool {

/// One object; docs/advice.md has its members.
[[nodiscard]] std::string as_json(const advice_report& report);

}  // namespace cistern::tool
