// trace_sums: what the allocations of a trace come to, by stack and by size.
#pragma once

#include <cistern/adaptor/trace_reader.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cistern::tool {

/// A `realloc` frees its old block and allocates the new one.
struct allocation_sums {
  std::uint64_t calls = 0;
  std::uint64_t bytes = 0;
  std::uint64_t live_blocks = 0;  ///< At the end.
  std::uint64_t live_bytes = 0;   ///< Likewise.
  std::uint64_t peak_blocks = 0;  ///< Live when most bytes of the whole trace were.
  std::uint64_t peak_bytes = 0;   ///< Likewise.

  allocation_sums& operator+=(const allocation_sums& more) noexcept;
  friend bool operator==(const allocation_sums&, const allocation_sums&) = default;
};

/// One of the sums, and its names for people, programs, and pprof: there as other profilers of heaps call it,
/// but for those of the peak, which are our own.
struct allocation_figure {
  const char* name;
  const char* key;
  const char* pprof_type;
  std::uint64_t allocation_sums::*value;
  bool is_bytes;
};
inline constexpr std::array allocation_figures = {
    allocation_figure{"calls", "calls", "alloc_objects", &allocation_sums::calls, false},
    allocation_figure{"bytes", "bytes", "alloc_space", &allocation_sums::bytes, true},
    allocation_figure{"blocks at the peak", "peak_blocks", "peak_objects", &allocation_sums::peak_blocks,
                      false},
    allocation_figure{"live at the peak", "peak_bytes", "peak_space", &allocation_sums::peak_bytes, true},
    allocation_figure{"blocks at the end", "live_blocks", "inuse_objects", &allocation_sums::live_blocks,
                      false},
    allocation_figure{"live at the end", "live_bytes", "inuse_space", &allocation_sums::live_bytes, true},
};
/// The place of the figure that is shown if none is asked for: of bytes.
inline constexpr std::size_t first_shown_figure = 1;

struct trace_sums {
  allocation_sums all;
  std::uint64_t deallocations = 0;
  std::uint64_t failures = 0;
  std::uint64_t peak_nanoseconds = 0;
  std::uint64_t end_nanoseconds = 0;      ///< Of the last event.
  std::vector<allocation_sums> by_stack;  ///< By the stack's number; 0: of no known stack.
  /// At `i` blocks of more than 2^(i-1) bytes, up to 2^i.
  std::vector<allocation_sums> by_size;
};

/// The power of two that `trace_sums::by_size` has a block at.
[[nodiscard]] std::size_t size_power(std::uint64_t bytes) noexcept;

/// A trace that was read to its end, or to where it was cut off, with its sums.
class summed_trace {
 public:
  /// `path` may be -. Says on standard error why the trace ended, shows how far it is, and holds a few words
  /// for each live block and each stack. Throws `trace_error`, also for sizes that no program has.
  explicit summed_trace(const std::string& path);
  /// The same of what comes from there.
  summed_trace(trace_source source, const std::string& path);

  [[nodiscard]] const trace_reader& trace() const noexcept { return trace_; }
  [[nodiscard]] const trace_sums& sums() const noexcept { return sums_; }

 private:
  trace_reader trace_;
  trace_sums sums_;
};

}  // namespace cistern::tool
