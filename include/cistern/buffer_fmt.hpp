// buffer_fmt: print formatted text into a cistern::buffer with the {fmt} library. Include it only where fmt
// is.
#pragma once

#include <cistern/buffer_format.hpp>
#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/bytes/fmt_tail.hpp>

#if __has_include(<fmt/format.h>)
#include <cstddef>

#include <fmt/format.h>

namespace cistern {

/// Appends the formatted arguments, by the {fmt} library. Nothing is appended if formatting throws.
/// Precondition: no argument refers to bytes of `out`, which may move while the text is written.
/// `fmt::format_to(std::back_inserter(out), ...)` gives the same text, character by character and so more
/// slowly.
template <class... Arguments>
buffer& fmt_print(buffer& out CISTERN_LIFETIMEBOUND, fmt::format_string<Arguments...> format,
                  Arguments&&... arguments) {
#if FMT_VERSION >= 90000 && FMT_VERSION < 110000
  detail::fmt_tail tail(out);
  if (!detail::write_plain(tail, format, arguments...)) {
    fmt::vformat_to(fmt::appender(tail), format, fmt::make_format_args(arguments...));
  }
  tail.finish();
  return out;
#else
  return print_with(out, [&](char* room, std::size_t room_bytes) {
    return fmt::vformat_to_n(room, room_bytes, format, fmt::make_format_args(arguments...)).size;
  });
#endif
}

}  // namespace cistern
#endif
