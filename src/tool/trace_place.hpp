// trace_place: where a trace is to be written, and what was there before.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "file_beside.hpp"

namespace cistern::tool {

/// The library writes new files only, so an old trace has to go; but it comes back where no new one is to
/// come.
class trace_place {
 public:
  /// Sets an old trace aside. Throws `std::runtime_error` or `std::system_error` if the file can't be made,
  /// or is something that must stay: no regular file, or that of `program`.
  trace_place(std::filesystem::path output, const std::string& program);
  /// Puts the old trace back.
  ~trace_place();
  trace_place(const trace_place&) = delete;
  trace_place& operator=(const trace_place&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return output_; }

  /// Removes the old trace: there is a program now, which writes a new one.
  void forget_old() noexcept { old_.reset(); }

 private:
  std::filesystem::path output_;
  std::optional<file_beside> old_;
};

}  // namespace cistern::tool
