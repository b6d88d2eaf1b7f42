#include "export_file.hpp"

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <system_error>

#include <unistd.h>

namespace cistern::tool {
namespace {

/// As far as can be told without a change to it.
[[nodiscard]] bool is_writable(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    return !std::filesystem::is_directory(path, error) && ::access(path.c_str(), W_OK) == 0;
  }
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  return path.has_filename() && std::filesystem::is_directory(folder, error) &&
         ::access(folder.c_str(), W_OK | X_OK) == 0;
}

}  // namespace

export_file::export_file(const std::string& path) : path_(path) {
  if (!path_.empty() && !is_writable(path_)) throw std::runtime_error("cannot write " + path_);
}

void export_file::write(const std::string& text) const {
  if (path_.empty()) return;
  std::ofstream out(path_, std::ios::binary);
  if (!(out << text << std::flush)) throw std::runtime_error("cannot write " + path_);
}

}  // namespace cistern::tool
