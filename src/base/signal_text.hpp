// signal_text: a line of text, put together in place and written with nothing that a signal handler may not
// call.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <unistd.h>

namespace cistern::detail {

/// What doesn't fit is cut off. Small, as alternative signal stacks are.
class signal_text {
 public:
  signal_text& add(std::string_view text) noexcept {
    const std::size_t room = text_.size() - used_ - 1;  // for the end of the line
    const std::size_t fitting = text.size() < room ? text.size() : room;
    std::memcpy(text_.data() + used_, text.data(), fitting);
    used_ += fitting;
    return *this;
  }

  signal_text& add_number(std::uint64_t number) noexcept { return add_digits(number, 10, 1); }

  /// "3 bytes", "1 byte".
  signal_text& add_bytes(std::uint64_t bytes) noexcept {
    return add_number(bytes).add(bytes == 1 ? " byte" : " bytes");
  }

  signal_text& add_address(const void* address) noexcept {
    return add("0x").add_digits(reinterpret_cast<std::uintptr_t>(address), 16, 1);
  }

  /// In seconds, to the microsecond.
  signal_text& add_seconds(std::uint64_t nanoseconds) noexcept {
    const std::uint64_t microseconds = nanoseconds / 1'000;
    return add_number(microseconds / 1'000'000)
        .add(".")
        .add_digits(microseconds % 1'000'000, 10, 6)
        .add(" s");
  }

  [[nodiscard]] std::string_view text() const noexcept { return {text_.data(), used_}; }
  /// The same, with a null behind it.
  [[nodiscard]] const char* c_str() const noexcept { return text_.data(); }

  /// As one line.
  void write_to_stderr() noexcept {
    text_[used_] = '\n';
    for (std::size_t written = 0; written <= used_;) {
      const ::ssize_t now = ::write(STDERR_FILENO, text_.data() + written, used_ + 1 - written);
      if (now <= 0) {
        return;  // there is nobody to tell
      }
      written += static_cast<std::size_t>(now);
    }
  }

 private:
  signal_text& add_digits(std::uint64_t number, unsigned base, std::size_t least_digits) noexcept {
    std::array<char, 20> digits{};  // of 2^64 - 1 in decimal
    std::size_t first = digits.size();
    do {
      digits[--first] = "0123456789abcdef"[number % base];
      number /= base;
    } while (number != 0 || digits.size() - first < least_digits);
    return add({digits.data() + first, digits.size() - first});
  }

  std::array<char, 640> text_{};
  std::size_t used_ = 0;
};

}  // namespace cistern::detail
