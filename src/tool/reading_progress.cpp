#include "reading_progress.hpp"

#include <cstddef>
#include <filesystem>
#include <system_error>
#include <utility>

namespace cistern::tool {

constexpr std::size_t reading_steps = 20;

reading_progress::reading_progress(const std::string& path, std::string what) : what_(std::move(what)) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return;
  const std::uintmax_t bytes = std::filesystem::file_size(path, error);
  if (error) return;
  step_bytes_ = bytes / reading_steps + 1;
  next_bytes_ = 0;
  line_.emplace(reading_steps);
}

void reading_progress::step(std::uint64_t offset_bytes) {
  while (next_bytes_ <= offset_bytes) {
    line_->step(what_);
    next_bytes_ += step_bytes_;
  }
}

}  // namespace cistern::tool
