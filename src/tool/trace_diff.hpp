// trace_diff: what two traces differ in, by size and by call site.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "trace_sums.hpp"

namespace cistern::tool {

/// What the differences are sorted by, the largest first.
enum class diff_order { bytes, calls, peak, live };

/// The same in both traces.
struct diff_row {
  std::string name;  ///< Of sizes "33 - 64"; of a call site its stack, a line for each place.
  allocation_sums before;
  allocation_sums after;
};

struct trace_diff {
  diff_row all;
  std::vector<diff_row> by_size;  ///< From small to large.
  /// Stacks of the same functions are one, wherever those lie. Only what differs, by the order.
  std::vector<diff_row> by_site;
  bool has_stacks = false;  ///< Both have.
};

[[nodiscard]] trace_diff difference(const summed_trace& before, const summed_trace& after, diff_order order);

/// At most `most_sites` of those of which there is more, and as many of those of which there is less.
[[nodiscard]] std::string as_text(const trace_diff& diff, diff_order order, std::size_t most_sites);
[[nodiscard]] std::string as_json(const trace_diff& diff);

}  // namespace cistern::tool
