#include "output_check.hpp"

#include <filesystem>
#include <system_error>

#include "usage_error.hpp"

namespace cistern::tool {
namespace {

[[nodiscard]] bool are_same_file(const std::string& one, const std::string& other) {
  if (one.empty() || other.empty()) return false;
  std::error_code error;
  if (std::filesystem::exists(one, error)) {
    return std::filesystem::is_regular_file(one, error) && std::filesystem::equivalent(one, other, error);
  }
  // Neither is there yet.
  const std::filesystem::path path = std::filesystem::weakly_canonical(one, error);
  return !error && path == std::filesystem::weakly_canonical(other, error) && !error;
}

void check_output(const named_path& output, const named_path& other, const std::string& other_path) {
  if (!are_same_file(output.path, other_path)) return;
  throw usage_error(output.name + " is the same file as " + other.name + ": " + output.path);
}

}  // namespace

void check_outputs(const std::vector<named_path>& inputs, const std::vector<named_path>& outputs) {
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    for (const named_path& input : inputs) {
      check_output(outputs[i], input, input.path == "-" ? "/dev/stdin" : input.path);
    }
    for (std::size_t j = 0; j < i; ++j) check_output(outputs[i], outputs[j], outputs[j].path);
  }
}

}  // namespace cistern::tool
