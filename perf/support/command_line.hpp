// command_line: the options of a program of ours, and how it ends.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace perf {

/// A mistake on the command line: message on stderr, exit status 2.
struct usage_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// --NAME, or --NAME=VALUE, or --NAME VALUE.
struct own_option {
  std::string name;
  std::string value_name;  ///< Empty: the option takes no value.
  std::string help;
  std::function<void(const std::string& value)> take;
};

/// Takes these options and returns the other arguments, and all that stands behind "--". Throws
/// `usage_error`.
[[nodiscard]] std::vector<char*> take_options(const std::vector<own_option>& options, int count,
                                              char** values);

/// For --help; two lines for each.
[[nodiscard]] std::string describe(const std::vector<own_option>& options);

/// The program's exit status: `body`'s; 2 for a `usage_error`, 1 for any other exception. Messages go to
/// stderr, after `name`.
int run_program(const std::string& name, const std::function<int()>& body);

}  // namespace perf
