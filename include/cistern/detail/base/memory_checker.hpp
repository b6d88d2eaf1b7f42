// memory_checker: tells AddressSanitizer or Valgrind, where one looks on, which memory nobody may touch now.
#pragma once

#include <cstddef>

namespace cistern::detail {

// For the library's own sources: they find out at run time, so that a plain library serves an instrumented
// program. All of these do nothing where no checker is there.

/// Whether the process has AddressSanitizer, whatever of it is instrumented, or runs under Valgrind's
/// memcheck (if the library was built where its headers are). A few dozen instructions: to be asked once per
/// pool.
[[nodiscard]] bool memory_checker_present() noexcept;

/// From now on any access to [`begin`, `begin + bytes`) is reported. To be undone before the memory goes back
/// to where it came from.
void forbid_access(const void* begin, std::size_t bytes) noexcept;

/// Allows access to [`begin`, `begin + bytes`) again; what it holds counts as never written.
void allow_access(const void* begin, std::size_t bytes) noexcept;

/// The same, of what was written before access was forbidden, and is there still.
void allow_access_again(const void* begin, std::size_t bytes) noexcept;

/// Whether an access to this byte would be reported.
[[nodiscard]] bool is_forbidden(const void* address) noexcept;

/// Says on stderr that `block`, of `block_bytes` as its user has it, was given back wrongly, and has the
/// checker report it with its stack. AddressSanitizer ends the process; from under memcheck this returns.
void report_misuse(const char* what, const void* block, std::size_t block_bytes) noexcept;

/// While one lives, this thread may touch what is forbidden: Valgrind sees plain code as well.
class checker_pause {
 public:
  checker_pause() noexcept;
  checker_pause(const checker_pause&) = delete;
  checker_pause& operator=(const checker_pause&) = delete;
  ~checker_pause();
};

}  // namespace cistern::detail
