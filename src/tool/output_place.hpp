// output_place: where a trace is to be written, and what was there before.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "file_beside.hpp"

namespace cistern::tool {

/// The library writes new files only, so an old trace has to go; but it comes back where no new one is to
/// come.
class output_place {
 public:
  /// Sets an old trace aside. Throws `std::runtime_error` or `std::system_error` if the file can't be made,
  /// or is something that must stay: no regular file, or that of `program`.
  output_place(std::filesystem::path output, const std::string& program);
  /// Puts the old trace back.
  ~output_place();
  output_place(const output_place&) = delete;
  output_place& operator=(const output_place&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return output_; }

  /// Removes the old trace: there is a program now, which writes a new one.
  void forget_old() noexcept { old_.reset(); }

 private:
  std::filesystem::path output_;
  std::optional<file_beside> old_;
};

}  // namespace cistern::tool
