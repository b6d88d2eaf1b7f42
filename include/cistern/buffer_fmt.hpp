// buffer_fmt: print formatted text into a cistern::buffer with the {fmt} library. Include it only where fmt
// is.
#pragma once

#include <cistern/buffer_format.hpp>

#if __has_include(<fmt/format.h>)
#include <fmt/format.h>

namespace cistern {

/// Appends the formatted arguments, by the {fmt} library. Nothing is appended if formatting throws.
/// `fmt::format_to(std::back_inserter(out), ...)` gives the same text, character by character and so more
/// slowly.
template <class... Arguments>
buffer& fmt_print(buffer& out, fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  return print_with(out, [&](char* room, std::size_t room_bytes) {
    return fmt::vformat_to_n(room, room_bytes, format, fmt::make_format_args(arguments...)).size;
  });
}

}  // namespace cistern
#endif
