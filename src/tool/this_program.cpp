#include "this_program.hpp"

#include <stdexcept>
#include <utility>

#include "child_output.hpp"
#include <sys/wait.h>
#include <unistd.h>

namespace cistern::tool {

void become_this_program(const std::vector<std::string>& arguments) noexcept {
  std::vector<char*> pointers{const_cast<char*>("cistern-trace")};
  for (const std::string& each : arguments) pointers.push_back(const_cast<char*>(each.c_str()));
  pointers.push_back(nullptr);
  ::execv("/proc/self/exe", pointers.data());
}

std::string output_of_this_program(const std::vector<std::string>& arguments) {
  child_output child = output_of_child([&](int output) {
    ::dup2(output, STDOUT_FILENO);
    become_this_program(arguments);
  });
  const int status = child.status;
  if (status != 0) {
    throw std::runtime_error("the process that was to measure memory " +
                             (WIFSIGNALED(status) ? "was ended by signal " + std::to_string(WTERMSIG(status))
                                                  : "failed with " + std::to_string(WEXITSTATUS(status))));
  }
  return std::move(child.text);
}

}  // namespace cistern::tool
