#include "file_beside.hpp"

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace cistern::tool {

/// The name is short: that of the other may be as long as a name can be.
file_beside::file_beside(std::filesystem::path other) : other_(std::move(other)) {
  const std::string prefix = ".cistern-trace." + std::to_string(::getpid()) + ".";
  for (unsigned number = 1;; ++number) {
    path_ = other_;
    path_.replace_filename(prefix + std::to_string(number));
    const int descriptor = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor >= 0) {
      ::close(descriptor);
      return;
    }
    if (errno != EEXIST) {
      throw std::system_error(errno, std::generic_category(), "cannot write " + other_.string());
    }
  }
}

file_beside::~file_beside() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove(path_, ignored);
}

void file_beside::take_place() {
  std::filesystem::rename(path_, other_);
  path_.clear();
}

}  // namespace cistern::tool
