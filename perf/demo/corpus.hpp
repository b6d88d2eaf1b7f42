// corpus: the text files of a folder, read into memory in a fixed order.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace demo {

struct corpus {
  std::vector<std::string> texts;  ///< One per file, in order of path.
  std::size_t bytes = 0;
  bool cut_off = false;  ///< There was more than `max_bytes`.
};

/// Reads the regular files under `folder`, in order of path, until `max_bytes` are read. Leaves out hidden
/// and build folders, and files that aren't text (those with a zero byte). A file that can't be read is
/// left out. Throws `std::runtime_error` if `folder` isn't a folder, can't be read, or holds no text.
[[nodiscard]] corpus read_corpus(const std::filesystem::path& folder, std::size_t max_bytes);

}  // namespace demo
