// buffer_format: print formatted text into a cistern::buffer with std::format, where the library has it.
#pragma once

#include <cistern/buffer.hpp>

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
/// buffer's tail. What `write` throws passes through, and nothing is appended.
template <class Write>
requires std::is_invocable_r_v<std::size_t, Write&, char*, std::size_t> buffer& print_with(buffer& out,
                                                                                           Write&& write) {
  const auto attempt = [&](std::size_t room_bytes) {
    char* const room = reinterpret_cast<char*>(out.prepare(room_bytes).data());
    const auto length = static_cast<std::size_t>(write(room, room_bytes));
    out.commit(length <= room_bytes ? length : 0);
    return length <= room_bytes ? std::size_t{0} : length;
  };
  const std::size_t likely_enough_bytes = out.capacity() == 0 ? 256 : 64;
  const std::size_t headroom_bytes = out.max_size() - std::min(out.max_size(), out.size());
  const std::size_t first_bytes = std::max(out.available(), std::min(likely_enough_bytes, headroom_bytes));
  if (const std::size_t needed = attempt(first_bytes); needed != 0) {
    attempt(needed);
  }
  return out;
}

#if defined(__cpp_lib_format)

/// Appends the formatted arguments. Nothing is appended if formatting throws.
template <class... Arguments>
buffer& print(buffer& out, std::format_string<Arguments...> format, Arguments&&... arguments) {
  return print_with(out, [&](char* room, std::size_t room_bytes) {
    const auto count = static_cast<std::ptrdiff_t>(room_bytes);
    // Formatting moves from nothing, so forwarding a second time is fine.
    return static_cast<std::size_t>(
        std::format_to_n(room, count, format, std::forward<Arguments>(arguments)...).size);
  });
}

#endif

}  // namespace cistern
