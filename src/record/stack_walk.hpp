// stack_walk: from where a function was called, and its caller, and so on.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "caller_rule.hpp"
#include "zeroed_pages.hpp"

namespace cistern::detail {

/// Where a walk begins: at the caller of a function.
struct walk_start {
  const void* frame;   ///< `__builtin_frame_address(0)` in the function.
  const void* caller;  ///< `__builtin_return_address(0)` in it.
};

/// Walks stacks by the tables for exceptions, and keeps the rule of each call that it came by: so a frame
/// takes some nanoseconds. What the rules don't cover (signals, some functions in assembler) is left to the
/// unwinder of exceptions, which takes hundreds.
///
/// Allocates nothing, takes no lock, but for those that libraries older than glibc 2.35 take to find the
/// tables. May be used by any number of threads.
class stack_walker {
 public:
  constexpr stack_walker() noexcept = default;

  /// To be called first, and by one thread. False if the system has no memory (errno says why).
  [[nodiscard]] bool begin() noexcept { return rules_.begin(); }

  /// Fills `places` with calls, from the one of `start` outward, as far as they go; returns how many there
  /// are. A place is an address in the instruction of the call; or the instruction that a signal interrupted.
  [[nodiscard]] std::size_t walk(const walk_start& start, std::span<std::uintptr_t> places) noexcept;

  /// Forgets the rules: a library was unloaded, and another may come to lie where it was.
  void forget() noexcept;

 private:
  /// Each has, packed, the upper half of an address and the rule for it; 0: none.
  struct rule_table {
    static constexpr std::size_t slots = 65'536;
    std::array<std::atomic<std::uint64_t>, slots> packed;
  };

  [[nodiscard]] caller_rule rule_for(std::uintptr_t return_address) noexcept;

  zeroed_pages<rule_table> rules_;
};

/// The same by the unwinder of exceptions alone.
[[nodiscard]] std::size_t walk_slowly(const walk_start& start, std::span<std::uintptr_t> places) noexcept;

}  // namespace cistern::detail
