#include "demo/corpus.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>

namespace demo {
namespace {

namespace fs = std::filesystem;

bool skipped_folder(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with('.') || name == "build" || name == "node_modules";
}

std::vector<fs::path> files_under(const fs::path& folder) {
  std::vector<fs::path> files;
  fs::recursive_directory_iterator entry(folder, fs::directory_options::skip_permission_denied);
  for (; entry != fs::recursive_directory_iterator(); ++entry) {
    std::error_code ignored;
    if (entry->is_directory(ignored) && skipped_folder(entry->path())) {
      entry.disable_recursion_pending();
    } else if (entry->is_regular_file(ignored) && !entry->is_symlink(ignored)) {
      files.push_back(entry->path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// The whole file, or an empty string if it can't be read or isn't text.
std::string read_text(const fs::path& file) {
  std::ifstream input(file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(input), std::istreambuf_iterator<char>()};
  if (!input || text.find('\0') != std::string::npos) text.clear();
  return text;
}

}  // namespace

corpus read_corpus(const fs::path& folder, std::size_t max_bytes) {
  if (!fs::is_directory(folder)) throw std::runtime_error(folder.string() + " isn't a folder");
  corpus result;
  for (const fs::path& file : files_under(folder)) {
    std::error_code unreadable;
    const auto file_bytes = fs::file_size(file, unreadable);
    if (unreadable || file_bytes == 0) continue;
    if (file_bytes > max_bytes - result.bytes) {
      result.cut_off = true;
      continue;
    }
    std::string text = read_text(file);
    if (text.empty()) continue;
    result.bytes += std::min<std::size_t>(text.size(), max_bytes - result.bytes);
    result.texts.push_back(std::move(text));
  }
  if (result.texts.empty()) {
    throw std::runtime_error(folder.string() +
                             (result.cut_off ? " holds only files above the size limit" : " holds no text"));
  }
  return result;
}

}  // namespace demo
