// site_profile: what becomes of the blocks of a trace, by the call site that made them.
#pragma once

#include <cistern/adaptor/trace_reader.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory_resource>
#include <optional>
#include <vector>

#include "growth_finder.hpp"

namespace cistern::detail {

/// The call site that a stack is at: a number from 0 on, and how many places of the stack lie further in,
/// such as those of the runtime library.
struct stack_site {
  std::uint32_t site = 0;
  std::uint32_t inner_places = 0;
};

/// Counts by power of two: a number of so many binary digits is counted there.
using power_counts = std::array<std::uint64_t, 65>;

/// What was made at one call site.
struct site_facts {
  std::uint64_t stack = 0;  ///< The first that led there; 0: none is known.
  std::uint64_t allocations = 0;
  std::uint64_t frees = 0;
  std::uint64_t requested_bytes = 0;
  std::uint64_t largest_bytes = 0;
  std::uint64_t live_blocks = 0;  ///< At the end.
  std::uint64_t live_bytes = 0;
  std::uint64_t peak_blocks = 0;
  std::uint64_t peak_bytes = 0;   ///< As asked for.
  std::uint64_t temporaries = 0;  ///< Freed by their thread before it allocated anything else.
  std::uint64_t locals = 0;       ///< These, and those that the function which made them freed soon.
  std::uint64_t handed_over = 0;  ///< Freed by another thread.
  std::uint64_t thread = 0;       ///< The first that allocated here.
  bool has_threads = false;       ///< Others did too, or freed.
  power_counts sizes{};           ///< Allocations by bytes.
  power_counts lifetimes{};       ///< Frees by nanoseconds since the allocation.
  growth_facts growth{};

  [[nodiscard]] std::uint64_t calls() const noexcept { return allocations + frees; }
};

/// Blocks that one thread made and another freed.
struct hand_over {
  std::uint64_t from_thread = 0;
  std::uint64_t to_thread = 0;
  std::uint64_t blocks = 0;
  std::uint64_t bytes = 0;

  friend bool operator==(const hand_over&, const hand_over&) = default;
};

/// A whole trace.
struct trace_profile {
  std::pmr::vector<site_facts> sites;      ///< By number; without stacks there is one.
  std::pmr::vector<hand_over> hand_overs;  ///< Most blocks first.
  std::pmr::vector<bool> replaced;         ///< By block: a step of a growth that others followed.
  std::pmr::vector<bool> locals;           ///< By block: counted in `site_facts::locals`.
  std::uint64_t allocations = 0;
  std::uint64_t calls = 0;
  double program_calls = 0;  ///< That the program made: more than there are in a trace of samples.
  std::uint64_t threads = 0;
  std::uint64_t requested_bytes = 0;
  std::uint64_t peak_bytes = 0;
  std::uint64_t left_live = 0;
  std::chrono::nanoseconds duration{};  ///< Up to the last call; 0 if no times were taken.
  bool has_stacks = false;
  std::optional<trace_error> cut{};  ///< Where the trace was cut off.
};

/// Looks through what is left of a trace. `site_of` is asked once for each stack, and once for 0; sites are
/// numbered as they are met. `memory` null means new/delete. Throws `trace_error` and `std::bad_alloc`; a
/// trace that was cut off is taken as far as it goes, unless there is nothing in it. O(events); a few words
/// for each live block.
[[nodiscard]] trace_profile profile_sites(trace_reader& trace,
                                          const std::function<stack_site(std::uint64_t stack)>& site_of,
                                          std::pmr::memory_resource* memory = nullptr);

}  // namespace cistern::detail
