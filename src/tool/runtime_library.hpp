// runtime_library: functions that allocate for whoever calls them, not for themselves.
#pragma once

#include <string_view>

namespace cistern::tool {

/// Whether a function is the C or C++ library's own, by the path of its file or by its name, as it was
/// demangled; either may be empty.
[[nodiscard]] bool is_of_runtime_library(std::string_view function, std::string_view path);

}  // namespace cistern::tool
