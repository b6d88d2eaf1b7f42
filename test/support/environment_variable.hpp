// environment_variable: sets one for as long as a scope lasts.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

namespace cistern::test_support {

/// No other thread may use the environment when this begins and ends.
class environment_variable {
 public:
  /// `value` null: not set at all.
  environment_variable(std::string name, const char* value) : name_(std::move(name)) {
    if (const char* before = std::getenv(name_.c_str())) before_ = before;
    set(value);
  }
  environment_variable(const environment_variable&) = delete;
  environment_variable& operator=(const environment_variable&) = delete;
  ~environment_variable() { set(before_ ? before_->c_str() : nullptr); }

 private:
  void set(const char* value) const {
    value != nullptr ? ::setenv(name_.c_str(), value, 1) : ::unsetenv(name_.c_str());
  }

  std::string name_;
  std::optional<std::string> before_;
};

}  // namespace cistern::test_support
