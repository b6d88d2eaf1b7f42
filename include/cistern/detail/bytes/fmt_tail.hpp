// fmt_tail: what {fmt} writes to when it prints into a cistern::buffer; for fmt 9 and 10.
#pragma once

#if __has_include(<fmt/format.h>)
#include <fmt/format.h>

#if FMT_VERSION >= 90000 && FMT_VERSION < 110000
#include <cistern/detail/bytes/bytes.hpp>
#include <cistern/detail/bytes/tail_writer.hpp>

#include <array>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include <fmt/compile.h>

namespace cistern::detail {

/// The buffer's tail in the shape that {fmt} writes to. It holds the text so far, which becomes part of the
/// buffer when finished and is forgotten otherwise.
class fmt_tail final : public fmt::detail::buffer<char> {
 public:
  explicit fmt_tail(cistern::buffer& out) : tail_(out) { set(tail_.begin(), tail_.room_bytes()); }
  fmt_tail(const fmt_tail&) = delete;
  fmt_tail& operator=(const fmt_tail&) = delete;
  ~fmt_tail() = default;

  void write(const char* text, std::size_t n) {
    const std::size_t before = size();
    try_resize(before + n);  // grows to just that
    copy_bytes(data() + before, text, n);
  }
  void finish() { tail_.finish(size()); }

 private:
  void grow(std::size_t capacity_bytes) override {
    tail_.grow(size(), capacity_bytes);
    set(tail_.begin(), tail_.room_bytes());
  }

  tail_writer tail_;
};

/// What `{}` writes without a look at the context: numbers, characters and texts. No pointers: a null one is
/// for {fmt} to refuse. No types of the user's: they may be formatted by rules of their own.
template <class T>
inline constexpr bool written_plainly = std::is_arithmetic_v<T>;
template <>
inline constexpr bool written_plainly<std::string_view> = true;
template <>
inline constexpr bool written_plainly<fmt::string_view> = true;
template <class Allocator>
inline constexpr bool written_plainly<std::basic_string<char, std::char_traits<char>, Allocator>> = true;
template <std::size_t Size>
inline constexpr bool written_plainly<char[Size]> = true;

template <class T>
void write_plain_argument(fmt_tail& out, const T& argument) {
  if constexpr (std::is_array_v<T>) {
    out.write(argument, std::strlen(argument));
  } else if constexpr (std::is_arithmetic_v<T>) {
    fmt::format_to(fmt::appender(out), FMT_COMPILE("{}"), argument);
  } else {
    out.write(argument.data(), argument.size());
  }
}

/// Where in `format` the fields are, if each is a plain `{}` and there are as many as `fields`.
template <std::size_t Fields>
bool find_plain_fields(std::string_view format, std::array<const char*, Fields>& fields) {
  const char* const end = format.data() + format.size();
  std::size_t count = 0;
  for (const char* at = format.data(); at != end; ++at) {
    if (*at == '{') {
      if (end - at < 2 || at[1] != '}' || count == Fields) {
        return false;
      }
      fields[count++] = at++;
    } else if (*at == '}') {
      return false;
    }
  }
  return count == Fields;
}

/// Writes the whole text if every field is a plain `{}` and every argument a number, character or text: most
/// are, and interpreting the format takes longer than writing them. Else writes nothing and returns false.
template <class... Arguments>
bool write_plain(fmt_tail& out, fmt::string_view format, const Arguments&... arguments) {
  if constexpr (sizeof...(Arguments) == 0 || !(written_plainly<Arguments> && ...)) {
    return false;
  } else {
    std::array<const char*, sizeof...(Arguments)> fields;
    if (!find_plain_fields({format.data(), format.size()}, fields)) {
      return false;
    }
    const char* at = format.data();
    const char* const* field = fields.data();
    const auto write_one = [&](const auto& argument) {
      out.write(at, static_cast<std::size_t>(*field - at));
      write_plain_argument(out, argument);
      at = *field++ + 2;
    };
    (write_one(arguments), ...);
    out.write(at, static_cast<std::size_t>(format.data() + format.size() - at));
    return true;
  }
}

}  // namespace cistern::detail

#endif
#endif
