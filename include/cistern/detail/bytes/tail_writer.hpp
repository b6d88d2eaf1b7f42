// tail_writer: text of unknown length, written straight behind the bytes of a cistern::buffer.
#pragma once

#include <cistern/buffer.hpp>

#include <cstddef>

namespace cistern::detail {

/// The room behind a buffer's bytes, for writing a text there whose length shows only at the end. Nothing of
/// it belongs to the buffer until `finish`; a writer that goes before that leaves the buffer's bytes as they
/// were. Nobody else may write to the buffer meanwhile; what is lost by that is refused, not appended.
class tail_writer {
 public:
  /// Has room for `likely_enough_bytes` at least, or for as much as `max_size()` allows.
  explicit tail_writer(buffer& owner) : owner_(owner) {
    if (owner.room() < likely_enough_bytes) [[unlikely]] {
      start();
    }
    claim_room();
  }
  tail_writer(const tail_writer&) = delete;
  tail_writer& operator=(const tail_writer&) = delete;
  ~tail_writer() {
    if (owner_.prepared_bytes_ != 0) {
      owner_.commit(0);
    }
  }

  [[nodiscard]] char* begin() const noexcept { return owner_.write_; }
  [[nodiscard]] std::size_t room_bytes() const noexcept { return owner_.prepared_bytes_; }
  /// Makes room for `wanted_bytes` in all; the first `written_bytes` are kept, wherever they come to lie.
  void grow(std::size_t written_bytes, std::size_t wanted_bytes);
  /// Appends the first `n` bytes. Throws `std::logic_error` if somebody wrote to the buffer meanwhile.
  void finish(std::size_t n) {
    check_claim();
    owner_.commit(n);
  }

 private:
  static constexpr std::size_t likely_enough_bytes = 64;
  static constexpr std::size_t smallest_block_bytes = 256;

  void start();
  void claim_room() noexcept {
    claimed_ = owner_.write_;
    claimed_bytes_ = owner_.room();
    unpoison_tail(owner_.write_, claimed_bytes_);
    owner_.claim(claimed_bytes_);
  }
  void check_claim() const {
    if (owner_.prepared_bytes_ != claimed_bytes_ || owner_.write_ != claimed_) [[unlikely]] {
      throw_used_meanwhile();
    }
  }

  buffer& owner_;
  const char* claimed_ = nullptr;
  std::size_t claimed_bytes_ = 0;
};

}  // namespace cistern::detail
