#include "report_page.hpp"

namespace cistern::tool {

std::string_view report_template() noexcept {
  return {};
}

}  // namespace cistern::tool
