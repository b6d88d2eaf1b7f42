#include "misuse.hpp"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <unistd.h>

namespace cistern::detail {
namespace {

/// A text of limited length, made without stdio, which may allocate.
class line {
 public:
  void append(const char* text) noexcept {
    for (; *text != '\0' && used_ < text_.size(); ++text) {
      text_[used_++] = *text;
    }
  }
  void append(const void* address) noexcept {
    const auto number = reinterpret_cast<std::uintptr_t>(address);
    append("0x");
    int shift = 8 * sizeof(number) - 4;
    while (shift > 0 && (number >> shift) == 0) {
      shift -= 4;
    }
    for (; shift >= 0; shift -= 4) {
      const char digit[] = {"0123456789abcdef"[(number >> shift) & 15U], '\0'};
      append(digit);
    }
  }
  void write() const noexcept {
    if (::write(STDERR_FILENO, text_.data(), used_) < 0) {
      // Nobody listens; to abort is all that is left.
    }
  }

 private:
  std::array<char, 256> text_{};
  std::size_t used_ = 0;
};

}  // namespace

void misuse_found(const char* function, const void* address, const char* what) noexcept {
  line said;
  said.append("cistern: ");
  said.append(function);
  said.append("(");
  said.append(address);
  said.append("): ");
  said.append(what);
  said.append("\n");
  said.write();
  std::abort();
}

}  // namespace cistern::detail
