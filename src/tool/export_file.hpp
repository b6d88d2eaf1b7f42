// export_file: a file that figures go to.
#pragma once

#include <string>

namespace cistern::tool {

/// Looked at before long work begins, and opened and written after it: what was there stays until then.
class export_file {
 public:
  /// None is wanted if `path` is empty. Throws `std::runtime_error` if it can't be written.
  explicit export_file(const std::string& path);

  [[nodiscard]] bool is_wanted() const { return !path_.empty(); }
  /// Throws `std::runtime_error`. Nothing if none is wanted.
  void write(const std::string& text) const;

 private:
  std::string path_;
};

}  // namespace cistern::tool
