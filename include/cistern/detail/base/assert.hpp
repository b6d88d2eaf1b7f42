// Assertions on stated preconditions, active in checked builds (CISTERN_CHECKED); and which builds those are.
#pragma once

namespace cistern::detail {

#if defined(CISTERN_CHECKED) && CISTERN_CHECKED
inline constexpr bool checked_build = true;
#else
inline constexpr bool checked_build = false;
#endif

#if defined(CISTERN_HARDENED) && CISTERN_HARDENED
inline constexpr bool hardened_build = true;
#else
inline constexpr bool hardened_build = false;
#endif

/// Ends with the misuse "<what> (value <value>) at <file>:<line>", see `misuse_found`.
[[noreturn]] void precondition_failed(const char* what, unsigned long long value, const char* file,
                                      int line) noexcept;

}  // namespace cistern::detail

/// Aborts with a message when `condition` is false in a checked build; costs nothing otherwise.
/// A macro because the message needs the caller's file and line, and `condition` must not be evaluated in
/// an unchecked build.
#define CISTERN_EXPECTS(condition, what, value)                                                        \
  do {                                                                                                 \
    if constexpr (::cistern::detail::checked_build) {                                                  \
      if (!(condition)) {                                                                              \
        ::cistern::detail::precondition_failed(what, static_cast<unsigned long long>(value), __FILE__, \
                                               __LINE__);                                              \
      }                                                                                                \
    }                                                                                                  \
  } while (false)
