#include <cistern/buffer.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/base/utf8.hpp>

#include <functional>
#include <stdexcept>

namespace cistern {

// --- construction, assignment ---

buffer::buffer(const buffer& other, allocator_type allocator) : buffer(allocator) {
  reserve_more(other.size());
  append(other.view());
  max_size(other.max_size_);
}

buffer::buffer(std::string_view text, allocator_type allocator) : buffer(allocator) {
  reserve_more(text.size());
  append(text);
}

buffer::buffer(buffer&& other) noexcept : resource_(other.resource_) {
  steal(other);
}

buffer::buffer(buffer&& other, allocator_type allocator) : buffer(allocator) {
  if (*resource_ == *other.resource_) {
    steal(other);
  } else {
    reserve_more(other.size());
    append(other.view());
    max_size(other.max_size_);
    other.clear();
  }
}

buffer& buffer::operator=(const buffer& other) {
  if (this == &other) {
    return *this;
  }
  if (other.size() > capacity()) {
    buffer copy(other, resource_);
    swap(copy);
  } else {
    max_size_ = largest_size;
    clear();
    append(other.view());
    max_size(other.max_size_);
  }
  return *this;
}

buffer& buffer::operator=(buffer&& other) {
  if (this != &other) {
    buffer taken(std::move(other), resource_);
    swap(taken);
  }
  return *this;
}

void buffer::swap(buffer& other) noexcept {
  std::swap(resource_, other.resource_);
  std::swap(block_, other.block_);
  std::swap(read_, other.read_);
  std::swap(write_, other.write_);
  std::swap(write_limit_, other.write_limit_);
  std::swap(block_end_, other.block_end_);
  std::swap(prepared_bytes_, other.prepared_bytes_);
  std::swap(max_size_, other.max_size_);
  std::swap(last_read_, other.last_read_);
}

/// Takes all but the resource from `other`; holds no block before.
void buffer::steal(buffer& other) noexcept {
  block_ = other.block_;
  read_ = other.read_;
  write_ = other.write_;
  write_limit_ = other.write_limit_;
  block_end_ = other.block_end_;
  prepared_bytes_ = other.prepared_bytes_;
  max_size_ = other.max_size_;
  last_read_ = other.last_read_;
  other.forget_block();
}

void buffer::forget_block() noexcept {
  block_ = read_ = write_ = write_limit_ = block_end_ = nullptr;
  prepared_bytes_ = 0;
  end_unread();
}

// --- growth ---

void buffer::check_growth(std::size_t n) const {
  if (n > size_headroom()) {
    throw std::length_error("cistern::buffer: the size would exceed max_size()");
  }
}

/// The block size to move to for `n` more bytes: at least double, so that each byte is moved a bounded number
/// of times on average. The limit on the size doesn't bound it: near that limit a block without slack would
/// have to move everything for every byte.
std::size_t buffer::wanted_capacity(std::size_t n) const noexcept {
  return detail::good_size(std::max(2 * size(), size() + n));
}

/// Moves the unread part to `front` bytes behind the start of the block.
void buffer::rewind(std::size_t front) noexcept {
  const std::size_t live = size();
  char* const to = block_ + front;
  if (live != 0 && to != read_) {
    detail::unpoison_tail(block_, capacity());
    std::memmove(to, read_, live);
  }
  read_ = to;
  write_ = to + live;
  detail::poison_tail(write_, static_cast<std::size_t>(block_end_ - write_));
  update_limit();
  end_unread();
}

/// Moves the unread part into `block`, `front` bytes behind its start, and gives the old block back.
void buffer::move_unread(char* block, std::size_t capacity, std::size_t front) noexcept {
  const std::size_t live = size();
  if (live != 0) {
    std::memcpy(block + front, read_, live);
  }
  release_block();
  block_ = block;
  block_end_ = block + capacity;
  read_ = block + front;
  write_ = read_ + live;
  detail::poison_tail(write_, static_cast<std::size_t>(block_end_ - write_));
  update_limit();
  end_unread();
}

void buffer::make_room(std::size_t n) {
  check_growth(n);
  if (n <= available() && !empty()) {
    update_limit();  // it was computed before bytes were read
    end_unread();
    return;
  }
  const std::size_t want = wanted_capacity(n);
  if (want > capacity() && n != 0) {
    move_unread(allocate_block(want), want, 0);
  } else if (block_ != nullptr) {
    rewind();
  }
  end_unread();
}

/// What `from` becomes when a byte is to be appended: it begins and grows as by `append`.
buffer::storage buffer::with_room_for_one(std::pmr::memory_resource* resource, storage from,
                                          std::size_t max_size) {
  const auto size = static_cast<std::size_t>(from.write - from.read);
  if (size != 0 && from.write != from.block_end && size < max_size) {
    // Only the limit was out of date: bytes were read since.
    from.write_limit =
        from.write + std::min(static_cast<std::size_t>(from.block_end - from.write), max_size - size);
    return from;
  }
  buffer grown(resource);
  grown.take_storage(from);
  grown.max_size_ = max_size;
  try {
    grown.check_growth(1);
    grown.make_room(from.block == nullptr ? std::min(smallest_appended_block_bytes, max_size) : 1);
  } catch (...) {
    grown.forget_block();  // it stays the caller's
    throw;
  }
  const storage result{grown.block_, grown.read_, grown.write_, grown.write_limit_, grown.block_end_};
  grown.forget_block();
  return result;
}

bool buffer::owns(const char* data) const noexcept {
  const std::less<const char*> before;  // a total order, where < on unrelated pointers promises nothing
  return block_ != nullptr && !before(data, block_) && before(data, block_end_);
}

/// Appends where there is room; `data` may lie in this block.
void buffer::append_in_room(const char* data, std::size_t n) noexcept {
  if (n != 0) {
    detail::unpoison_tail(write_, n);
    std::memmove(write_, data, n);
    write_ += n;
  }
}

void buffer::append_slow(const char* data, std::size_t n) {
  check_growth(n);
  const bool own = owns(data);
  if (n > available() || (empty() && !own)) {
    // What begins with a small piece goes on: the sizes nobody asked for are skipped. Whoever knows the size
    // says so with reserve_more or prepare, and gets just that.
    const std::size_t at_least = capacity() == 0 && n != 0 ? smallest_appended_block_bytes : 0;
    const std::size_t want = std::max(wanted_capacity(n), at_least);
    if (want > capacity() || (own && (data < read_ || data + n > write_))) {
      // To a larger block, or, with a source that moving to the front would overwrite, to another one.
      if (n != 0) {
        append_in_new_block(want, data, n);
      }
      return;
    }
    const auto offset = own ? data - read_ : 0;
    if (block_ != nullptr) {
      rewind();
    }
    data = own ? read_ + offset : data;  // moving to the front carries a source in the unread part along
  } else {
    update_limit();
  }
  end_unread();
  append_in_room(data, n);
}

void buffer::append_in_new_block(std::size_t capacity, const char* data, std::size_t n) {
  const std::size_t live = size();
  char* const block = allocate_block(capacity);
  std::memcpy(block + live, data, n);  // before the old block goes: the source may lie there
  move_unread(block, capacity, 0);
  detail::unpoison_tail(write_, n);
  write_ += n;
  update_limit();
}

void buffer::prepend(std::string_view text) {
  const std::size_t n = text.size();
  check_growth(n);
  if (n == 0) {
    end_unread();
    return;
  }
  if (n > static_cast<std::size_t>(read_ - block_)) {
    // Half of what is left goes in front, so that repeated prepending is amortised too.
    const std::size_t want = wanted_capacity(n);
    const bool in_place = want <= capacity() && !owns(text.data());
    const std::size_t total = in_place ? capacity() : want;
    const std::size_t front = n + (total - size() - n) / 2;
    if (in_place) {
      rewind(front);
    } else {
      char* const block = allocate_block(want);
      std::memcpy(block + front - n, text.data(), n);
      move_unread(block, want, front);
      read_ -= n;
      update_limit();
      return;
    }
  }
  detail::unpoison_tail(read_ - n, n);  // unused until now
  std::memmove(read_ - n, text.data(), n);
  read_ -= n;
  update_limit();
  end_unread();
}

// --- text ---

void buffer::append_utf8(char32_t character) {
  char form[4];
  const std::size_t length = detail::encode_utf8(character, form);
  append(std::string_view(form, length));
}

std::optional<buffer::utf8_char> buffer::read_utf8() noexcept {
  if (empty()) {
    end_unread();
    return std::nullopt;
  }
  const detail::decoded_utf8 decoded = detail::decode_utf8(view());
  advance(decoded.bytes);
  last_read_ = static_cast<last_read>(decoded.bytes);
  return utf8_char{decoded.character, decoded.bytes};
}

bool buffer::unread_byte() noexcept {
  if (last_read_ == last_read::nothing) {
    return false;
  }
  --read_;
  end_unread();
  return true;
}

bool buffer::unread_utf8() noexcept {
  if (last_read_ == last_read::nothing || last_read_ == last_read::byte) {
    return false;
  }
  read_ -= static_cast<std::int32_t>(last_read_);
  end_unread();
  return true;
}

// --- storage ---

void buffer::max_size(std::size_t bytes) noexcept {
  max_size_ = std::min(bytes, largest_size);
  write_limit_ = write_;  // the next write computes it
}

void buffer::truncate(std::size_t n) {
  if (n > size()) {
    throw std::out_of_range("cistern::buffer::truncate: longer than the unread part");
  }
  if (n == 0) {
    clear();
    return;
  }
  write_ = read_ + n;
  detail::poison_tail(write_, static_cast<std::size_t>(block_end_ - write_));
  update_limit();
  end_unread();
}

void buffer::clear() noexcept {
  if (block_ == nullptr) {
    return;
  }
  read_ = write_ = block_;
  detail::poison_tail(block_, capacity());
  update_limit();
  end_unread();
}

void buffer::reset() noexcept {
  release_block();
  forget_block();
}

void buffer::shrink_to_fit() {
  if (empty()) {
    reset();
    return;
  }
  const std::size_t want = detail::good_size(size());
  if (want < capacity()) {
    move_unread(allocate_block(want), want, 0);
  }
  end_unread();
}

bool buffer::check_invariants() const noexcept {
  const bool ordered =
      block_ <= read_ && read_ <= write_ && write_ <= write_limit_ && write_limit_ <= block_end_;
  const bool limited = static_cast<std::size_t>(write_limit_ - write_) <= available();
  const bool unreadable = last_read_ == last_read::nothing || (read_ > block_ && write_limit_ == write_);
  const bool reserved = prepared_bytes_ == 0 || write_limit_ == write_;
  const bool fits = prepared_bytes_ <= static_cast<std::size_t>(block_end_ - write_);
  return ordered && limited && unreadable && reserved && fits;
}

}  // namespace cistern
