// progress: one line on stderr that says what is being done, rewritten in place on a terminal.
#pragma once

#include <string>

namespace perf {

/// On a terminal the line is overwritten by the next one; elsewhere each `stage` gets one line of its own.
class progress {
 public:
  progress();
  ~progress() { clear(); }
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;

  /// A new stage, for example "3 of 34: pair/64B".
  void stage(const std::string& text);
  /// What the stage is doing now; shown on terminals only.
  void step(const std::string& text);
  /// Takes the line away, before other output.
  void clear();

 private:
  void show(const std::string& text);

  bool terminal_;
  std::string stage_;
};

}  // namespace perf
