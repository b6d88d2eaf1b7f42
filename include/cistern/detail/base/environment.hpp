// environment: the switches that are set outside of a program.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include <unistd.h>

namespace cistern::detail {

/// Whether the environment sets `name` to "1". Allocates nothing. Not while another thread changes the
/// environment.
[[nodiscard]] inline bool environment_switches_on(const char* name) noexcept {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return value != nullptr && std::strcmp(value, "1") == 0;
}

/// The number that `name` is set to, in decimal digits; 0 where it isn't set, or to anything else. Allocates
/// nothing. Not while another thread changes the environment.
[[nodiscard]] inline std::size_t environment_number(const char* name) noexcept {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  if (value == nullptr) {
    return 0;
  }
  const char* const end = value + std::strlen(value);
  std::size_t number = 0;
  const auto [last, error] = std::from_chars(value, end, number);
  return error == std::errc() && last == end ? number : 0;
}

/// Whether anything of the following is set. In one pass, where each question is one: for the birth of a
/// pool.
[[nodiscard]] inline bool environment_has_switches() noexcept {
  for (const char* const* each = ::environ; each != nullptr && *each != nullptr; ++each) {
    if ((*each)[0] == 'C' && std::strncmp(*each, "CISTERN_", 8) == 0) {
      return true;
    }
  }
  return false;
}

/// One allocation in how many is to be guarded; 0: none.
[[nodiscard]] inline std::size_t environment_sample_guard() noexcept {
  return environment_number("CISTERN_SAMPLE_GUARD");
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
