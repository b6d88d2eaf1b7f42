// trace_file: an open file that a trace is written to or read from.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

namespace cistern::detail {

/// Knows its name for messages: whatever fails throws `std::system_error` with it.
class trace_file {
 public:
  /// `flags`: of `open`.
  trace_file(const std::filesystem::path& path, int flags);
  trace_file(const trace_file&) = delete;
  trace_file& operator=(const trace_file&) = delete;
  /// Closes it. That this fails is lost here.
  ~trace_file();

  void write(std::span<const std::byte> bytes) const;
  [[nodiscard]] std::size_t read(std::span<std::byte> into) const;
  /// What the system could only say now (a file on a server, a quota) is thrown. No effect when closed.
  void close();

 private:
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path path_;
  int fd_;
};

/// The sink of `trace_to_file`, which whoever ends the trace finds by its type and closes.
struct file_sink {
  void operator()(std::span<const std::byte> bytes) const { file->write(bytes); }
  std::shared_ptr<trace_file> file;
};

}  // namespace cistern::detail
