// buffer_format: print formatted text into a cistern::buffer with std::format, where the library has it.
#pragma once

#include <cistern/buffer.hpp>
#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/bytes/tail_writer.hpp>

#include <version>

#if defined(__cpp_lib_format)
#include <format>
#endif

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <type_traits>
#include <utility>

namespace cistern {

/// Appends what `write` formats. `write(char* out, std::size_t n)` writes the first `n` characters of its
/// text to `out` and returns the length of the whole text, as `format_to_n` and `snprintf` do; it is called
/// again with more room when that was too little, and must then do the same. Formats straight into the
/// buffer's tail. What `write` throws passes through, and nothing is appended; the right to un-read ends even
/// so. Precondition: what is written doesn't come from bytes of `out`, which may have moved.
template <class Write>
requires std::is_invocable_r_v<std::size_t, Write&, char*, std::size_t> buffer& print_with(
    buffer& out CISTERN_LIFETIMEBOUND, Write&& write) {
  detail::tail_writer tail(out);
  auto length = static_cast<std::size_t>(write(tail.begin(), tail.room_bytes()));
  if (length > tail.room_bytes()) {
    tail.grow(0, length);
    length = std::min(static_cast<std::size_t>(write(tail.begin(), tail.room_bytes())), tail.room_bytes());
  }
  tail.finish(length);
  return out;
}

#if defined(__cpp_lib_format)

/// Appends the formatted arguments. Nothing is appended if formatting throws. Precondition: no argument
/// refers to bytes of `out`.
template <class... Arguments>
buffer& print(buffer& out CISTERN_LIFETIMEBOUND, std::format_string<Arguments...> format,
              Arguments&&... arguments) {
  return print_with(out, [&](char* room, std::size_t room_bytes) {
    const auto count = static_cast<std::ptrdiff_t>(room_bytes);
    // Formatting moves from nothing, so forwarding a second time is fine.
    return static_cast<std::size_t>(
        std::format_to_n(room, count, format, std::forward<Arguments>(arguments)...).size);
  });
}

#endif

}  // namespace cistern
