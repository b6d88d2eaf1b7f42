#include <cistern/chain.hpp>
#include <cistern/detail/base/asan_tail.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/size_classes.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "../base/posix_call.hpp"
#include <sys/uio.h>

namespace cistern {
namespace {

constexpr std::size_t block_alignment = alignof(std::max_align_t);
constexpr std::size_t smallest_block_option_bytes = 256;
constexpr std::size_t largest_block_option_bytes = std::size_t{1} << 40;
constexpr std::size_t largest_piece_bytes = SIZE_MAX / 4;

std::size_t bytes_between(const std::byte* from, const std::byte* to) noexcept {
  return static_cast<std::size_t>(to - from);
}

void copy_bytes(std::byte* to, std::span<const std::byte> from) noexcept {
  if (!from.empty()) {
    std::memmove(to, from.data(), from.size());
  }
}

template <class Block>
void poison_unused(const Block& b) noexcept {
  detail::poison_tail(b.write, bytes_between(b.write, b.end));
}

template <class Block>
void give_back(Block* b) noexcept {
  detail::unpoison_tail(b->begin, bytes_between(b->begin, b->end));
  if (b->adopted_from != nullptr) {
    b->adopted_from->deallocate(b->begin, bytes_between(b->begin, b->end), block_alignment);
  }
  b->resource->deallocate(b, b->header_block_bytes, block_alignment);
}

/// Appends as much of `bytes` as the block has room for; returns what is left.
template <class Block>
std::span<const std::byte> fill(Block& b, std::span<const std::byte> bytes) noexcept {
  const std::size_t n = std::min(bytes.size(), bytes_between(b.write, b.end));
  detail::unpoison_tail(b.write, n);
  copy_bytes(b.write, bytes.first(n));
  b.write += n;
  return bytes.subspan(n);
}

template <class Block>
void make_empty(Block& b) noexcept {
  b.read = b.write = b.begin;
  poison_unused(b);
}

}  // namespace

/// Blocks on their way into a chain; gives them back if something throws before they get there.
class chain::block_list {
 public:
  block_list() = default;
  block_list(const block_list&) = delete;
  block_list& operator=(const block_list&) = delete;
  ~block_list() {
    while (first_ != nullptr) give_back(pop());
  }
  void push(block* b) noexcept {
    b->next = nullptr;
    (first_ == nullptr ? first_ : last_->next) = b;
    last_ = b;
  }
  block* pop() noexcept { return std::exchange(first_, first_->next); }
  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }

 private:
  block* first_ = nullptr;
  block* last_ = nullptr;
};

// --- construction ---

chain::chain(std::pmr::memory_resource* resource, const chain_options& options) : chain(resource) {
  if (options.block_bytes < smallest_block_option_bytes || options.block_bytes > largest_block_option_bytes) {
    throw std::invalid_argument(
        "cistern::chain_options: block_bytes is " + std::to_string(options.block_bytes) + ", must be from " +
        std::to_string(smallest_block_option_bytes) + " to " + std::to_string(largest_block_option_bytes));
  }
  block_bytes_ = options.block_bytes;
}

