// file_beside: a new file in the folder of another, whose place it may take once it is whole.
#pragma once

#include <filesystem>

namespace cistern::tool {

/// Has a name that no file had before, so that nobody else's is written over. Removed at the end, unless it
/// has taken the other's place.
class file_beside {
 public:
  /// Creates it, empty. Throws `std::system_error` if it can't be, as in a folder that isn't there.
  explicit file_beside(std::filesystem::path other);
  ~file_beside();
  file_beside(const file_beside&) = delete;
  file_beside& operator=(const file_beside&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

  /// From here on it is the other. Throws `std::filesystem::filesystem_error`: then both are as they were.
  void take_place();

 private:
  std::filesystem::path other_;
  std::filesystem::path path_;  // Empty once it is the other.
};

}  // namespace cistern::tool
