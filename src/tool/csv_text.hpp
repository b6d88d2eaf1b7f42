// csv_text: texts in a table that programs read.
#pragma once

#include <string>
#include <string_view>

namespace cistern::tool {

/// In double quotes, those in it doubled.
[[nodiscard]] std::string csv_quoted(std::string_view text);

}  // namespace cistern::tool
