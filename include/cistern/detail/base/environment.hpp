// environment: the switches that are set outside of a program.
#pragma once

#include <cstdlib>
#include <cstring>

namespace cistern::detail {

/// Whether the environment sets `name` to "1". Allocates nothing. Not while another thread changes the
/// environment.
[[nodiscard]] inline bool environment_switches_on(const char* name) noexcept {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return value != nullptr && std::strcmp(value, "1") == 0;
}

/// Whether every request of every pool is to go to upstream as it is.
[[nodiscard]] inline bool environment_says_pass_through() noexcept {
  return environment_switches_on("CISTERN_PASS_THROUGH");
}

/// Whether what fills large regions is to ask the system for huge pages.
[[nodiscard]] inline bool environment_says_huge_pages() noexcept {
  return environment_switches_on("CISTERN_HUGE_PAGES");
}

}  // namespace cistern::detail
