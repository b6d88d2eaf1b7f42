// report_page: the page into which a report's data goes.
#pragma once

#include <string>
#include <string_view>

namespace cistern::tool {

/// The page without data, as it was bundled when this program was built; empty where it was built without.
[[nodiscard]] std::string_view report_template() noexcept;

/// The page with `json` in it, which has no '<' (`report_data`).
[[nodiscard]] std::string page_with(std::string_view page, std::string_view json);

}  // namespace cistern::tool
