// protobuf_message: bytes as Protocol Buffers has them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace cistern::tool {

/// One message, field by field.
class protobuf_message {
 public:
  /// Zero is what a reader takes for a number that isn't there.
  void add(unsigned field, std::uint64_t number) {
    if (number == 0) return;
    add_varint(field << 3);
    add_varint(number);
  }
  void add(unsigned field, std::string_view text) {
    add_varint(field << 3 | 2);
    add_varint(text.size());
    bytes_ += text;
  }
  void add(unsigned field, const protobuf_message& message) { add(field, std::string_view(message.bytes_)); }
  /// All of a repeated field.
  void add(unsigned field, std::span<const std::uint64_t> numbers) {
    protobuf_message packed;
    for (const std::uint64_t each : numbers) packed.add_varint(each);
    add(field, packed);
  }

  [[nodiscard]] const std::string& bytes() const noexcept { return bytes_; }

 private:
  void add_varint(std::uint64_t number) {
    for (; number >= 0x80; number >>= 7) bytes_ += static_cast<char>(number | 0x80);
    bytes_ += static_cast<char>(number);
  }

  std::string bytes_;
};

}  // namespace cistern::tool
