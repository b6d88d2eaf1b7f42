// export_file: a file that figures go to.
#pragma once

#include <fstream>
#include <string>

namespace cistern::tool {

/// Opened before long work begins, and written after it.
class export_file {
 public:
  /// None is wanted if `path` is empty. Throws `std::runtime_error` if it can't be opened.
  explicit export_file(const std::string& path);

  [[nodiscard]] bool is_wanted() const { return !path_.empty(); }
  /// Throws `std::runtime_error`. Nothing if none is wanted.
  void write(const std::string& text);

 private:
  std::string path_;
  std::ofstream out_;
};

}  // namespace cistern::tool
