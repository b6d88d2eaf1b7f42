#include "place_names.hpp"

#include "printable_text.hpp"

namespace cistern::tool {
namespace {

constexpr std::size_t longest_name_bytes = 400;

}  // namespace

std::uint32_t place_names::number_of(const std::string& name) {
  const auto [found, is_new] = numbers_.try_emplace(name, static_cast<std::uint32_t>(names_.size()));
  if (is_new) names_.push_back(name);
  return found->second;
}

std::uint32_t place_names::number_of(const trace_place& place) {
  const auto [found, is_new] = places_.try_emplace({place.module, place.address}, 0);
  if (!is_new) return found->second;
  const frame_name& frame = frames_.of(place);
  const std::string text = frame.brief_text();
  found->second =
      number_of(text.size() <= longest_name_bytes ? text : printable(text.substr(0, longest_name_bytes)));
  if (frame.is_of_runtime) of_runtime_.insert(found->second);
  return found->second;
}

std::uint32_t place_names::site_of(std::uint64_t stack) {
  const std::optional<std::size_t> place = frames_.site_in(stack);
  return place ? number_of(stacks_.stack(stack)[*place]) : number_of(unknown_place);
}

}  // namespace cistern::tool
