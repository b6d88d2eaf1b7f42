#include "demo/memory_plot.hpp"

#include <algorithm>
#include <array>
#include <clocale>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <ostream>
#include <string_view>

#include "demo/text.hpp"
#include <langinfo.h>
#include <unistd.h>

namespace demo {
namespace {

constexpr std::size_t bar_rows = 2;
constexpr std::size_t name_width = 16;

/// What a cell of a bar looks like, from empty to full.
using cells = std::vector<std::string_view>;

const cells& cells_for(bool block_characters) {
  static const cells blocks{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  static const cells plain{" ", ".", ":", "#"};
  return block_characters ? blocks : plain;
}

/// The part of a bar of `value`, out of `top`, that lies in row `row` from below.
std::string_view cell(std::size_t value, std::size_t top, std::size_t row, const cells& shapes) {
  const double steps = static_cast<double>(shapes.size() - 1);
  const double height = static_cast<double>(value) / static_cast<double>(top) * bar_rows * steps;
  // What isn't nothing shows.
  const double shown = value == 0 ? 0 : std::max(std::round(height), 1.0);
  return shapes[static_cast<std::size_t>(std::clamp(shown - static_cast<double>(row) * steps, 0.0, steps))];
}

std::string seconds_text(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", seconds);
  return text;
}

/// The axis under the bars: when the quiet begins, and the end.
std::string axis(const memory_plot& plot, std::size_t columns) {
  std::string line(columns + 8, ' ');
  const auto put = [&line](double place, const std::string& text) {
    line.replace(static_cast<std::size_t>(place), text.size(), text);
  };
  put(0, "^ 0 s");
  put(static_cast<double>(columns) * plot.quiet_from_second / plot.seconds,
      "^ " + seconds_text(plot.quiet_from_second) + ": quiet from here");
  const std::string end = seconds_text(plot.seconds) + " ^";
  put(static_cast<double>(columns - end.size()), end);
  return line.substr(0, columns);
}

// The picture's measures, in its own units.
constexpr double width = 900;
constexpr double height = 400;
constexpr double left = 70;
constexpr double right = 700;
constexpr double above = 50;
constexpr double below = 350;
constexpr double label_height = 15;

struct look {
  const char* light;
  const char* dark;
  const char* dashes;
};

// Told apart by their dashes where there is no colour.
constexpr std::array<look, 7> looks{{{"#767676", "#9a9a9a", "1 3"},
                                     {"#a15c00", "#e8a33d", "8 3"},
                                     {"#7a3e9d", "#c79be0", "2 2"},
                                     {"#b3261e", "#ff8a80", "10 3 2 3"},
                                     {"#0b57d0", "#8ab4f8", "none"},
                                     {"#00695c", "#5fd3c0", "14 4"},
                                     {"#444444", "#cccccc", "4 6"}}};

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

double y_of(const memory_plot& plot, double bytes) {
  const double share = std::min(bytes / static_cast<double>(plot.top_bytes()), 1.0);
  return below - share * (below - above);
}

double x_of(const memory_plot& plot, double second) {
  return left + second / plot.seconds * (right - left);
}

void write_style(std::ostream& out, std::size_t lines) {
  out << "<style>\n.page{fill:#fff}text{font:13px "
         "sans-serif;fill:#222}.title{font-size:15px;font-weight:bold}\n"
         ".axis{stroke:#888;stroke-width:1}.grid{stroke:#ddd;stroke-width:1}\n"
         "polyline{fill:none;stroke-width:2;stroke-linejoin:round}.leader{stroke-width:1}\n";
  for (std::size_t i = 0; i < lines; ++i) {
    const look& its = looks[i % looks.size()];
    out << ".l" << i << "{stroke:" << its.light << ";stroke-dasharray:" << its.dashes << "}\n";
  }
  out << "@media(prefers-color-scheme:dark){.page{fill:#16181c}text{fill:#ddd}.grid{stroke:#333}\n";
  for (std::size_t i = 0; i < lines; ++i) {
    out << ".l" << i << "{stroke:" << looks[i % looks.size()].dark << "}\n";
  }
  out << "}\n</style>\n";
}

void write_axes(std::ostream& out, const memory_plot& plot) {
  constexpr int steps = 4;
  for (int step = 0; step <= steps; ++step) {
    const double bytes = static_cast<double>(plot.top_bytes()) * step / steps;
    const std::string y = number(y_of(plot, bytes));
    out << "<line class=\"grid\" x1=\"" << left << "\" x2=\"" << right << "\" y1=\"" << y << "\" y2=\"" << y
        << "\"/><text x=\"" << left - 8 << "\" y=\"" << y << "\" text-anchor=\"end\" dy=\"4\">"
        << std::lround(bytes / (1 << 20)) << " MiB</text>\n";
  }
  for (const double second : {0.0, plot.quiet_from_second, plot.seconds}) {
    out << "<text x=\"" << number(x_of(plot, second)) << "\" y=\"" << below + 20
        << "\" text-anchor=\"middle\">" << seconds_text(second) << "</text>\n";
  }
  const std::string quiet = number(x_of(plot, plot.quiet_from_second));
  out << "<line class=\"axis\" stroke-dasharray=\"3 3\" x1=\"" << quiet << "\" x2=\"" << quiet << "\" y1=\""
      << above << "\" y2=\"" << below << "\"/><text x=\"" << quiet << "\" y=\"" << above - 8
      << "\">quiet from here</text>\n";
}

/// Where the names stand: at the ends of the lines, but not on top of one another.
std::vector<double> label_places(const memory_plot& plot) {
  std::vector<std::size_t> order(plot.lines.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto end = [&plot](std::size_t line) {
    return y_of(plot, static_cast<double>(plot.lines[line].bytes.back()));
  };
  std::sort(order.begin(), order.end(), [&](std::size_t one, std::size_t other) {
    return plot.lines[one].bytes.back() < plot.lines[other].bytes.back();
  });
  std::vector<double> places(order.size());
  double lowest_free = below;
  for (const std::size_t line : order) {
    places[line] = std::min(end(line), lowest_free);
    lowest_free = places[line] - label_height;
  }
  return places;
}

void write_line(std::ostream& out, const memory_plot& plot, std::size_t index, double label_place) {
  const memory_line& line = plot.lines[index];
  out << "<polyline class=\"l" << index << "\" points=\"" << left << ',' << below << ' ';
  const double seconds_each = plot.seconds / static_cast<double>(line.bytes.size());
  double second = 0;
  for (const std::size_t bytes : line.bytes) {
    second += seconds_each;
    out << number(x_of(plot, second)) << ',' << number(y_of(plot, static_cast<double>(bytes))) << ' ';
  }
  out << "\"/>\n<line class=\"leader l" << index << "\" x1=\"" << right << "\" x2=\"" << right + 22
      << "\" y1=\"" << number(y_of(plot, static_cast<double>(line.bytes.back()))) << "\" y2=\""
      << number(label_place) << "\"/><text x=\"" << right + 26 << "\" dy=\"4\" y=\"" << number(label_place)
      << "\">" << line.name << ", " << human_bytes(line.bytes.back())
      << (line.bytes.back() > plot.top_bytes() ? " ↑" : "") << "</text>\n";
}

}  // namespace

std::size_t memory_plot::top_bytes() const {
  constexpr std::size_t step = std::size_t{4} << 20U;  // so that all four marks of an axis are whole MiB
  std::size_t most = 1;
  for (const memory_line& line : lines) {
    if (line.sets_scale) most = std::max(most, *std::max_element(line.bytes.begin(), line.bytes.end()));
  }
  return (most + step - 1) / step * step;
}

bool stdout_shows_blocks() {
  std::setlocale(LC_CTYPE, "");
  return ::isatty(STDOUT_FILENO) != 0 && std::strcmp(::nl_langinfo(CODESET), "UTF-8") == 0;
}

void print_bars(std::ostream& out, const memory_plot& plot, bool block_characters) {
  const cells& shapes = cells_for(block_characters);
  const std::size_t top = plot.top_bytes();
  for (const memory_line& line : plot.lines) {
    for (std::size_t row = bar_rows; row-- > 0;) {
      const std::string name = row == 0 ? line.name : "";
      out << name << std::string(name_width - name.size(), ' ') << '|';
      for (const std::size_t bytes : line.bytes) out << cell(bytes, top, row, shapes);
      out << '|' << (row == 0 ? ' ' + human_bytes(line.bytes.back()) : "") << '\n';
    }
  }
  out << std::string(name_width + 1, ' ') << axis(plot, plot.lines.front().bytes.size()) << '\n';
}

void write_svg(std::ostream& out, const memory_plot& plot, const std::string& title) {
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << width << ' ' << height
      << "\" role=\"img\">\n<title>" << title << "</title>\n";
  write_style(out, plot.lines.size());
  out << "<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n<text class=\"title\" x=\"" << left
      << "\" y=\"22\">" << title << "</text>\n";
  write_axes(out, plot);
  const std::vector<double> labels = label_places(plot);
  for (std::size_t i = 0; i < plot.lines.size(); ++i) write_line(out, plot, i, labels[i]);
  out << "<text x=\"" << left << "\" y=\"" << below + 42
      << "\">Memory that the job added to its process. ↑: goes on above the picture.</text>\n</svg>\n";
}

}  // namespace demo
