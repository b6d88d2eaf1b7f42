// record_file: the file of a trace that a process writes about itself: bounded, and whole whatever happens to
// it.
#pragma once

#include <cistern/adaptor/trace.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

#include <sys/stat.h>

namespace cistern::detail {

/// Appends rounds, each as a whole or not at all, and the end mark. Allocates nothing, is no cancellation
/// point, and neither a limit on the size of files nor a program that closes all descriptors does it, or the
/// program, any harm. Not thread-safe.
class record_file {
 public:
  using bytes = std::span<const std::byte>;

  /// Begins with `header`. `descriptor` is of a new, empty, regular file; it is moved out of the way of the
  /// program's. `max_bytes`: of the whole file; 0: no limit. False if it can't be written (errno says why).
  [[nodiscard]] bool begin(int descriptor, bytes header, std::uint64_t max_bytes) noexcept;

  /// Appends a round of `records` events. False if there is no room for it, or it can't be written: the trace
  /// has ended then, and says why.
  [[nodiscard]] bool append(std::span<const bytes> frames, std::uint64_t records) noexcept;

  /// How large a round may be, for all that is known here.
  [[nodiscard]] std::uint64_t room_bytes() const noexcept;

  /// Writes the end mark behind what was appended. What is appended later takes its place.
  void mark_end() noexcept;

  /// Lets go of the file as it is, as the child of a fork has to.
  void abandon() noexcept;

 private:
  struct place {
    std::uint64_t offset_bytes;
    std::uint64_t records;
  };

  [[nodiscard]] bool is_ours() const noexcept;
  [[nodiscard]] int write_at(std::uint64_t offset_bytes, bytes what) const noexcept;
  [[nodiscard]] int end_at(const place& where, trace_ending ending, int error) noexcept;
  [[nodiscard]] bool end(trace_ending ending, int error) noexcept;

  int descriptor_ = -1;
  std::uint64_t device_ = 0;  // With `node_`, what the descriptor stands for.
  std::uint64_t node_ = 0;
  std::uint64_t max_bytes_ = 0;
  place now_{};
  place before_{};  // Where the last round begins.
};

}  // namespace cistern::detail
