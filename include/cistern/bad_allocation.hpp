// bad_allocation: a std::bad_alloc that says what was asked for and why it was refused.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/lifetimebound.hpp>

#include <array>
#include <cstddef>
#include <new>

namespace cistern {

/// Thrown where Cistern itself refuses an allocation (what upstream throws is passed on as it is). Holds its
/// text in place, so throwing it allocates nothing beyond the exception object.
class bad_allocation : public std::bad_alloc {
 public:
  /// The text is "cistern: <reason>: <requested_bytes> bytes requested, limit <limit_bytes>, held
  /// <held_bytes>".
  bad_allocation(const char* reason, std::size_t requested_bytes, std::size_t limit_bytes,
                 std::size_t held_bytes) noexcept;

  /// The same for a request that would have taken `needed_bytes`: "... <requested_bytes> bytes requested,
  /// which take <needed_bytes>, limit ...".
  bad_allocation(const char* reason, std::size_t requested_bytes, std::size_t needed_bytes,
                 std::size_t limit_bytes, std::size_t held_bytes) noexcept;

  [[nodiscard]] const char* what() const noexcept CISTERN_LIFETIMEBOUND override { return text_.data(); }
  /// The size that could not be had, in bytes.
  [[nodiscard]] std::size_t requested_bytes() const noexcept { return requested_bytes_; }

 private:
  std::size_t requested_bytes_;
  std::array<char, 160> text_;
};

}  // namespace cistern