chain::chain(chain&& other) noexcept
    : resource_(other.resource_),
      first_(std::exchange(other.first_, nullptr)),
      last_(std::exchange(other.last_, nullptr)),
      spare_(std::exchange(other.spare_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      block_bytes_(other.block_bytes_) {}

chain& chain::operator=(chain&& other) noexcept {
  if (this != &other) {
    chain taken(std::move(other));
    swap(taken);
  }
  return *this;
}

void chain::swap(chain& other) noexcept {
  std::swap(resource_, other.resource_);
  std::swap(first_, other.first_);
  std::swap(last_, other.last_);
  std::swap(spare_, other.spare_);
  std::swap(size_, other.size_);
  std::swap(block_bytes_, other.block_bytes_);
}

// --- blocks ---

std::size_t chain::default_room() const noexcept {
  return detail::good_size(block_bytes_) - sizeof(block);
}

std::size_t chain::tail_room() const noexcept {
  return last_ == nullptr ? 0 : bytes_between(last_->write, last_->end);
}

/// An empty block with at least `room_bytes` of room; never smaller than the option says.
chain::block* chain::allocate_block(std::size_t room_bytes) const {
  if (room_bytes > largest_piece_bytes) {
    throw std::length_error("cistern::chain: no block can be that large");
  }
  const std::size_t bytes = detail::good_size(std::max(block_bytes_, room_bytes + sizeof(block)));
  auto* const memory = static_cast<std::byte*>(resource_->allocate(bytes, block_alignment));
  std::byte* const begin = memory + sizeof(block);
  auto* const b = new (memory) block{nullptr, resource_, bytes, begin, begin, begin, memory + bytes, nullptr};
  poison_unused(*b);
  return b;
}

void chain::link_back(block* b) noexcept {
  b->next = nullptr;
  (last_ == nullptr ? first_ : last_->next) = b;
  last_ = b;
}

void chain::link_front(block* b) noexcept {
  b->next = first_;
  first_ = b;
  if (last_ == nullptr) {
    last_ = b;
  }
}

chain::block* chain::unlink_front() noexcept {
  block* const b = std::exchange(first_, first_->next);
  if (first_ == nullptr) {
    last_ = nullptr;
  }
  return b;
}

/// Keeps the empty block `b` for later, as it stands: a prepared region in its tail stays valid.
void chain::keep_spare(block* b) noexcept {
  if (spare_ == nullptr) {
    spare_ = b;
  } else {
    give_back(b);
  }
}

// --- what it holds ---

std::size_t chain::block_count() const noexcept {
  std::size_t count = 0;
  for_each([&](std::span<const std::byte>) { ++count; });
  return count;
}

std::span<const std::byte> chain::front() const noexcept {
  return first_ == nullptr ? std::span<const std::byte>()
                           : std::span<const std::byte>(first_->read, first_->write);
}

std::size_t chain::available() const noexcept {
  return tail_room() + (spare_ == nullptr ? 0 : bytes_between(spare_->begin, spare_->end));
}

std::size_t chain::copy_to(std::span<std::byte> out) const noexcept {
  std::size_t copied = 0;
  for (const block* b = first_; b != nullptr && copied < out.size(); b = b->next) {
    const std::size_t n = std::min(bytes_between(b->read, b->write), out.size() - copied);
    copy_bytes(out.data() + copied, {b->read, n});
    copied += n;
  }
  return copied;
}

std::size_t chain::vectors(std::span<iovec> vectors) const noexcept {
  std::size_t count = 0;
  for (const block* b = first_; b != nullptr && count < vectors.size(); b = b->next) {
    vectors[count++] = {b->read, bytes_between(b->read, b->write)};
  }
  return count;
}

// --- write ---

chain& chain::append(std::span<const std::byte> bytes) {
  if (bytes.size() > largest_piece_bytes) {
    throw std::length_error("cistern::chain: no piece can be that large");
  }
  block_list fresh;  // all of them first: a failure must change nothing
  std::size_t room = available();
  while (room < bytes.size()) {
    fresh.push(allocate_block(0));
    room += default_room();
  }
  size_ += bytes.size();
  if (last_ != nullptr) {
    bytes = fill(*last_, bytes);
  }
  while (!bytes.empty()) {
    if (spare_ != nullptr) {
      make_empty(*spare_);
    }
    link_back(spare_ != nullptr ? std::exchange(spare_, nullptr) : fresh.pop());
    bytes = fill(*last_, bytes);
  }
  return *this;
}

std::span<std::byte> chain::prepare(std::size_t n) {
  if (n == 0) {
    return {};
  }
  block* target = last_;
  if (tail_room() >= n) {
    if (spare_ != nullptr) {
      give_back(std::exchange(spare_, nullptr));
    }
  } else {
    if (spare_ == nullptr || bytes_between(spare_->begin, spare_->end) < n) {
      block* const larger = allocate_block(n);
      if (spare_ != nullptr) {
        give_back(spare_);
      }
      spare_ = larger;
    }
    make_empty(*spare_);
    target = spare_;
  }
  poison_unused(*target);
  detail::unpoison_tail(target->write, n);
  return {target->write, n};
}

void chain::commit(std::size_t n) noexcept {
  if (n == 0) {
    return;
  }
  block* const target = spare_ != nullptr ? spare_ : last_;
  CISTERN_EXPECTS(target != nullptr && n <= bytes_between(target->write, target->end),
                  "chain: commit beyond the prepared region", n);
  target->write += n;
  size_ += n;
  poison_unused(*target);
  if (target == spare_) {
    link_back(std::exchange(spare_, nullptr));
  }
}

chain& chain::prepend(std::span<const std::byte> bytes) {
  if (bytes.empty()) {
    return *this;
  }
  if (first_ == nullptr || bytes_between(first_->begin, first_->read) < bytes.size()) {
    block* const b = allocate_block(bytes.size());
    detail::unpoison_tail(b->begin, bytes_between(b->begin, b->end));
    b->read = b->write = b->end;  // what comes in front of it later has room
    link_front(b);
  }
  first_->read -= bytes.size();
  detail::unpoison_tail(first_->read, bytes.size());  // unused until now
  copy_bytes(first_->read, bytes);
  size_ += bytes.size();
  return *this;
}

// --- join and cut ---

void chain::adopt(buffer&& source) {
  if (source.empty()) {
    return;
  }
  const std::size_t header_bytes_asked = detail::good_size(sizeof(block));
  void* const memory = resource_->allocate(header_bytes_asked, block_alignment);
  const auto byte = [](char* at) { return reinterpret_cast<std::byte*>(at); };
  link_back(new (memory)
                block{nullptr, resource_, header_bytes_asked, byte(source.block_), byte(source.read_),
                      byte(source.write_), byte(source.block_end_), source.resource_});
  size_ += source.size();
  source.forget_block();
}

void chain::splice(chain&& other) noexcept {
  CISTERN_EXPECTS(&other != this, "chain: spliced into itself", other.size_);
  if (other.first_ == nullptr) {
    return;
  }
  (last_ == nullptr ? first_ : last_->next) = std::exchange(other.first_, nullptr);
  last_ = std::exchange(other.last_, nullptr);
  size_ += std::exchange(other.size_, 0);
}

void chain::prepend(chain&& other) noexcept {
  CISTERN_EXPECTS(&other != this, "chain: prepended to itself", other.size_);
  if (other.first_ == nullptr) {
    return;
  }
  other.last_->next = first_;
  first_ = std::exchange(other.first_, nullptr);
  if (last_ == nullptr) {
    last_ = other.last_;
  }
  other.last_ = nullptr;
  size_ += std::exchange(other.size_, 0);
}

/// The block that the cut behind the first `n` bytes goes through, or null if it falls between two; `n`
/// becomes the number of that block's bytes before the cut.
chain::block* chain::find_cut(std::size_t& n) const noexcept {
  for (block* b = first_; b != nullptr; b = b->next) {
    const std::size_t bytes = bytes_between(b->read, b->write);
    if (n <= bytes) {
      return n == 0 || n == bytes ? nullptr : b;
    }
    n -= bytes;
  }
  return nullptr;
}

chain chain::split(std::size_t n) {
  n = std::min(n, size_);
  chain front(resource_);
  front.block_bytes_ = block_bytes_;
  std::size_t before = n;
  block* const cut = find_cut(before);
  block* copy = nullptr;
  const std::size_t after = cut == nullptr ? 0 : bytes_between(cut->read, cut->write) - before;
  const bool copy_front = before <= after;
  if (cut != nullptr) {
    copy = allocate_block(std::min(before, after));
    fill(*copy, copy_front ? std::span<const std::byte>(cut->read, before)
                           : std::span<const std::byte>(cut->read + before, after));
  }
  // From here on nothing throws.
  while (first_ != nullptr && first_ != cut && front.size_ < n) {
    const std::size_t bytes = bytes_between(first_->read, first_->write);
    front.size_ += bytes;
    front.link_back(unlink_front());
  }
  if (cut != nullptr) {
    if (copy_front) {
      cut->read += before;
      front.link_back(copy);
    } else {
      cut->write -= after;
      poison_unused(*cut);
      front.link_back(unlink_front());
      link_front(copy);
    }
    front.size_ += before;
  }
  size_ -= front.size_;
  return front;
}

// --- read ---

void chain::consume(std::size_t n) noexcept {
  n = std::min(n, size_);
  size_ -= n;
  while (n != 0) {
    const std::size_t here = std::min(n, bytes_between(first_->read, first_->write));
    first_->read += here;
    n -= here;
    if (first_->read == first_->write) {
      block* const b = unlink_front();
      first_ == nullptr ? keep_spare(b) : give_back(b);
    }
  }
}

void chain::clear() noexcept {
  while (first_ != nullptr) {
    give_back(unlink_front());
  }
  if (spare_ != nullptr) {
    give_back(std::exchange(spare_, nullptr));
  }
  size_ = 0;
}

void chain::flatten(buffer& out) const {
  out.reserve_more(size_);
  for_each([&](std::span<const std::byte> bytes) { out.append(bytes); });
}

buffer chain::flatten() const {
  buffer out(resource_);
  flatten(out);
  return out;
}

std::size_t chain::write_to(int descriptor, std::error_code& error) {
  error.clear();
  std::size_t total = 0;
  while (!empty()) {
    std::array<iovec, 64> pieces;
    const auto count = static_cast<int>(vectors(pieces));
    const ssize_t written =
        detail::without_interruption([&] { return ::writev(descriptor, pieces.data(), count); });
    if (written <= 0) {
      error.assign(written < 0 ? errno : EIO, std::generic_category());
      break;
    }
    consume(static_cast<std::size_t>(written));
    total += static_cast<std::size_t>(written);
  }
  return total;
}

std::size_t chain::write_to(int descriptor) {
  std::error_code error;
  const std::size_t count = write_to(descriptor, error);
  if (error) {
    throw std::system_error(error, "cistern::chain::write_to: writev");
  }
  return count;
}

bool chain::check_invariants() const noexcept {
  std::size_t bytes = 0;
  const block* last = nullptr;
  for (const block* b = first_; b != nullptr; b = b->next) {
    if (b->begin > b->read || b->read >= b->write || b->write > b->end) {
      return false;
    }
    bytes += bytes_between(b->read, b->write);
    last = b;
  }
  const bool spare_is_empty = spare_ == nullptr || spare_->read == spare_->write;
  return bytes == size_ && last == last_ && spare_is_empty;
}

}  // namespace cistern
