// buffer_dynamic_view: lets Asio read into and write from a cistern::buffer, without depending on Asio.
#pragma once

#include <cistern/buffer.hpp>
#include <cistern/detail/base/abi.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>

namespace cistern {
namespace detail {

/// Some bytes, convertible to any buffer type that is made of a pointer and a size.
template <class Pointer>
class region {
 public:
  constexpr region() noexcept = default;
  constexpr region(Pointer data, std::size_t size_bytes) noexcept : data_(data), size_bytes_(size_bytes) {}
  [[nodiscard]] constexpr Pointer data() const noexcept { return data_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_bytes_; }

  template <std::constructible_from<Pointer, std::size_t> Buffer>
  constexpr operator Buffer() const noexcept {  // NOLINT(google-explicit-constructor): what Asio asks for
    return Buffer(data_, size_bytes_);
  }

 private:
  Pointer data_ = nullptr;
  std::size_t size_bytes_ = 0;
};

}  // namespace detail

/// A copyable view of a `buffer`, which must outlive all copies, in the shape of Asio's dynamic buffers: it
/// meets DynamicBuffer_v1 and DynamicBuffer_v2 of Asio and Boost.Asio, so it goes into `read`, `read_until`,
/// `write`, `async_read_until` and their like. All copies stand for the same buffer, as Asio needs: its
/// composed operations copy what they are given.
///
/// Without a `max_size` of its own a view is limited by the buffer's. Not thread-safe; between an operation's
/// start and its completion the buffer belongs to it.
class buffer_dynamic_view {
 public:
  using const_buffers_type = std::array<detail::region<const void*>, 1>;
  using mutable_buffers_type = std::array<detail::region<void*>, 1>;

  explicit buffer_dynamic_view(buffer& target CISTERN_LIFETIMEBOUND) noexcept
      : buffer_dynamic_view(target, SIZE_MAX) {}
  buffer_dynamic_view(buffer& target CISTERN_LIFETIMEBOUND, std::size_t max_size) noexcept
      : target_(&target), max_size_(max_size) {}

  // --- both versions ---

  [[nodiscard]] std::size_t size() const noexcept { return target_->size(); }
  [[nodiscard]] std::size_t max_size() const noexcept { return std::min(max_size_, target_->max_size()); }
  /// The size that can be reached without moving anything; Asio sizes its reads by this.
  [[nodiscard]] std::size_t capacity() const noexcept {
    return std::min(max_size(), target_->size() + target_->available());
  }
  /// Removes `n` bytes from the front, or all there are.
  void consume(std::size_t n) noexcept { target_->consume(n); }

  // --- DynamicBuffer_v1 ---

  [[nodiscard]] const_buffers_type data() const noexcept {
    return {{{target_->view().data(), target_->size()}}};
  }
  /// Room for `n` more bytes. `std::length_error` beyond `max_size()`.
  [[nodiscard]] mutable_buffers_type prepare(std::size_t n) {
    check(n);
    const std::span<std::byte> room = target_->prepare(n);
    return {{{room.data(), room.size()}}};
  }
  /// Appends the first `n` prepared bytes, or all that are, whichever copy prepared them. `std::logic_error`
  /// if none are: nothing was prepared, or a write to the buffer has taken their place.
  void commit(std::size_t n) {
    const std::size_t prepared = target_->prepared();
    target_->commit(prepared != 0 ? std::min(n, prepared) : n);
  }

  // --- DynamicBuffer_v2 ---

  /// The bytes from `position` on, at most `n`.
  [[nodiscard]] mutable_buffers_type data(std::size_t position, std::size_t n) noexcept {
    const std::string_view part = part_of(position, n);
    return {{{const_cast<char*>(part.data()), part.size()}}};
  }
  [[nodiscard]] const_buffers_type data(std::size_t position, std::size_t n) const noexcept {
    const std::string_view part = part_of(position, n);
    return {{{part.data(), part.size()}}};
  }
  /// Appends `n` uninitialised bytes. `std::length_error` beyond `max_size()`.
  void grow(std::size_t n) {
    check(n);
    (void)target_->prepare(n);
    target_->commit(n);
  }
  /// Removes `n` bytes from the end, or all there are.
  void shrink(std::size_t n) { target_->truncate(target_->size() - std::min(n, target_->size())); }

 private:
  void check(std::size_t n) const {
    if (n > max_size() - std::min(max_size(), size())) {
      detail::throw_view_too_large();
    }
  }
  [[nodiscard]] std::string_view part_of(std::size_t position, std::size_t n) const noexcept {
    return target_->view().substr(std::min(position, target_->size()), n);
  }

  buffer* target_;
  std::size_t max_size_;
};

}  // namespace cistern
