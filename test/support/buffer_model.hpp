// Runs a program of bytes on a cistern::buffer and on a string with an offset, and demands the same of both.
#pragma once

#include <cistern/buffer.hpp>
#include <cistern/buffer_format.hpp>
#include <cistern/detail/base/utf8.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "program_bytes.hpp"

namespace cistern::test_support {

/// The buffer's meaning, without its storage.
class model_buffer {
 public:
  [[nodiscard]] std::string_view view() const { return std::string_view(text_).substr(offset_); }
  [[nodiscard]] std::size_t size() const { return view().size(); }

  void append(std::string_view text) { text_.append(std::string(text)), last_read_ = 0; }
  void prepend(std::string_view text) {
    text_ = std::string(text) + std::string(view()), offset_ = 0, last_read_ = 0;
  }
  void truncate(std::size_t n) { text_.resize(offset_ + n), last_read_ = 0; }
  void end_unread() { last_read_ = 0; }

  std::string next(std::size_t n) {
    const std::string bytes(view().substr(0, n));
    offset_ += bytes.size();
    last_read_ = bytes.empty() ? 0 : -1;
    return bytes;
  }
  std::string read_until(char delim) {
    const auto at = view().find(delim);
    return next(at == std::string_view::npos ? size() : at + 1);
  }
  std::string read_character() {
    if (size() == 0) return next(0);
    const auto decoded = detail::decode_utf8(view());
    const std::string bytes = next(decoded.bytes);
    last_read_ = static_cast<int>(decoded.bytes);
    return bytes;
  }
  bool unread(bool character) {
    if (last_read_ == 0 || (character && last_read_ < 0)) return false;
    offset_ -= character ? static_cast<std::size_t>(last_read_) : 1;
    last_read_ = 0;
    return true;
  }

 private:
  std::string text_;
  std::size_t offset_ = 0;
  int last_read_ = 0;  // -1: bytes, 1 to 4: a character of that many bytes
};

/// What a run has come across, so that a test can demand that it came across everything.
struct model_coverage {
  std::size_t operations = 0;
  std::size_t slides = 0;
  std::size_t reallocations = 0;
  std::size_t aliased_appends = 0;
  std::size_t unreads = 0;
  std::size_t refusals = 0;      ///< Writes beyond max_size.
  std::size_t late_commits = 0;  ///< Not right after the prepare.
};

/// One run. Throws std::logic_error where buffer and model differ.
class model_run {
 public:
  model_run(std::span<const std::uint8_t> program, std::pmr::memory_resource* first,
            std::pmr::memory_resource* second)
      : program_(program), resources_{first, second}, buffer_(first) {}

  const model_coverage& run() {
    while (!program_.empty()) {
      const char* const data = buffer_.view().data();
      const std::size_t capacity = buffer_.capacity();
      const bool held_bytes = !buffer_.empty();
      step_beside_prepared(take());
      ++coverage_.operations;
      coverage_.reallocations += capacity != 0 && buffer_.capacity() > capacity ? 1U : 0U;
      coverage_.slides +=
          held_bytes && buffer_.capacity() == capacity && buffer_.view().data() < data ? 1U : 0U;
      check();
    }
    return coverage_;
  }

 private:
  static constexpr std::size_t largest_piece = 700;
  static constexpr std::size_t largest_total = 100'000;  // so that a fuzzer's runs stay short

  static void demand(bool condition, const char* what) {
    if (!condition) throw std::logic_error(std::string("buffer and model differ: ") + what);
  }

  void check() {
    demand(buffer_.view() == model_.view(), "view");
    demand(buffer_.size() == model_.size(), "size");
    demand(buffer_.bytes().size() == model_.size(), "bytes");
    demand(buffer_.empty() == (model_.size() == 0), "empty");
    demand(buffer_.check_invariants(), "invariants");
    demand(buffer_.capacity() >= buffer_.size() + buffer_.available(), "capacity");
  }

  std::uint8_t take() { return program_.byte(); }
  std::size_t take_size() { return program_.word() % largest_piece; }
  std::string take_text() {
    const std::size_t n = take_size();
    const std::uint8_t seed = take();
    std::string text(n, '\0');
    for (std::size_t i = 0; i < n; ++i) text[i] = static_cast<char>(seed + i * 7 + i / 16);
    return text;
  }

  /// Whatever the buffer says is prepared must still be what was written there, and reading must not end it.
  void step_beside_prepared(std::uint8_t operation) {
    const std::size_t prepared = buffer_.prepared();
    step(operation);
    const bool reads = operation % 27 >= 9 && operation % 27 <= 15;
    demand(!reads || buffer_.prepared() == prepared, "reading ended a prepared region");
    if (buffer_.prepared() == 0) return;
    demand(buffer_.prepared() == prepared_text_.size() &&
               std::equal(prepared_text_.begin(), prepared_text_.end(), region_),
           "somebody wrote into the prepared region");
  }

