// place_names: the names of places and stacks, numbered, as a report has them.
#pragma once

#include <cistern/adaptor/trace_stacks.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "frame_names.hpp"

namespace cistern::tool {

/// Names each place once, by the brief text of `frame_names`, cut where it is long. Not thread-safe.
class place_names {
 public:
  /// `stacks` must outlive it, with all that is looked up.
  explicit place_names(const trace_stacks& stacks) : stacks_(stacks), frames_(stacks) {}

  /// The number of its name, from 0.
  [[nodiscard]] std::uint32_t number_of(const trace_place& place);
  /// That of a name which stands for no place.
  [[nodiscard]] std::uint32_t number_of(const std::string& name);
  /// From where the program called, as `frame_names::site_in` finds it, by its name's number: that of
  /// `unknown_place` if there is none.
  [[nodiscard]] std::uint32_t site_of(std::uint64_t stack);
  /// All names, by number.
  [[nodiscard]] const std::vector<std::string>& names() const noexcept { return names_; }
  /// Whether a name is that of a runtime library's function.
  [[nodiscard]] bool is_of_runtime(std::uint32_t name) const { return of_runtime_.contains(name); }

 private:
  const trace_stacks& stacks_;
  frame_names frames_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, std::uint32_t> numbers_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint32_t> places_;
  std::unordered_set<std::uint32_t> of_runtime_;
};

}  // namespace cistern::tool
