#include "advice_code.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string_view>

#include "call_sites.hpp"

namespace cistern::tool {
namespace {

constexpr std::size_t most_sites_in_code = 5;

/// "cistern-unsync:a=1:b=2" as a declaration.
[[nodiscard]] std::string pool_declaration(std::string_view on) {
  const bool for_one_thread = on.starts_with("cistern-unsync");
  const std::string name = for_one_thread ? "unsynchronized_pool_resource" : "synchronized_pool_resource";
  std::string options;
  for (std::size_t at = on.find(':'); at != std::string_view::npos; at = on.find(':', at + 1)) {
    const std::string_view option = on.substr(at + 1, on.find(':', at + 1) - at - 1);
    const std::size_t equals = option.find('=');
    options += options.empty() ? "({" : ", ";
    options += "." + std::string(option.substr(0, equals)) + " = " + std::string(option.substr(equals + 1));
  }
  return "#include <cistern/" + name + ".hpp>\n\ncistern::" + name + " pool" +
         (options.empty() ? "" : options + "})") + ";  // outlives what it serves\n";
}

[[nodiscard]] std::uint64_t peak_of(const advice_report& report, const advice& one) {
  std::uint64_t bytes = one.sites.empty() ? report.profile.peak_bytes : 0;
  for (const std::uint32_t site : one.sites) bytes += report.profile.sites[site].peak_bytes;
  return bytes;
}

/// A line for each site.
[[nodiscard]] std::string for_each_site(const advice_report& report, const advice& one,
                                        const std::function<std::string(std::uint32_t)>& line) {
  std::string text;
  for (std::size_t i = 0; i < std::min(one.sites.size(), most_sites_in_code); ++i) {
    text += line(one.sites[i]) + "  // in " + brief_site_name(report.site_name(one.sites[i])) + '\n';
  }
  return text;
}

[[nodiscard]] std::string monotonic_declaration(std::uint64_t bytes) {
  return "#include <memory_resource>\n\nstd::pmr::monotonic_buffer_resource arena(" + std::to_string(bytes) +
         ");  // frees all at once, at its end\n";
}

}  // namespace

std::string code_of(const advice_report& report, const advice& one) {
  const std::uint64_t peak_bytes = peak_of(report, one);
  switch (one.what.kind) {
    case advice_kind::reserve:
      return for_each_site(report, one, [&](std::uint32_t site) {
        return "values.reserve(" + std::to_string(report.profile.sites[site].growth.largest_bytes) +
               " / sizeof values[0]);";
      });
    case advice_kind::small_buffer: {
      const std::uint64_t bytes = std::bit_ceil(std::max<std::uint64_t>(2 * peak_bytes, 64));
      return "#include <cstddef>\n#include <memory_resource>\n\nstd::byte buffer[" + std::to_string(bytes) +
             "];\nstd::pmr::monotonic_buffer_resource on_stack(buffer, sizeof buffer);\n" +
             for_each_site(report, one,
                           [](std::uint32_t) { return std::string("std::pmr::string text(&on_stack);"); });
    }
    case advice_kind::monotonic_for_sites:
      return monotonic_declaration(peak_bytes) + for_each_site(report, one, [](std::uint32_t) {
               return std::string("std::pmr::vector<T> values(&arena);");
             });
    case advice_kind::pool_for_sites:
      return pool_declaration(one.what.on) + for_each_site(report, one, [](std::uint32_t) {
               return std::string("std::pmr::list<T> values(&pool);");
             });
    case advice_kind::monotonic:
      return monotonic_declaration(peak_bytes) + "std::pmr::set_default_resource(&arena);\n";
    case advice_kind::pool:
      return pool_declaration(one.what.on) +
             "std::pmr::set_default_resource(&pool);\n"
             "// or, with no change of the program: LD_PRELOAD=libcistern-malloc.so\n";
  }
  return {};
}

}  // namespace cistern::tool
