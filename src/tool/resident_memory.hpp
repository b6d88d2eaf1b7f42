// resident_memory: how much memory this process has and has had.
#pragma once

#include <cstdint>

namespace cistern::tool {

// Of its own: what is resident of program files, more with each function that is called, isn't counted.

/// Resident now: exactly, which takes the longer the more there is.
[[nodiscard]] std::uint64_t resident_bytes();
/// The same in a microsecond; older kernels are off by some pages for each processor.
[[nodiscard]] std::uint64_t roughly_resident_bytes();
/// The most that was resident, ever or since it was forgotten; as if all that is resident now of program
/// files had been then.
[[nodiscard]] std::uint64_t peak_resident_bytes();
/// From now on the peak begins at what is resident. False where the system doesn't let us.
[[nodiscard]] bool forget_peak_resident();

/// Has the C library's malloc give back what it can, where it has a function for that.
void trim_c_library() noexcept;

/// What the system can give to processes without taking it away from others.
[[nodiscard]] std::uint64_t available_bytes();

}  // namespace cistern::tool
