#include "progress_line.hpp"

#include <algorithm>
#include <iostream>

#include <unistd.h>

namespace cistern::tool {

progress_line::progress_line(std::size_t steps) : is_shown_(::isatty(STDERR_FILENO) != 0), steps_(steps) {}

progress_line::~progress_line() {
  if (is_shown_) std::cerr << "\r\033[K" << std::flush;
}

void progress_line::step(const std::string& what) {
  constexpr std::size_t width = 20;
  const std::size_t filled = std::min(done_++, steps_) * width / std::max<std::size_t>(steps_, 1);
  if (!is_shown_) return;
  std::cerr << "\r\033[K[" << std::string(filled, '#') << std::string(width - filled, '.') << "] " << what
            << std::flush;
}

}  // namespace cistern::tool
