// this_program: the program that is running, run again.
#pragma once

#include <string>
#include <vector>

namespace cistern::tool {

/// Begins anew with these arguments, in the same process. Returns where that fails.
void become_this_program(const std::vector<std::string>& arguments) noexcept;

/// What this program writes to standard output when it is run with these arguments in a process of its own,
/// as fresh as a process can be. Throws `std::system_error`, and `std::runtime_error` if it fails.
[[nodiscard]] std::string output_of_this_program(const std::vector<std::string>& arguments);

}  // namespace cistern::tool
