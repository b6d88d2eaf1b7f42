#include "support/command_line.hpp"

#include <exception>
#include <iostream>
#include <utility>

namespace perf {

bool arguments::next() {
  if (next_ == all_.size()) return false;
  ++next_;
  return true;
}

std::string arguments::value() {
  const std::string& option = current();
  if (!next()) throw usage_error(option + " needs a value");
  return current();
}

std::size_t arguments::number(std::size_t most) {
  const std::string& option = current();
  const std::string text = value();
  const bool digits =
      !text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == std::string::npos;
  const std::size_t number = digits ? std::stoul(text) : 0;
  if (number == 0 || number > most) {
    throw usage_error(option + " needs a number from 1 to " + std::to_string(most) + ", not \"" + text + '"');
  }
  return number;
}

std::vector<std::string> arguments::list() {
  const std::string text = value();
  std::vector<std::string> parts;
  std::size_t start = 0;
  for (std::size_t comma = 0; comma != std::string::npos; start = comma + 1) {
    comma = text.find(',', start);
    if (std::string part = text.substr(start, comma - start); !part.empty()) parts.push_back(std::move(part));
  }
  return parts;
}

void arguments::refuse_unknown() const {
  throw usage_error("unknown option " + current());
}

int run_program(const std::string& name, const std::function<int()>& body,
                const std::function<void(std::ostream&)>& print_hint) {
  try {
    return body();
  } catch (const usage_error& error) {
    std::cerr << name << ": " << error.what() << '\n';
    print_hint(std::cerr);
    return 2;
  } catch (const std::exception& error) {
    std::cerr << name << ": " << error.what() << '\n';
    return 1;
  }
}

}  // namespace perf
