#include "support/progress.hpp"

#include <iostream>

#include <unistd.h>

namespace perf {

progress::progress() : terminal_(::isatty(STDERR_FILENO) != 0) {}

void progress::stage(const std::string& text) {
  stage_ = text;
  terminal_ ? show(text) : static_cast<void>(std::cerr << text << std::endl);
}

void progress::step(const std::string& text) {
  if (terminal_) show(stage_ + ": " + text);
}

void progress::clear() {
  if (terminal_) std::cerr << "\r\033[K" << std::flush;
}

void progress::show(const std::string& text) {
  std::cerr << "\r\033[K" << text << std::flush;
}

}  // namespace perf