  void step(std::uint8_t operation) {
    if (buffer_.size() > largest_total) skip(buffer_.size() / 2);
    switch (operation % 27) {
      case 0:
        return write(take_text());
      case 1:
        return write(std::string(1, static_cast<char>(take())),
                     [&](std::string_view c) { buffer_.push_back(c[0]); });
      case 2:
        return prepare_and_commit();
      case 3:
        return append_own();
      case 4:
        return append_just_read();
      case 5:
        return prepend(take_text());
      case 6:
        return prepend_own();
      case 7:
        return append_character();
      case 8:
        return integers();
      case 9:
        return skip(take_size());
      case 10:
        return skip(take());
      case 11:
        return read();
      case 12:
        return read_line();
      case 13:
        return read_character();
      case 14:
        return unread(false);
      case 15:
        return unread(true);
      case 16:
        return truncate();
      case 17:
        return storage(take());
      case 18:
        return set_limit();
      case 19:
        return move_to(take());
      case 20:
        return copy_and_swap();
      case 21:
        return peek(take());
      case 22:
        return read_from();
      case 23:
        return write_to();
      case 25:
        return prepare();
      case 26:
        return commit(take_size());
      default:
        return print();
    }
  }

  // The operations: first on the buffer, then, unless it refused, on the model.

  template <class Operation>
  bool accepted(std::size_t more, Operation operation) {
    const bool fits = more <= (buffer_.max_size() > model_.size() ? buffer_.max_size() - model_.size() : 0);
    try {
      operation();
    } catch (const std::length_error&) {
      demand(!fits, "refused what fits");
      ++coverage_.refusals;
      return false;
    }
    demand(fits, "accepted what doesn't fit");
    return true;
  }

  template <class Write>
  void write(const std::string& text, Write operation) {
    if (accepted(text.size(), [&] { operation(std::string_view(text)); })) model_.append(text);
  }
  void write(const std::string& text) {
    write(text, [&](std::string_view piece) { buffer_.append(piece); });
  }

  void prepare_and_commit() {
    const std::size_t n = take_size();
    const std::string text = take_text().substr(0, n);
    if (!accepted(n, [&] { text.copy(reinterpret_cast<char*>(buffer_.prepare(n).data()), n); })) return;
    buffer_.commit(text.size());
    model_.append(text);
  }

  void prepare() {
    const std::string text = take_text();
    if (!accepted(text.size(),
                  [&] { region_ = reinterpret_cast<char*>(buffer_.prepare(text.size()).data()); })) {
      return;
    }
    text.copy(region_, text.size());
    prepared_text_ = text;
    model_.end_unread();
  }
  void commit(std::size_t n) {
    n = n % 2 == 0 ? n : std::min(n, buffer_.prepared());
    const bool allowed = n <= buffer_.prepared();
    try {
      buffer_.commit(n);
    } catch (const std::logic_error&) {
      demand(!allowed, "a commit was refused");
      return;
    }
    demand(allowed && buffer_.prepared() == 0, "a commit of what isn't prepared");
    model_.append(prepared_text_.substr(0, n));
    ++coverage_.late_commits;
  }

