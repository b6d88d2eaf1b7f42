// Input and output of cistern::buffer: streams and POSIX file descriptors.
#include <cistern/buffer.hpp>
#include <cistern/detail/base/give_back.hpp>
#include <cistern/detail/base/no_cancellation.hpp>

#include <algorithm>
#include <cerrno>
#include <istream>
#include <ostream>
#include <stdexcept>
#include <string>

#include "descriptor.hpp"

namespace cistern {
namespace {

constexpr std::size_t smallest_read_bytes = 512;

void throw_if(const std::error_code& error, const char* what) {
  if (error) {
    throw std::system_error(error, what);
  }
}

}  // namespace

namespace detail {

void throw_counted_too_much() {
  throw std::logic_error("cistern::buffer: the callable counts more bytes than it was given");
}

void throw_used_meanwhile() {
  throw std::logic_error(
      "cistern::buffer: used by what it was reading from, writing to or being printed to by");
}

void throw_not_prepared(std::size_t asked_bytes, std::size_t prepared_bytes) {
  throw std::logic_error("cistern::buffer: commit of " + std::to_string(asked_bytes) + " bytes, where " +
                         std::to_string(prepared_bytes) + " are prepared");
}

void throw_short_write() {
  throw std::system_error(std::make_error_code(std::errc::io_error),
                          "cistern::buffer::write_to: short write");
}

void throw_view_too_large() {
  throw std::length_error("cistern::buffer_dynamic_view: the size would exceed max_size()");
}

}  // namespace detail

// --- room to read into ---

bool buffer::reading_takes_larger_block() const noexcept {
  const std::size_t needed = std::min(smallest_read_bytes, size_headroom());
  const bool in_place = needed != 0 && needed <= available() && !empty();
  return block_ != nullptr && !in_place && (needed == 0 || wanted_capacity(needed) > capacity());
}

buffer::read_space::read_space(buffer& owner) : owner_(owner) {
  const std::size_t needed = std::min(smallest_read_bytes, owner.size_headroom());
  owner.check_growth(std::max<std::size_t>(needed, 1));
  owner.end_unread();
  if (owner.available() < needed || owner.empty()) {
    const std::size_t want = owner.wanted_capacity(needed);
    if (want > owner.capacity()) {
      fresh_block_ = owner.allocate_block(want);
      fresh_capacity_ = want;
      bytes_ = {reinterpret_cast<std::byte*>(fresh_block_ + owner.size()),
                std::min(want - owner.size(), owner.size_headroom())};
      return;
    }
    owner.rewind();
  }
  detail::unpoison_tail(owner.write_, owner.available());
  bytes_ = {reinterpret_cast<std::byte*>(owner.write_), owner.available()};
  owner.claim(bytes_.size());
}

buffer::read_space::~read_space() {
  if (fresh_block_ != nullptr) {
    detail::give_back(*owner_.resource_, fresh_block_, fresh_capacity_, block_alignment);
  } else {
    owner_.update_limit();
    detail::poison_tail(owner_.write_, static_cast<std::size_t>(owner_.block_end_ - owner_.write_));
  }
}

void buffer::read_space::commit(std::size_t n) {
  if (n > bytes_.size()) {
    detail::throw_counted_too_much();
  }
  if (fresh_block_ != nullptr) {
    // The bytes were read to just behind the place of those that were unread then.
    const auto offset = static_cast<std::size_t>(reinterpret_cast<char*>(bytes_.data()) - fresh_block_);
    if (owner_.size() > offset) {
      detail::throw_used_meanwhile();
    }
    owner_.move_unread(std::exchange(fresh_block_, nullptr), fresh_capacity_, offset - owner_.size());
    detail::unpoison_tail(owner_.write_, n);
  } else if (n > owner_.prepared_bytes_ || reinterpret_cast<char*>(bytes_.data()) != owner_.write_) {
    detail::throw_used_meanwhile();
  }
  owner_.write_ += n;
  owner_.update_limit();
}

// --- streams ---

std::size_t buffer::read_from(std::istream& in, std::error_code& error) {
  error.clear();
  if (!in.good()) {
    if (in.bad() || !in.eof()) {
      error = std::make_error_code(std::errc::io_error);
    }
    return 0;
  }
  const std::istream::sentry ready(in, true);
  std::streambuf& source = *in.rdbuf();
  std::size_t total = 0;
  // Looking at the next byte before making room for it keeps the end of the input from growing the buffer.
  while (ready && source.sgetc() != std::char_traits<char>::eof()) {
    read_space space(*this);
    const std::span<std::byte> room = space.bytes();
    // No more than what lies ready: nobody knows how much a stream has taken that throws on the way.
    const std::streamsize ready_bytes = source.in_avail();
    const auto room_bytes = static_cast<std::streamsize>(room.size());
    const auto count = static_cast<std::size_t>(
        source.sgetn(reinterpret_cast<char*>(room.data()),
                     ready_bytes > 0 ? std::min(ready_bytes, room_bytes) : room_bytes));
    space.commit(count);
    total += count;
  }
  end_unread();
  in.setstate(std::ios_base::eofbit);
  return total;
}

std::size_t buffer::read_from(std::istream& in) {
  std::error_code error;
  const std::size_t count = read_from(in, error);
  throw_if(error, "cistern::buffer::read_from: the stream is bad");
  return count;
}

std::size_t buffer::write_to(std::ostream& out, std::error_code& error) {
  error.clear();
  const std::size_t asked = size();
  const detail::no_cancellation until_it_is_counted;
  const std::ostream::sentry ready(out);
  std::size_t count = 0;
  if (ready && asked != 0) {
    count = static_cast<std::size_t>(out.rdbuf()->sputn(read_, static_cast<std::streamsize>(asked)));
    advance(count);
  }
  if (!ready || count < asked) {
    error = std::make_error_code(std::errc::io_error);
    out.setstate(std::ios_base::badbit);
  }
  return count;
}

std::size_t buffer::write_to(std::ostream& out) {
  std::error_code error;
  const std::size_t count = write_to(out, error);
  throw_if(error, "cistern::buffer::write_to: the stream took less than everything");
  return count;
}

// --- file descriptors ---

std::size_t buffer::read_from(int descriptor, std::error_code& error) {
  error.clear();
  detail::descriptor source(descriptor);
  std::size_t total = 0;
  for (;;) {
    if (reading_takes_larger_block() && source.has_ended()) {
      end_unread();
      return total;
    }
    read_space space(*this);
    const ssize_t count = source.read(space.bytes());
    if (count < 0) {
      error.assign(errno, std::generic_category());
    }
    if (count <= 0) {
      return total;
    }
    space.commit(static_cast<std::size_t>(count));
    total += static_cast<std::size_t>(count);
  }
}

std::size_t buffer::read_from(int descriptor) {
  std::error_code error;
  const std::size_t count = read_from(descriptor, error);
  throw_if(error, "cistern::buffer::read_from: read");
  return count;
}

std::size_t buffer::write_to(int descriptor, std::error_code& error) {
  error.clear();
  detail::descriptor target(descriptor);
  std::size_t total = 0;
  while (!empty()) {
    const iovec unread{read_, size()};
    const ssize_t count = target.write({&unread, 1});
    if (count <= 0) {
      error.assign(count < 0 ? errno : EIO, std::generic_category());
      break;
    }
    advance(static_cast<std::size_t>(count));
    total += static_cast<std::size_t>(count);
  }
  return total;
}

std::size_t buffer::write_to(int descriptor) {
  std::error_code error;
  const std::size_t count = write_to(descriptor, error);
  throw_if(error, "cistern::buffer::write_to: write");
  return count;
}

}  // namespace cistern
