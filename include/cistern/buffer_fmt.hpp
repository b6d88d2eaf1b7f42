// buffer_fmt: print formatted text into a cistern::buffer with the {fmt} library. Include it only where fmt
// is.
#pragma once

#include <cistern/buffer_format.hpp>

#if __has_include(<fmt/format.h>)
#include <algorithm>
#include <cstddef>

#include <fmt/format.h>

namespace cistern {

#if FMT_VERSION >= 90000 && FMT_VERSION < 110000
namespace detail {

/// What {fmt} writes to: the buffer's tail. Where it is full, what is there is committed and more room
/// prepared. Takes everything back unless it is finished.
class fmt_tail final : public fmt::detail::buffer<char> {
 public:
  explicit fmt_tail(cistern::buffer& out) : out_(out), size_before_(out.size()) {
    constexpr std::size_t likely_enough_bytes = 64;
    const std::size_t available_bytes = out.available();
    if (available_bytes > likely_enough_bytes) [[likely]] {
      set_room(available_bytes - 1);  // all but one byte of the tail: prepare has least to do then
    } else {
      const std::size_t wanted_bytes = out.capacity() == 0 ? 4 * likely_enough_bytes : likely_enough_bytes;
      set_room(std::min(wanted_bytes, out.max_size() - std::min(out.max_size(), out.size())));
    }
  }
  fmt_tail(const fmt_tail&) = delete;
  fmt_tail& operator=(const fmt_tail&) = delete;
  ~fmt_tail() {
    if (!finished_) {
      out_.commit(0);
      out_.truncate(size_before_);
    }
  }
  void finish() noexcept {
    out_.commit(size());
    finished_ = true;
  }

 private:
  void grow(std::size_t capacity_bytes) override {
    const std::size_t written = size();
    const std::size_t more = capacity_bytes - written;
    out_.commit(written);
    clear();
    set_room(std::max(more, out_.available()));
  }
  void set_room(std::size_t room_bytes) {
    set(reinterpret_cast<char*>(out_.prepare(room_bytes).data()), room_bytes);
  }

  cistern::buffer& out_;
  std::size_t size_before_;
  bool finished_ = false;
};

}  // namespace detail
#endif

/// Appends the formatted arguments, by the {fmt} library. Nothing is appended if formatting throws.
/// `fmt::format_to(std::back_inserter(out), ...)` gives the same text, character by character and so more
/// slowly.
template <class... Arguments>
buffer& fmt_print(buffer& out, fmt::format_string<Arguments...> format, Arguments&&... arguments) {
#if FMT_VERSION >= 90000 && FMT_VERSION < 110000
  detail::fmt_tail tail(out);
  fmt::vformat_to(fmt::appender(tail), format, fmt::make_format_args(arguments...));
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