  std::string_view own_piece() {
    const std::size_t from = take_size() % (buffer_.size() + 1);
    return buffer_.view().substr(from, take_size());
  }
  void append_own() {
    const std::string_view piece = own_piece();
    const std::string text(piece);
    coverage_.aliased_appends += text.empty() ? 0U : 1U;
    write(text, [&](std::string_view) { buffer_.append(piece); });
  }
  void append_just_read() {
    const std::size_t n = take_size();
    const std::string_view piece = buffer_.next(n);
    const std::string text = model_.next(n);
    demand(piece == text, "next");
    coverage_.aliased_appends += text.empty() ? 0U : 1U;
    write(text, [&](std::string_view) { buffer_.append(piece); });
  }
  void prepend(const std::string& text) {
    if (accepted(text.size(), [&] { buffer_.prepend(text); })) model_.prepend(text);
  }
  void prepend_own() {
    const std::string_view piece = own_piece();
    const std::string text(piece);
    if (accepted(text.size(), [&] { buffer_.prepend(piece); })) model_.prepend(text);
  }
  void append_character() {
    const auto character = static_cast<char32_t>(take() << 16 | take() << 8 | take());
    char form[4];
    const std::string text(form, detail::encode_utf8(character, form));
    write(text, [&](std::string_view) { buffer_.append_utf8(character); });
  }
  void integers() {
    const auto value = static_cast<std::uint16_t>(take() << 8 | take());
    const std::string big{static_cast<char>(value >> 8), static_cast<char>(value)};
    write(big, [&](std::string_view) { buffer_.put_be(value); });
    const std::size_t n = buffer_.size() < 4 ? 0 : 4;
    const auto got = buffer_.get_le<std::uint32_t>();
    std::uint32_t expected = 0;
    for (std::size_t i = 0; i < n; ++i)
      expected |= std::uint32_t{static_cast<unsigned char>(model_.view()[i])} << (8 * i);
    model_.next(n);
    demand(got.has_value() == (n == 4) && (n == 0 || *got == expected), "get_le");
  }
  void peek(std::size_t n) { demand(buffer_.peek(n) == model_.view().substr(0, n), "peek"); }
  void skip(std::size_t n) {
    buffer_.consume(n);
    model_.next(n);
  }
  void read() {
    std::array<std::byte, largest_piece> out;
    const std::size_t asked = take_size();
    const std::size_t got = buffer_.read(std::span(out).first(asked));
    demand(std::string_view(reinterpret_cast<const char*>(out.data()), got) == model_.next(asked), "read");
  }
  void read_line() {
    const auto delim = static_cast<char>(take());
    const bool there = model_.view().find(delim) != std::string_view::npos;
    const auto line = buffer_.read_until(delim);
    demand(line.found == there && line.view == model_.read_until(delim), "read_until");
  }
  void read_character() {
    const auto got = buffer_.read_utf8();
    const std::string bytes = model_.read_character();
    demand(got.has_value() == !bytes.empty() && (!got || got->length_bytes == bytes.size()), "read_utf8");
  }
  void unread(bool character) {
    const bool done = character ? buffer_.unread_utf8() : buffer_.unread_byte();
    demand(done == model_.unread(character), "unread");
    coverage_.unreads += done ? 1U : 0U;
  }
  void truncate() {
    const std::size_t n = take_size();
    try {
      buffer_.truncate(n);
    } catch (const std::out_of_range&) {
      demand(n > model_.size(), "truncate refused");
      return;
    }
    demand(n <= model_.size(), "truncate accepted");
    model_.truncate(n);
  }
  void storage(std::uint8_t which) {
    const std::size_t n = which < 64 ? take_size() : 0;
    if (which < 64) {
      if (!accepted(n, [&] { buffer_.reserve_more(n); })) return;
      demand(buffer_.available() >= n, "reserve_more");
    } else if (which < 128) {
      buffer_.shrink_to_fit();
    } else {
      which < 192 ? buffer_.clear() : buffer_.reset();
      model_.truncate(0);
    }
    model_.end_unread();
  }
  void set_limit() { buffer_.max_size(take() < 128 ? SIZE_MAX : take_size() * 8); }

  void print() {
    const std::string text = take_text();
    write(text, [&](std::string_view piece) {
      print_with(buffer_, [&](char* out, std::size_t room_bytes) {
        piece.copy(out, room_bytes);
        return piece.size();
      });
    });
    model_.end_unread();  // also by a text that is refused: room for it was made before its length was known
  }

  void move_to(std::uint8_t where) {
    std::pmr::memory_resource* const target = resources_[where % resources_.size()];
    const bool equal = target == buffer_.get_allocator().resource();
    buffer moved(std::move(buffer_), target);
    demand(buffer_.empty(), "a moved-from buffer holds bytes");  // NOLINT(bugprone-use-after-move)
    buffer_.swap(moved);
    if (!equal) model_.end_unread();
  }
  void copy_and_swap() {
    buffer copy(buffer_, resources_[take() % resources_.size()]);
    buffer_ = copy;
    model_.end_unread();
  }

  void read_from() {
    std::string text = take_text();
    const std::size_t room = buffer_.max_size() > model_.size() ? buffer_.max_size() - model_.size() : 0;
    std::string_view rest = text;
    try {
      buffer_.read_from([&](std::span<std::byte> space) {
        const std::size_t n = rest.copy(reinterpret_cast<char*>(space.data()), space.size());
        rest.remove_prefix(n);
        return n;
      });
      demand(rest.empty(), "read_from stopped early");
    } catch (const std::length_error&) {
      demand(text.size() >= room, "read_from refused");
      ++coverage_.refusals;
      if (rest.size() == text.size()) return;  // changed nothing
    }
    model_.append(text.substr(0, text.size() - rest.size()));
  }
  void write_to() {
    const std::size_t taken = std::min<std::size_t>(take_size(), buffer_.size());
    const std::string expected(model_.view().substr(0, taken));
    std::string got;
    const bool is_short = taken < buffer_.size();
    try {
      buffer_.write_to([&](std::span<const std::byte> bytes) {
        got.assign(reinterpret_cast<const char*>(bytes.data()), taken);
        return taken;
      });
      demand(!is_short, "a short write went unnoticed");
    } catch (const std::system_error&) {
      demand(is_short, "write_to failed");
    }
    demand(got == expected, "write_to");
    if (model_.size() != 0) model_.next(taken);
  }

  program_bytes program_;
  std::array<std::pmr::memory_resource*, 2> resources_;
  buffer buffer_;
  model_buffer model_;
  model_coverage coverage_;
  char* region_ = nullptr;
  std::string prepared_text_;
};

}  // namespace cistern::test_support
