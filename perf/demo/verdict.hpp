// verdict: in which respects one taker is better than others, and in which worse, as sentences.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace demo {

class verdict {
 public:
  explicit verdict(std::string name) : name_(std::move(name)) {}

  /// Less is better. What differs by 3 % or less, or by no more than `too_little`, is alike.
  void add(const std::string& measure, double mine, double theirs, const std::string& whose,
           double too_little = 0);

  void print(std::ostream& out) const;

 private:
  struct line {
    std::string measure;
    std::string comparisons;
  };
  using lines = std::vector<line>;

  static void append(lines& to, const std::string& measure, const std::string& comparison);

  std::string name_;
  lines better_;
  lines alike_;
  lines worse_;
};

}  // namespace demo
