#include "output_place.hpp"

#include <cerrno>
#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace cistern::tool {
namespace {

/// The file that `execvp` would run; empty if there is none.
[[nodiscard]] std::filesystem::path file_of_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* const places = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): there is one thread
  std::istringstream folders(places != nullptr ? places : "/bin:/usr/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::filesystem::path file = std::filesystem::path(folder) / name;
    std::error_code error;
    if (std::filesystem::is_regular_file(file, error) && ::access(file.c_str(), X_OK) == 0) return file;
  }
  return {};
}

/// Throws if there can't be such a file.
void try_to_make(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0)
    throw std::system_error(errno, std::generic_category(), "cannot write " + path.string());
  ::close(descriptor);
  std::filesystem::remove(path);
}

}  // namespace

output_place::output_place(std::filesystem::path output, const std::string& program)
    : output_(std::move(output)) {
  const auto status = std::filesystem::symlink_status(output_);
  if (!std::filesystem::exists(status)) {
    try_to_make(output_);
    return;
  }
  const std::string next_step = ": give the trace another name by -o";
  if (!std::filesystem::is_regular_file(status)) {
    throw std::runtime_error(output_.string() + " is there, and is no regular file" + next_step);
  }
  std::error_code error;
  if (std::filesystem::equivalent(output_, file_of_program(program), error)) {
    throw std::runtime_error(output_.string() + " is the program itself" + next_step);
  }
  old_.emplace(output_);
  std::filesystem::rename(output_, old_->path());
}

output_place::~output_place() {
  try {
    if (old_) old_->take_place();
  } catch (const std::filesystem::filesystem_error&) {
    // Somebody has taken the folder away.
  }
}

}  // namespace cistern::tool
