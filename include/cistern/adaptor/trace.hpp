// trace: what a recording of allocator calls consists of, and where it is written to and read from.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/lifetimebound.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <span>
#include <stdexcept>
#include <string>

namespace cistern {

/// What was called.
enum class trace_call : std::uint8_t {
  allocate,         ///< An allocation that succeeded.
  deallocate,       ///< A deallocation.
  failed_allocate,  ///< An allocation that failed; also a `realloc`, which left its block as it was.
  reallocate,       ///< A `realloc` that succeeded: the old block has become the new one.
};

/// "allocate", "deallocate", "failed_allocate" or "reallocate".
[[nodiscard]] const char* to_string(trace_call call) noexcept;

/// One recorded call.
struct trace_event {
  trace_call call = trace_call::allocate;
  std::chrono::nanoseconds time{};  ///< Since the trace began, by a clock that never goes back.
  std::uint64_t thread = 0;         ///< The system's number of the calling thread.
  std::uint64_t bytes = 0;      ///< As stated by the call; for C's `free`, as stated when it was allocated.
  std::uint64_t alignment = 1;  ///< Likewise.
  std::uint64_t address = 0;    ///< Of the block; 0 for an allocation that failed.
  /// Allocations numbered from 1; a deallocation has the number of the block that it frees. 0 for an
  /// allocation that failed, and for a block that the trace hasn't seen allocated. Not written: a reader
  /// derives it.
  std::uint64_t block = 0;
  std::uint64_t old_address = 0;  ///< Of the block that was reallocated; 0 for all other calls.
  std::uint64_t old_block = 0;    ///< Its number, or 0, as in `block`. Not written either.
  /// From where it was called: a number of `trace_reader::stacks`, or 0 where that isn't known. Written by
  /// `cistern-trace record` only.
  std::uint64_t stack = 0;

  friend bool operator==(const trace_event&, const trace_event&) = default;
};

/// Why a trace has come to its proper end.
enum class trace_ending {
  closed,       ///< All was recorded that was to be.
  size_limit,   ///< The trace had grown to the size that it was allowed.
  write_error,  ///< It could not be written any further, as on a full disk.
};

/// "closed", "size limit" or "write error".
[[nodiscard]] const char* to_string(trace_ending ending) noexcept;

/// What is wrong with a trace.
enum class trace_fault {
  not_a_trace,      ///< It doesn't begin as a trace does.
  unknown_version,  ///< Written by a later version of this library.
  truncated,        ///< It ends before its end mark: cut off, or never closed. What was read of it is sound.
  corrupt,          ///< A checksum or a value is wrong.
};

/// "not a trace", "unknown version", "truncated" or "corrupt".
[[nodiscard]] const char* to_string(trace_fault fault) noexcept;

/// Thrown by readers. The text is "cistern trace: <fault>: <what was found> at byte <offset>".
class trace_error : public std::runtime_error {
 public:
  trace_error(trace_fault fault, const std::string& found, std::uint64_t offset_bytes);

  [[nodiscard]] trace_fault fault() const noexcept { return fault_; }
  /// Where in the trace it was found, in bytes from its start.
  [[nodiscard]] std::uint64_t offset_bytes() const noexcept { return offset_bytes_; }

 private:
  trace_fault fault_;
  std::uint64_t offset_bytes_;
};

/// Takes the next bytes of a trace, all of them, or throws.
using trace_sink = std::function<void(std::span<const std::byte>)>;

/// Fills the start of `into` with the next bytes of a trace and returns how many; 0 at the end only.
using trace_source = std::function<std::size_t(std::span<std::byte> into)>;

/// Writes to a new file, or over an old one. Throws `std::system_error`, here where it can't be opened, and
/// from the sink where it can't be written.
[[nodiscard]] trace_sink trace_to_file(const std::filesystem::path& path);
/// Writes to `out`, which must outlive the sink. The sink throws `std::ios_base::failure` where that fails.
[[nodiscard]] trace_sink trace_to_stream(std::ostream& out CISTERN_LIFETIMEBOUND);

/// Throws `std::system_error`, here where the file can't be opened, and from the source where it can't be
/// read.
[[nodiscard]] trace_source trace_from_file(const std::filesystem::path& path);
/// Reads from `in`, which must outlive the source, to its end. The source throws `std::ios_base::failure` on
/// an error.
[[nodiscard]] trace_source trace_from_stream(std::istream& in CISTERN_LIFETIMEBOUND);
/// Reads `trace`, whose bytes must outlive the source.
[[nodiscard]] trace_source trace_from_memory(std::span<const std::byte> trace CISTERN_LIFETIMEBOUND);

}  // namespace cistern
