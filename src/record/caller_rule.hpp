// caller_rule: how to get from a place in a function to its caller, by what compilers write down for
// exceptions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cistern::detail {

/// Of a frame, its *top* is where the stack pointer stands once the function has returned; the address that
/// it returns to lies right below.
struct caller_rule {
  enum class kind : std::uint8_t {
    by_stack_pointer = 1,  ///< The top is the stack pointer and `top_words`.
    by_frame_pointer,      ///< The top is the frame pointer and `top_words`.
    outermost,             ///< There is no caller, or nothing is known of it.
    other,                 ///< More than is understood here.
  };

  kind how = kind::other;
  std::uint32_t top_words = 0;
  std::uint32_t frame_pointer_words = 0;  ///< So far below the top the caller's is saved; 0: it is as it was.

  static constexpr std::uint32_t most_top_words = (1U << 18) - 1;
  static constexpr std::uint32_t most_frame_pointer_words = (1U << 10) - 1;

  friend bool operator==(const caller_rule&, const caller_rule&) = default;
};

/// The rule for the call that returns to `return_address`. Allocates nothing. Of x86-64 only; `other`
/// elsewhere.
[[nodiscard]] caller_rule find_caller_rule(std::uintptr_t return_address) noexcept;

/// The rule that an entry of `.eh_frame` (a CIE and one of its FDEs, of x86-64, both from their length on)
/// has for an address so many bytes behind the function's begin.
[[nodiscard]] caller_rule read_caller_rule(const std::byte* common, const std::byte* entry,
                                           std::uintptr_t at_bytes) noexcept;

}  // namespace cistern::detail
