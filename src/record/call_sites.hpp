// call_sites: the stacks that a process has allocated and freed from, each by its number.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "../trace/trace_format.hpp"
#include "module_table.hpp"
#include "yielding_lock.hpp"
#include "zeroed_pages.hpp"

namespace cistern::detail {

/// A part of the tables, encoded as the payload of a frame.
struct encoded_table {
  std::uint32_t kind = 0;
  std::uint32_t entries = 0;  ///< 0: there is nothing left to encode.
  std::size_t bytes = 0;
};

/// Numbers stacks from 1 on, as they come. Who asks for one that is known takes no lock. Tables of a fixed
/// size, 23 MiB at most, take memory as they fill; what doesn't fit has number 0. Allocates nothing.
class call_sites {
 public:
  constexpr call_sites() noexcept = default;

  /// Begins without any, for the first time or in the child of a fork. False if the system has no memory
  /// (errno says why).
  [[nodiscard]] bool begin() noexcept;

  /// The number of a stack of calls: addresses as of `stack_walker`, at most `deepest_stack`. Not for a
  /// signal handler that has interrupted another call of it.
  [[nodiscard]] std::uint32_t number_of(std::span<const std::uintptr_t> stack) noexcept;
  /// Modules may have been unloaded.
  void doubt_modules() noexcept { modules_.doubt(); }

  /// While it is held, nothing gets a new number.
  void lock() noexcept;
  void unlock() noexcept;

  /// Encodes what has been encoded by no call before, as much as has room: modules before the stacks that
  /// lead through them. While `lock` is held.
  [[nodiscard]] encoded_table encode_next(std::span<std::byte> payload) noexcept;

  static constexpr std::size_t deepest_stack = 64;
  static constexpr std::size_t most_stacks = trace_most_stacks;
  static constexpr std::size_t most_places = trace_most_places;

 private:
  static constexpr std::size_t slots = 2 * most_stacks;

  struct stack_record {
    std::uint64_t hash;
    std::uint32_t begin;  // In `addresses` and `modules`.
    std::uint32_t depth;
  };
  struct site_table {
    std::array<std::atomic<std::uint32_t>, slots>
        numbers;  // By hash, or in the next free slot behind; 0: none.
    std::array<stack_record, most_stacks> stacks;
    std::array<std::uintptr_t, most_places> addresses;
    std::array<std::uint16_t, most_places> modules;
    std::uint32_t stack_count;
    std::uint32_t place_count;
    std::uint32_t encoded_stacks;
    std::uint32_t encoded_modules;
    std::atomic<bool> is_full;
  };

  [[nodiscard]] std::uint32_t find(std::uint64_t hash, std::span<const std::uintptr_t> stack) const noexcept;
  [[nodiscard]] std::uint32_t add(std::uint64_t hash, std::span<const std::uintptr_t> stack,
                                  std::span<const std::uint16_t> modules) noexcept;
  [[nodiscard]] std::byte* put_module(std::byte* to, std::uint16_t number) const noexcept;
  [[nodiscard]] std::byte* put_stack(std::byte* to, const stack_record& stack) const noexcept;

  module_table modules_;
  yielding_lock lock_;
  zeroed_pages<site_table> table_;
};

static_assert(call_sites::deepest_stack <= trace_deepest_stack);

}  // namespace cistern::detail
