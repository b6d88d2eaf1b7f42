// call_sites: the functions of a program that its allocations are made for.
#pragma once

#include <cistern/adaptor/trace_stacks.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "../trace/site_profile.hpp"
#include "frame_names.hpp"

namespace cistern::tool {

/// Numbers for each stack the function that `frame_names::site_in` finds: a call site. Where functions have
/// no names, the place of the call stands for it.
class call_sites {
 public:
  /// The stacks must outlive it; they may grow.
  explicit call_sites(const trace_stacks& stacks) : stacks_(stacks), frames_(stacks) {}

  /// Numbers a new site when it is met. What has none, as without a stack, is a site of its own. Throws
  /// `std::bad_alloc`.
  [[nodiscard]] detail::stack_site site_of(std::uint64_t stack);

  /// "cache::insert(int) in prog", "0x1234 in libx.so", "unknown". Precondition: `site_of` returned it.
  [[nodiscard]] const std::string& name(std::uint32_t site) const { return names_[site]; }
  [[nodiscard]] std::uint32_t sites() const noexcept { return static_cast<std::uint32_t>(names_.size()); }

 private:
  const trace_stacks& stacks_;
  frame_names frames_;
  std::map<std::string, std::uint32_t> numbers_;
  std::vector<std::string> names_;
};

/// A site's name without the arguments of templates and functions: "cache::insert(...) in prog".
[[nodiscard]] std::string brief_site_name(std::string_view name);

}  // namespace cistern::tool
