#include "support/command_line.hpp"

#include <algorithm>
#include <cstddef>
#include <exception>
#include <iostream>
#include <string_view>

namespace perf {
namespace {

const own_option* find_option(const std::vector<own_option>& options, std::string_view argument) {
  const std::string_view name = argument.substr(0, argument.find('='));
  const auto found = std::find_if(options.begin(), options.end(), [&](const own_option& each) {
    return name.starts_with("--") && name.substr(2) == each.name;
  });
  return found != options.end() ? &*found : nullptr;
}

/// The value of `option`, which stands at `index`, or behind it, which is then the next.
std::string value_of(const own_option& option, int& index, int count, char** values) {
  const std::string argument = values[index];
  const std::size_t equals = argument.find('=');
  if (option.value_name.empty()) {
    if (equals != std::string::npos) throw usage_error("--" + option.name + " takes no value");
    return {};
  }
  if (equals != std::string::npos) return argument.substr(equals + 1);
  if (++index == count) throw usage_error("--" + option.name + " needs a value");
  return values[index];
}

}  // namespace

std::vector<char*> take_options(const std::vector<own_option>& options, int count, char** values) {
  std::vector<char*> others{values[0]};
  bool taking = true;
  for (int i = 1; i < count; ++i) {
    taking = taking && std::string_view(values[i]) != "--";
    if (const own_option* option = taking ? find_option(options, values[i]) : nullptr; option != nullptr) {
      option->take(value_of(*option, i, count, values));
    } else {
      others.push_back(values[i]);
    }
  }
  return others;
}

std::string describe(const std::vector<own_option>& options) {
  std::string text = options.empty() ? "" : "\nOptions:\n\n";
  for (const own_option& each : options) {
    text += "  --" + each.name + (each.value_name.empty() ? "" : "=" + each.value_name) + "\n      " +
            each.help + '\n';
  }
  return text;
}

int run_program(const std::string& name, const std::function<int()>& body) {
  try {
    return body();
  } catch (const usage_error& error) {
    std::cerr << name << ": " << error.what() << "\nTry " << name << " --help.\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << name << ": " << error.what() << '\n';
    return 1;
  }
}

}  // namespace perf
