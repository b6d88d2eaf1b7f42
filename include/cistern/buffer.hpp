// buffer: a growable byte buffer, written at the end and read from the front, on any memory resource.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/asan_tail.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/give_back.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/detail/bytes/bytes.hpp>
#include <cistern/resource_or_new_delete.hpp>

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iosfwd>
#include <memory_resource>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace cistern {

class buffer;
class chain;
namespace detail {
class tail_writer;
[[noreturn]] void throw_not_prepared(std::size_t asked_bytes, std::size_t prepared_bytes);
}  // namespace detail

/// What `buffer::read_from` takes besides streams and file descriptors: called with room, writes up to that
/// many bytes there and returns how many; 0 is the end.
template <class F>
concept byte_reader = std::is_invocable_r_v<std::size_t, F&, std::span<std::byte>>;

/// What `buffer::write_to` takes besides streams and file descriptors: called with bytes, returns how many
/// of them it took.
template <class F>
concept byte_writer = std::is_invocable_r_v<std::size_t, F&, std::span<const std::byte>>;

/// A contiguous, growable sequence of bytes: written at the end, read from the front, as Go's bytes.Buffer.
///
/// The *unread part* is what has been written and not yet read; `size()`, `bytes()` and `view()` are about
/// it. Memory comes from one resource, in blocks that fill a pool's block exactly; a default-constructed
/// buffer holds none. Growing at least doubles, and room freed by reading is used again by moving the unread
/// part to the front when that is amortised constant.
///
/// Invalidation: views and spans from any member are valid until the next member that writes, moves storage
/// or releases it (everything in the sections "write" and "storage", `read_from`, assignment, destruction).
/// Reading invalidates nothing, and a move construction from an equal resource keeps every pointer, a
/// prepared region included.
///
/// Errors: beyond `max_size()` `std::length_error`; no memory, whatever the resource throws
/// (`std::bad_alloc`). A member that throws has changed nothing, unless it says otherwise. Units are bytes
/// throughout. Not thread-safe: one thread at a time per buffer.
class buffer {
 public:
  using allocator_type = std::pmr::polymorphic_allocator<>;
  using value_type = char;  // what std::back_inserter needs

  /// One line, from `read_until`.
  struct line {
    std::string_view view;  ///< Up to and including the delimiter, or all that was left.
    bool found = false;     ///< Whether the delimiter was there.
  };
  /// One character, from `read_utf8`.
  struct utf8_char {
    char32_t value = 0;            ///< U+FFFD when the bytes are no valid UTF-8.
    std::size_t length_bytes = 0;  ///< Bytes it took; 1 for invalid ones.
    friend bool operator==(const utf8_char&, const utf8_char&) = default;
  };

  /// Holds nothing, allocates nothing; will take memory from the default resource.
  buffer() noexcept : buffer(allocator_type{}) {}
  explicit buffer(allocator_type allocator) noexcept : buffer(allocator.resource()) {}
  /// Null means plain new/delete.
  explicit buffer(std::pmr::memory_resource* resource CISTERN_LIFETIMEBOUND) noexcept
      : resource_(resource_or_new_delete(resource)) {}
  /// Starts with a copy of `text`.
  buffer(std::string_view text, allocator_type allocator = {});  // NOLINT(google-explicit-constructor)
  /// Copies the unread part and the size limit; memory from `allocator`, the default resource if not given.
  buffer(const buffer& other, allocator_type allocator = {});
  /// Takes everything over: resource, storage, prepared region, right to un-read. `other` is left empty.
  /// O(1).
  buffer(buffer&& other) noexcept;
  /// The same if the resources are equal; else copies the unread part and leaves `other` empty.
  buffer(buffer&& other, allocator_type allocator);
  ~buffer() { release_block(); }

  /// Copies the unread part and the limit; keeps the own resource.
  buffer& operator=(const buffer& other);
  /// Takes the storage over if the resources are equal; else copies and leaves `other` empty.
  buffer& operator=(buffer&& other);
  /// Exchanges everything, the resources included, so it is defined for unequal ones too. O(1).
  void swap(buffer& other) noexcept;
  friend void swap(buffer& a, buffer& b) noexcept { a.swap(b); }
  [[nodiscard]] allocator_type get_allocator() const noexcept { return {resource_}; }

  // --- the unread part ---

