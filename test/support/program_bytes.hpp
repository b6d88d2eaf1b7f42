// program_bytes: the bytes of a fuzzer's input, taken one after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cistern::test_support {

/// Reads a program from its front; zeros when it is used up.
class program_bytes {
 public:
  explicit program_bytes(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  /// What was not taken yet.
  [[nodiscard]] std::span<const std::uint8_t> rest() const { return bytes_; }

  std::uint8_t byte() {
    if (bytes_.empty()) return 0;
    const std::uint8_t value = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return value;
  }

  /// Two bytes, the lower one first.
  std::size_t word() {
    const std::size_t low = byte();
    return low | std::size_t{byte()} << 8;
  }

  /// A number of any length: the first byte says how many follow.
  std::uint64_t number() {
    std::uint64_t value = 0;
    for (unsigned left = byte() % 9U; left > 0; --left) value = value << 8 | byte();
    return value;
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

}  // namespace cistern::test_support
