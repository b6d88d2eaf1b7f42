// buffer_stream: standard streams that write into a cistern::buffer and read from it.
#pragma once

#include <cistern/buffer.hpp>
#include <cistern/detail/base/abi.hpp>

#include <cstring>
#include <istream>
#include <ostream>
#include <streambuf>

namespace cistern {

/// A stream buffer over a `buffer`, which it refers to and which must outlive it.
///
/// It keeps no characters of its own: what is written through it is in the buffer at once, and what is read
/// through it is read from the buffer at once, so the buffer may be used directly between any two operations.
/// A failure to grow is what iostreams make of an exception: `badbit`, and the exception only where the
/// stream's `exceptions()` ask for it.
class buffer_streambuf : public std::streambuf {
 public:
  explicit buffer_streambuf(buffer& target CISTERN_LIFETIMEBOUND) noexcept : target_(&target) {}

  [[nodiscard]] buffer& target() const noexcept { return *target_; }

 protected:
  std::streamsize xsputn(const char* text, std::streamsize n) override {
    target_->append(std::string_view(text, static_cast<std::size_t>(n)));
    return n;
  }
  int_type overflow(int_type c) override {
    if (traits_type::eq_int_type(c, traits_type::eof())) {
      return traits_type::not_eof(c);
    }
    target_->push_back(traits_type::to_char_type(c));
    return c;
  }

  std::streamsize showmanyc() override {
    return target_->empty() ? -1 : static_cast<std::streamsize>(target_->size());
  }
  std::streamsize xsgetn(char* out, std::streamsize n) override {
    return static_cast<std::streamsize>(
        target_->read(std::as_writable_bytes(std::span(out, static_cast<std::size_t>(n)))));
  }
  int_type underflow() override {
    return target_->empty() ? traits_type::eof() : traits_type::to_int_type(target_->view().front());
  }
  int_type uflow() override {
    const std::optional<char> c = target_->read_byte();
    return c ? traits_type::to_int_type(*c) : traits_type::eof();
  }
  /// Puts back the last character read, as `buffer::unread_byte` does, or another one in its place.
  int_type pbackfail(int_type c) override {
    const bool any = traits_type::eq_int_type(c, traits_type::eof());
    if (!target_->unread_byte()) {
      return traits_type::eof();
    }
    if (!any && traits_type::to_char_type(c) != target_->view().front()) {
      target_->consume(1);
      const char put_back = traits_type::to_char_type(c);
      target_->prepend(std::string_view(&put_back, 1));
    }
    return any ? traits_type::not_eof(c) : c;
  }

 private:
  buffer* target_;
};

namespace detail {

/// Holds the stream buffer, so that it is made before the stream base class that uses it.
struct buffer_streambuf_holder {
  explicit buffer_streambuf_holder(buffer& target CISTERN_LIFETIMEBOUND) noexcept : streambuf_(target) {}
  buffer_streambuf streambuf_;
};

}  // namespace detail

/// An output stream that appends to a `buffer`, which must outlive it.
class buffer_ostream : private detail::buffer_streambuf_holder, public std::ostream {
 public:
  explicit buffer_ostream(buffer& target CISTERN_LIFETIMEBOUND)
      : detail::buffer_streambuf_holder(target), std::ostream(&streambuf_) {}
  [[nodiscard]] buffer_streambuf* rdbuf() noexcept CISTERN_LIFETIMEBOUND { return &streambuf_; }
};

/// An input stream that reads from a `buffer`, which must outlive it.
class buffer_istream : private detail::buffer_streambuf_holder, public std::istream {
 public:
  explicit buffer_istream(buffer& source CISTERN_LIFETIMEBOUND)
      : detail::buffer_streambuf_holder(source), std::istream(&streambuf_) {}
  [[nodiscard]] buffer_streambuf* rdbuf() noexcept CISTERN_LIFETIMEBOUND { return &streambuf_; }
};

}  // namespace cistern