  [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(write_ - read_); }
  [[nodiscard]] bool empty() const noexcept { return read_ == write_; }
  /// Bytes of the whole block held, 0 if none.
  [[nodiscard]] std::size_t capacity() const noexcept {
    return static_cast<std::size_t>(block_end_ - block_);
  }
  /// Bytes that can be written now without moving anything.
  [[nodiscard]] std::size_t available() const noexcept {
    return std::min(static_cast<std::size_t>(block_end_ - write_), size_headroom());
  }
  /// Bytes that may be committed: those of the last `prepare`, 0 if there was none or something ended it.
  [[nodiscard]] std::size_t prepared() const noexcept { return prepared_bytes_; }
  /// The most bytes `size()` may reach.
  [[nodiscard]] std::size_t max_size() const noexcept { return max_size_; }
  /// Sets that limit. Bytes already there stay, even beyond it. Bounds `size()`, not `capacity()`.
  void max_size(std::size_t bytes) noexcept;

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept CISTERN_LIFETIMEBOUND {
    return {reinterpret_cast<const std::byte*>(read_), size()};
  }
  [[nodiscard]] std::string_view view() const noexcept CISTERN_LIFETIMEBOUND { return {read_, size()}; }

  // --- write: each ends the right to un-read; amortised O(bytes written) ---

  /// Room for exactly `n` bytes behind the unread part, uninitialised, to be filled and then committed.
  [[nodiscard]] std::span<std::byte> prepare(std::size_t n) CISTERN_LIFETIMEBOUND {
    if (n >= room() || empty()) {
      make_room(n);
    }
    detail::poison_tail(write_, static_cast<std::size_t>(block_end_ - write_));
    detail::unpoison_tail(write_, n);
    claim(n);
    return {reinterpret_cast<std::byte*>(write_), n};
  }
  /// Appends the first `n` prepared bytes, which ends the prepared region. Throws `std::logic_error` if fewer
  /// are prepared: what was written there isn't the buffer's, or has been overwritten by a later write.
  void commit(std::size_t n) {
    if (n > prepared_bytes_) [[unlikely]] {
      detail::throw_not_prepared(n, prepared_bytes_);
    }
    write_ += n;
    update_limit();
    end_unread();
    detail::poison_tail(write_, static_cast<std::size_t>(block_end_ - write_));
  }

