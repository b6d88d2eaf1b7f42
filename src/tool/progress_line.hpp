// progress_line: how far long work has come, on a terminal.
#pragma once

#include <cstddef>
#include <string>

namespace cistern::tool {

/// A bar on standard error, drawn anew at each step and taken away at the end. Silent where that is no
/// terminal.
class progress_line {
 public:
  explicit progress_line(std::size_t steps);
  progress_line(const progress_line&) = delete;
  progress_line& operator=(const progress_line&) = delete;
  ~progress_line();

  /// Begins the next step.
  void step(const std::string& what);

 private:
  bool is_shown_;
  std::size_t steps_;
  std::size_t done_ = 0;
};

}  // namespace cistern::tool
