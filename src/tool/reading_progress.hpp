// reading_progress: how far a trace has been read, on a terminal.
#pragma once

#include <cistern/adaptor/trace_reader.hpp>

#include <cstdint>
#include <optional>
#include <string>

#include "progress_line.hpp"

namespace cistern::tool {

/// A progress line with a step for each twentieth of the trace's file; none where that has no size.
class reading_progress {
 public:
  reading_progress(const std::string& path, std::string what);

  /// To be called for each event.
  void at(const trace_reader& trace) { at(trace.offset_bytes()); }
  /// To be called for each part that was read.
  void at(std::uint64_t offset_bytes) {
    if (offset_bytes >= next_bytes_) step(offset_bytes);
  }

 private:
  void step(std::uint64_t offset_bytes);

  std::string what_;
  std::uint64_t step_bytes_ = 0;
  std::uint64_t next_bytes_ = UINT64_MAX;
  std::optional<progress_line> line_;
};

}  // namespace cistern::tool