  /// Appends a copy. `text` may lie in this buffer, in its unread part or in what was just read.
  buffer& append(std::string_view text) CISTERN_LIFETIMEBOUND {
    if (text.size() >= room()) [[unlikely]] {
      append_slow(text.data(), text.size());
      return *this;
    }
    detail::unpoison_tail(write_, text.size());
    detail::copy_bytes(write_, text.data(), text.size());
    write_ += text.size();
    return *this;
  }
  buffer& append(std::span<const std::byte> bytes) CISTERN_LIFETIMEBOUND {
    return append(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  void append(const char* first, const char* last) {
    append(std::string_view(first, static_cast<std::size_t>(last - first)));
  }
  void push_back(char c) {
    // A loop of these keeps the whole buffer in registers if nothing else in it needs the buffer's address:
    // the slow path takes the storage by value and hands it back, and char8_t may not alias the members.
    // Whoever reads the byte does so as char or std::byte, which may alias anything.
    if (write_ == write_limit_) [[unlikely]] {
      take_storage(
          with_room_for_one(resource_, {block_, read_, write_, write_limit_, block_end_}, max_size_));
    }
    detail::unpoison_tail(write_, 1);
    *reinterpret_cast<char8_t*>(write_) = static_cast<char8_t>(c);
    ++write_;
  }
  /// Appends the UTF-8 form; surrogates and values above U+10FFFF as U+FFFD.
  void append_utf8(char32_t character);
  /// Puts a copy of `text` in front of the unread part. `text` may lie in this buffer. Amortised O(bytes).
  void prepend(std::string_view text);
  /// Appends `value` in big-endian order, `sizeof(T)` bytes.
  template <std::integral T>
  void put_be(T value) {
    put_bytes<std::endian::big>(value);
  }
  /// Appends `value` in little-endian order, `sizeof(T)` bytes.
  template <std::integral T>
  void put_le(T value) {
    put_bytes<std::endian::little>(value);
  }

  // --- read: nothing moves, nothing is invalidated; O(1) unless bytes are copied or searched ---

  /// Copies the next bytes out; returns how many, 0 at the end.
  std::size_t read(std::span<std::byte> out) noexcept {
    const std::string_view bytes = next(out.size());
    if (!bytes.empty()) {
      std::memcpy(out.data(), bytes.data(), bytes.size());
    }
    return bytes.size();
  }
  /// Reads the next `n` bytes, or all there are.
  std::string_view next(std::size_t n) noexcept CISTERN_LIFETIMEBOUND {
    const std::string_view bytes = peek(n);
    advance(bytes.size());
    return bytes;
  }
  /// The next `n` bytes, or all there are, without reading them.
  [[nodiscard]] std::string_view peek(std::size_t n) const noexcept CISTERN_LIFETIMEBOUND {
    return {read_, std::min(n, size())};
  }
  /// Reads past the next `n` bytes, or all there are.
  void consume(std::size_t n) noexcept { advance(std::min(n, size())); }
  std::optional<char> read_byte() noexcept {
    const std::string_view byte = next(1);
    return byte.empty() ? std::nullopt : std::optional<char>(byte.front());
  }
  /// Reads one character; invalid UTF-8 gives U+FFFD and reads one byte.
  std::optional<utf8_char> read_utf8() noexcept;
  /// Reads up to and including the first `delim`; all there is, with `found` false, if there is none.
  line read_until(char delim) noexcept CISTERN_LIFETIMEBOUND {
    if (size() >= detail::searched_at_once_bytes) [[likely]] {
      if (const std::uint64_t hits = detail::matches(read_, delim); hits != 0) [[likely]] {
        const line result{{read_, std::size_t{static_cast<unsigned>(std::countr_zero(hits))} + 1}, true};
        advance(result.view.size());
        return result;
      }
    }
    const char* const hit = detail::find_byte(read_, write_, delim);
    const char* const stop = hit != nullptr ? hit + 1 : write_;
    const line result{{read_, static_cast<std::size_t>(stop - read_)}, hit != nullptr};
    advance(result.view.size());
    return result;
  }
  /// Reads `sizeof(T)` bytes in big-endian order; fewer are no value and stay.
  template <std::integral T>
  std::optional<T> get_be() noexcept {
    return get_bytes<std::endian::big, T>();
  }
  /// Reads `sizeof(T)` bytes in little-endian order; fewer are no value and stay.
  template <std::integral T>
  std::optional<T> get_le() noexcept {
    return get_bytes<std::endian::little, T>();
  }
  /// Takes back the last byte read. Only right after a read of at least one byte; else false.
  bool unread_byte() noexcept;
  /// Takes back the last character. Only right after `read_utf8`; else false.
  bool unread_utf8() noexcept;

  // --- storage ---

  /// Keeps the first `n` unread bytes. `std::out_of_range` if there are fewer.
  void truncate(std::size_t n);
  /// Drops everything, keeps the block.
  void clear() noexcept;
  /// Drops everything and gives the block back.
  void reset() noexcept;
  /// Moves to the smallest block that holds the unread part, if that is smaller.
  void shrink_to_fit();
  /// The next `n` bytes written allocate nothing.
  void reserve_more(std::size_t n) {
    if (n >= room()) {
      make_room(n);
    }
  }

  // --- input and output ---
  // Each returns the bytes transferred. The failure of a stream or descriptor is a std::system_error, or is
  // put into `error`; what was transferred before it stays transferred. `read_from` asks for at least 512
  // bytes at a time and moves to a larger block only when a byte arrives that needs it.

  /// Appends everything until the end of `in`. `std::length_error` when `max_size()` would be exceeded; what
  /// fits is read before that.
  std::size_t read_from(std::istream& in);
  std::size_t read_from(std::istream& in, std::error_code& error);
  /// The same from a POSIX file descriptor, until `read` returns 0; interrupted calls are repeated. Pipes and
  /// terminals can't tell without reading whether their input has ended, so for these `std::length_error` is
  /// also thrown when it ends exactly at `max_size()`.
  std::size_t read_from(int descriptor);
  std::size_t read_from(int descriptor, std::error_code& error);
  /// The same from a callable. What it throws passes through; a count larger than the room it was given is a
  /// `std::logic_error`, and so is one that wrote to this buffer, prepared room in it or swapped it. At
  /// `max_size()` as for a pipe.
  template <byte_reader Reader>
  std::size_t read_from(Reader&& reader);

  /// Writes the unread part to `out` in one call and reads past what was taken. A short write is an error;
  /// the rest is kept.
  std::size_t write_to(std::ostream& out);
  std::size_t write_to(std::ostream& out, std::error_code& error);
  /// The same to a POSIX file descriptor, in as many calls as it takes.
  std::size_t write_to(int descriptor);
  std::size_t write_to(int descriptor, std::error_code& error);
  /// The same to a callable, in one call. What it throws passes through, and nothing is read past. It may
  /// append to this buffer, but must not read from it: `std::logic_error` if less is left than there was.
  template <byte_writer Writer>
  std::size_t write_to(Writer&& writer);

  /// Checks the invariant `block_ <= read_ <= write_ <= write_limit_ <= block_end_`; for tests.
  [[nodiscard]] bool check_invariants() const noexcept;

 private:
  friend class chain;
  friend class detail::tail_writer;
  class read_space;

  // What may be un-read: nothing, one byte, or (1 to 4) the character of that many bytes.
  enum class last_read : std::int32_t { byte = -1, nothing = 0 };

  static constexpr std::size_t largest_size = SIZE_MAX / 2;
  static constexpr std::size_t smallest_appended_block_bytes = 256;
  static constexpr std::size_t block_alignment = alignof(std::max_align_t);

  // Reading and preparing leave the fast paths no room, so that the first write after them is a slow one,
  // which ends the right to un-read and the prepared region: fast writes have nothing to do for that.
  void advance(std::size_t n) noexcept {
    read_ += n;
    write_limit_ = write_;
    last_read_ = n != 0 ? last_read::byte : last_read::nothing;
  }
  void end_unread() noexcept { last_read_ = last_read::nothing; }
  /// The first `n` bytes behind the unread part belong to whoever fills them, until the next write.
  void claim(std::size_t n) noexcept {
    write_limit_ = write_;
    prepared_bytes_ = n;
  }
  /// Bytes that the fast paths may write; never more than `available()`.
  [[nodiscard]] std::size_t room() const noexcept { return static_cast<std::size_t>(write_limit_ - write_); }
  [[nodiscard]] std::size_t size_headroom() const noexcept {
    return max_size_ > size() ? max_size_ - size() : 0;
  }
  void release_block() noexcept {
    if (block_ != nullptr) {
      detail::unpoison_tail(block_, capacity());
      detail::give_back(*resource_, block_, capacity(), block_alignment);
    }
  }

  void make_room(std::size_t n);
  struct storage {
    char* block;
    char* read;
    char* write;
    char* write_limit;
    char* block_end;
  };
  [[nodiscard]] static storage with_room_for_one(std::pmr::memory_resource* resource, storage from,
                                                 std::size_t max_size);
  void take_storage(const storage& from) noexcept {
    block_ = from.block;
    read_ = from.read;
    write_ = from.write;
    write_limit_ = from.write_limit;
    block_end_ = from.block_end;
    prepared_bytes_ = 0;
    end_unread();
  }
  void append_slow(const char* data, std::size_t n);
  void append_in_new_block(std::size_t capacity, const char* data, std::size_t n);
  void append_in_room(const char* data, std::size_t n) noexcept;
  void check_growth(std::size_t n) const;
  [[nodiscard]] bool reading_takes_larger_block() const noexcept;
  [[nodiscard]] std::size_t wanted_capacity(std::size_t n) const noexcept;
  [[nodiscard]] bool owns(const char* data) const noexcept;
  void update_limit() noexcept {
    write_limit_ = write_ + available();
    prepared_bytes_ = 0;
  }
  void rewind(std::size_t front = 0) noexcept;
  void move_unread(char* block, std::size_t capacity, std::size_t front) noexcept;
  [[nodiscard]] char* allocate_block(std::size_t bytes) {
    return static_cast<char*>(resource_->allocate(bytes, block_alignment));
  }
  void steal(buffer& other) noexcept;
  void forget_block() noexcept;

  template <std::endian Order, std::integral T>
  void put_bytes(T value);
  template <std::endian Order, std::integral T>
  std::optional<T> get_bytes() noexcept;

  std::pmr::memory_resource* resource_;
  char* block_ = nullptr;
  char* read_ = nullptr;
  char* write_ = nullptr;
  char* write_limit_ = nullptr;  // the block's end, or earlier: max_size(), right to un-read, prepared region
  char* block_end_ = nullptr;
  std::size_t prepared_bytes_ = 0;  // behind write_
  std::size_t max_size_ = largest_size;
  last_read last_read_ = last_read::nothing;
};

}  // namespace cistern

#include <cistern/detail/bytes/buffer_templates.hpp>
