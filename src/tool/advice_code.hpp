// advice_code: advice as C++ to paste.
#pragma once

#include <string>

#include "advice_report.hpp"

namespace cistern::tool {

/// Lines, each ended by a newline.
[[nodiscard]] std::string code_of(const advice_report& report, const advice& one);

}  // namespace cistern::tool
