// The member templates of cistern::buffer; included by buffer.hpp only.
#pragma once

#include <cistern/buffer.hpp>

namespace cistern {
namespace detail {

/// The bytes of `value`, as an unsigned number, in the other order.
template <std::unsigned_integral T>
[[nodiscard]] constexpr T reverse_bytes(T value) noexcept {
  if constexpr (sizeof(T) == 8) {
    return static_cast<T>(__builtin_bswap64(value));
  } else if constexpr (sizeof(T) == 4) {
    return static_cast<T>(__builtin_bswap32(value));
  } else if constexpr (sizeof(T) == 2) {
    return static_cast<T>(__builtin_bswap16(value));
  } else {
    static_assert(sizeof(T) == 1);
    return value;
  }
}

/// The unsigned type of T's width; bool and the character types have no std::make_unsigned.
template <std::size_t Bytes>
using unsigned_of =
    std::conditional_t<Bytes == 1, std::uint8_t,
                       std::conditional_t<Bytes == 2, std::uint16_t,
                                          std::conditional_t<Bytes == 4, std::uint32_t, std::uint64_t>>>;

[[noreturn]] void throw_counted_too_much();
[[noreturn]] void throw_short_write();
[[noreturn]] void throw_used_meanwhile();
[[noreturn]] void throw_view_too_large();

}  // namespace detail

template <std::endian Order, std::integral T>
void buffer::put_bytes(T value) {
  static_assert(sizeof(T) <= 8);
  auto bits = static_cast<detail::unsigned_of<sizeof(T)>>(value);
  if constexpr (Order != std::endian::native) {
    bits = detail::reverse_bytes(bits);
  }
  append(std::string_view(reinterpret_cast<const char*>(&bits), sizeof(bits)));
}

template <std::endian Order, std::integral T>
std::optional<T> buffer::get_bytes() noexcept {
  static_assert(sizeof(T) <= 8);
  if (size() < sizeof(T)) {
    end_unread();
    return std::nullopt;
  }
  detail::unsigned_of<sizeof(T)> bits;
  std::memcpy(&bits, read_, sizeof(bits));
  advance(sizeof(bits));
  if constexpr (Order != std::endian::native) {
    bits = detail::reverse_bytes(bits);
  }
  return static_cast<T>(bits);  // to bool: whether any bit is set
}

/// Room to read input into: the tail of the block if it is large enough (after moving the unread part to the
/// front where that suffices), else a larger block, which the buffer moves to only when bytes arrive in it.
/// So neither the end of the input nor a failure can grow the buffer or lose a byte. The buffer may be read
/// from meanwhile; a write to it takes the room away.
class buffer::read_space {
 public:
  explicit read_space(buffer& owner);
  read_space(const read_space&) = delete;
  read_space& operator=(const read_space&) = delete;
  ~read_space();

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }
  void commit(std::size_t n);

 private:
  buffer& owner_;
  char* fresh_block_ = nullptr;
  std::size_t fresh_capacity_ = 0;
  std::span<std::byte> bytes_;
};

template <byte_reader Reader>
std::size_t buffer::read_from(Reader&& reader) {
  std::size_t total = 0;
  for (;;) {
    read_space space(*this);
    const auto count = static_cast<std::size_t>(reader(space.bytes()));
    if (count == 0) {
      return total;
    }
    space.commit(count);
    total += count;
  }
}

template <byte_writer Writer>
std::size_t buffer::write_to(Writer&& writer) {
  if (empty()) {
    return 0;
  }
  const std::size_t asked = size();
  const auto count = static_cast<std::size_t>(writer(bytes()));
  if (count > asked) {
    detail::throw_counted_too_much();
  }
  if (size() < asked) {
    detail::throw_used_meanwhile();
  }
  advance(count);
  if (count < asked) {
    detail::throw_short_write();
  }
  return count;
}

}  // namespace cistern
