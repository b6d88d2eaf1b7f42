// memory_plot: memory over time, as rows of bars for a terminal and as an SVG picture.
#pragma once

#include <cstddef>
#include <iosfwd>
#include <string>
#include <vector>

namespace demo {

struct memory_line {
  std::string name;
  std::vector<std::size_t> bytes;
  bool sets_scale = true;  ///< Otherwise it is cut off where it is above all those that do.
};

struct memory_plot {
  double seconds = 0;  ///< What the lines span.
  double quiet_from_second = 0;
  std::vector<memory_line> lines;  ///< All with as many values.

  [[nodiscard]] std::size_t top_bytes() const;  ///< The top of the scale.
};

/// Whether text for stdout may have block characters: it is a terminal whose locale is UTF-8.
[[nodiscard]] bool stdout_shows_blocks();

/// Each line as bars, one column for each value, on the same scale.
void print_bars(std::ostream& out, const memory_plot& plot, bool block_characters);

/// A picture of all lines in one diagram, readable without colour, on light and dark pages.
void write_svg(std::ostream& out, const memory_plot& plot, const std::string& title);

}  // namespace demo
