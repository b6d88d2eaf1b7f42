#include "stack_walk.hpp"

#include <cstring>

#include <unwind.h>

namespace cistern::detail {
namespace {

/// What the frames of one function may take: more is a mistake.
constexpr std::uintptr_t most_frame_bytes = std::uintptr_t{64} << 20;

[[nodiscard]] std::uintptr_t word_at(std::uintptr_t address) noexcept {
  std::uintptr_t word = 0;
  std::memcpy(&word, reinterpret_cast<const void*>(address), sizeof word);
  return word;
}

[[nodiscard]] std::uintptr_t number_of(const void* address) noexcept {
  return reinterpret_cast<std::uintptr_t>(address);
}

/// In one word, so that nobody sees the halves of two.
[[nodiscard]] std::uint64_t pack(std::uintptr_t return_address, const caller_rule& rule) noexcept {
  return std::uint64_t{return_address >> 16U} << 33U | std::uint64_t{rule.frame_pointer_words} << 21U |
         std::uint64_t{rule.top_words} << 3U | static_cast<std::uint64_t>(rule.how);
}

[[nodiscard]] caller_rule unpack(std::uint64_t word) noexcept {
  return {
      .how = static_cast<caller_rule::kind>(word & 7U),
      .top_words = static_cast<std::uint32_t>(word >> 3U & caller_rule::most_top_words),
      .frame_pointer_words = static_cast<std::uint32_t>(word >> 21U & caller_rule::most_frame_pointer_words)};
}

/// What the unwinder tells of each frame, from the innermost on.
struct slow_walk {
  std::uintptr_t caller;
  std::span<std::uintptr_t> places;
  std::size_t count = 0;
  bool has_begun = false;
};

_Unwind_Reason_Code see_frame(_Unwind_Context* context, void* argument) noexcept {
  auto& walk = *static_cast<slow_walk*>(argument);
  int is_interrupted = 0;
  const auto address = static_cast<std::uintptr_t>(_Unwind_GetIPInfo(context, &is_interrupted));
  walk.has_begun = walk.has_begun || address == walk.caller;
  if (!walk.has_begun) return _URC_NO_REASON;
  if (address == 0 || walk.count == walk.places.size()) return _URC_END_OF_STACK;
  walk.places[walk.count++] = is_interrupted != 0 ? address : address - 1;
  return _URC_NO_REASON;
}

}  // namespace

std::size_t walk_slowly(const walk_start& start, std::span<std::uintptr_t> places) noexcept {
  slow_walk walk{.caller = number_of(start.caller), .places = places};
  (void)_Unwind_Backtrace(see_frame, &walk);
  return walk.count;
}

caller_rule stack_walker::rule_for(std::uintptr_t return_address) noexcept {
  const std::uintptr_t upper = return_address >> 16U;
  if (upper >> 31U != 0) return find_caller_rule(return_address);  // No such address is in use yet.
  const std::size_t slot = (return_address ^ upper) % rule_table::slots;
  const std::uint64_t word = rules_->packed[slot].load(std::memory_order_relaxed);
  if (word != 0 && word >> 33U == upper) return unpack(word);
  const caller_rule rule = find_caller_rule(return_address);
  rules_->packed[slot].store(pack(return_address, rule), std::memory_order_relaxed);
  return rule;
}

std::size_t stack_walker::walk(const walk_start& start, std::span<std::uintptr_t> places) noexcept {
  using kind = caller_rule::kind;
  std::uintptr_t return_address = number_of(start.caller);
  // What a function of x86-64 that keeps a frame pointer has on the stack: the caller's, and the return
  // address.
  std::uintptr_t frame_pointer = word_at(number_of(start.frame));
  std::uintptr_t stack_pointer = number_of(start.frame) + 2 * sizeof(std::uintptr_t);
  std::size_t count = 0;
  while (count < places.size() && return_address != 0) {
    places[count++] = return_address - 1;
    const caller_rule rule = rule_for(return_address);
    if (rule.how == kind::outermost) break;
    if (rule.how == kind::other) return walk_slowly(start, places);
    const std::uintptr_t top = (rule.how == kind::by_frame_pointer ? frame_pointer : stack_pointer) +
                               std::uintptr_t{rule.top_words} * sizeof(std::uintptr_t);
    if (top <= stack_pointer || top - stack_pointer > most_frame_bytes) break;
    if (rule.frame_pointer_words != 0) {
      frame_pointer = word_at(top - std::uintptr_t{rule.frame_pointer_words} * sizeof(std::uintptr_t));
    }
    return_address = word_at(top - sizeof(std::uintptr_t));
    stack_pointer = top;
  }
  return count;
}

void stack_walker::forget() noexcept {
  if (!rules_.is_there()) return;
  for (std::size_t i = 0; i < rule_table::slots; ++i) rules_->packed[i].store(0, std::memory_order_relaxed);
}

}  // namespace cistern::detail
