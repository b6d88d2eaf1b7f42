#include "report_page.hpp"

#include <stdexcept>

namespace cistern::tool {

std::string page_with(std::string_view page, std::string_view json) {
  constexpr std::string_view begin = "<script type=\"application/json\" id=\"data\">";
  const std::size_t at = page.find(begin);
  if (at == std::string_view::npos) throw std::logic_error("the report's page has no place for data");
  std::string text;
  text.reserve(page.size() + json.size());
  text.append(page.substr(0, at + begin.size())).append(json).append(page.substr(at + begin.size()));
  return text;
}

}  // namespace cistern::tool
