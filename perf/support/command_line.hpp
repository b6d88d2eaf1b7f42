// command_line: the options of a benchmark, and how its program ends.
#pragma once

#include <cstddef>
#include <functional>
#include <iosfwd>
#include <stdexcept>
#include <string>
#include <vector>

namespace perf {

/// A mistake on the command line: message on stderr, exit status 2.
struct usage_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What was given to the program, one after the other.
class arguments {
 public:
  /// As `main` has them; without the program's name.
  arguments(int count, char** values) : all_(values + 1, values + count) {}

  /// Goes to the next one; false where there is none.
  [[nodiscard]] bool next();
  /// Where `next` has gone: an option, or what stands by itself.
  [[nodiscard]] const std::string& current() const { return all_[next_ - 1]; }

  /// What follows the current option. Throws `usage_error`, as do the next ones.
  std::string value();
  std::size_t number(std::size_t most);  ///< From 1 to `most`.
  std::vector<std::string> list();       ///< Of what stands between commas, without what is empty.

  [[noreturn]] void refuse_unknown() const;

  [[nodiscard]] const std::vector<std::string>& all() const { return all_; }

 private:
  std::vector<std::string> all_;
  std::size_t next_ = 0;
};

/// The program's exit status: `body`'s; 2 for a `usage_error`, after which `print_hint` says how it is done;
/// 1 for any other exception. Messages go to stderr, after `name`.
int run_program(const std::string& name, const std::function<int()>& body,
                const std::function<void(std::ostream&)>& print_hint);

}  // namespace perf
