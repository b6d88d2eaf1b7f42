#include <cistern/chain.hpp>
#include <cistern/detail/base/asan_tail.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/give_back.hpp>
#include <cistern/detail/base/size_classes.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "descriptor.hpp"
#include <sys/uio.h>

namespace cistern {
namespace {

constexpr std::size_t block_alignment = alignof(std::max_align_t);
constexpr std::size_t smallest_block_option_bytes = 256;
constexpr std::size_t largest_block_option_bytes = std::size_t{1} << 40;
constexpr std::size_t largest_piece_bytes = SIZE_MAX / 4;
constexpr std::size_t little_of_a_block = 4;  // an adopted block is used by more than one part in so many

std::size_t bytes_between(const std::byte* from, const std::byte* to) noexcept {
  return static_cast<std::size_t>(to - from);
}

void copy_bytes(std::byte* to, std::span<const std::byte> from) noexcept {
  if (!from.empty()) {
    std::memmove(to, from.data(), from.size());
  }
}

template <class Block>
std::size_t room_behind(const Block* b) noexcept {
  return b == nullptr ? 0 : bytes_between(b->write, b->end);
}

template <class Block>
std::span<const std::byte> bytes_of(const Block& b) noexcept {
  return {b.read, b.write};
}

template <class Block>
void poison_unused(const Block& b) noexcept {
  detail::poison_tail(b.write, bytes_between(b.write, b.end));
}

template <class Block>
void give_back(Block* b) noexcept {
  detail::unpoison_tail(b->begin, bytes_between(b->begin, b->end));
  if (b->adopted_from != nullptr) {
    detail::give_back(*b->adopted_from, b->begin, bytes_between(b->begin, b->end), block_alignment);
  }
  detail::give_back(*b->resource, b, b->header_block_bytes, block_alignment);
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

/// Drops the first `n` bytes, which nobody may touch from now on.
template <class Block>
void drop_front(Block& b, std::size_t n) noexcept {
  detail::poison_tail(b.read, n);
  b.read += n;
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
      prepared_in_(std::exchange(other.prepared_in_, nullptr)),
      prepared_bytes_(std::exchange(other.prepared_bytes_, 0)),
      size_(std::exchange(other.size_, 0)),
      block_bytes_(other.block_bytes_) {}

chain::chain(chain&& other, allocator_type allocator) noexcept : chain(std::move(other)) {
  resource_ = allocator.resource();
}

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
  std::swap(prepared_in_, other.prepared_in_);
  std::swap(prepared_bytes_, other.prepared_bytes_);
  std::swap(size_, other.size_);
  std::swap(block_bytes_, other.block_bytes_);
}

// --- blocks ---

std::size_t chain::default_room() const noexcept {
  return detail::good_size(block_bytes_) - sizeof(block);
}

/// The room behind the last byte that is free, which a prepared region isn't.
std::size_t chain::tail_room() const noexcept {
  return last_ == prepared_in_ ? 0 : room_behind(last_);
}

/// The same in the spare block.
std::size_t chain::spare_room() const noexcept {
  return spare_ == nullptr || spare_ == prepared_in_ ? 0 : bytes_between(spare_->begin, spare_->end);
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

/// A new block that holds these bytes.
chain::block* chain::copy_of(std::span<const std::byte> bytes) const {
  block* const b = allocate_block(bytes.size());
  fill(*b, bytes);
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

/// Keeps the empty block `b` for later, as it stands, if it has the prepared region or there is none yet.
void chain::keep_spare(block* b) noexcept {
  if (spare_ == nullptr || b == prepared_in_) {
    std::swap(spare_, b);
  }
  if (b != nullptr) {
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
  return tail_room() + spare_room();
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
    vectors[count++] = {b->read, bytes_of(*b).size()};
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
  if (tail_room() != 0) {
    bytes = fill(*last_, bytes);
  }
  while (!bytes.empty()) {
    const bool takes_spare = spare_room() != 0;
    if (takes_spare) {
      make_empty(*spare_);
    }
    link_back(takes_spare ? std::exchange(spare_, nullptr) : fresh.pop());
    bytes = fill(*last_, bytes);
  }
  return *this;
}

std::span<std::byte> chain::prepare(std::size_t n) {
  if (n == 0) {
    end_prepared();
    return {};
  }
  if (room_behind(last_) >= n) {
    end_prepared();
    prepared_in_ = last_;
  } else {
    const bool enough = spare_ != nullptr && bytes_between(spare_->begin, spare_->end) >= n;
    block* const larger = enough ? nullptr : allocate_block(n);
    end_prepared();
    if (larger != nullptr && spare_ != nullptr) {
      give_back(spare_);
    }
    spare_ = enough ? spare_ : larger;
    make_empty(*spare_);
    prepared_in_ = spare_;
  }
  prepared_bytes_ = n;
  detail::unpoison_tail(prepared_in_->write, n);
  return {prepared_in_->write, n};
}

void chain::commit(std::size_t n) {
  if (n > prepared_bytes_) {
    throw std::logic_error("cistern::chain: commit of " + std::to_string(n) + " bytes, where " +
                           std::to_string(prepared_bytes_) + " are prepared");
  }
  block* const b = prepared_in_;
  if (n != 0) {
    if (b == spare_) {
      link_back(std::exchange(spare_, nullptr));
    }
    if (b == last_) {
      b->write += n;
      size_ += n;
    } else {
      append(std::span<const std::byte>(b->write, n));  // something was put behind the region meanwhile
    }
  }
  end_prepared();
}

void chain::end_prepared() noexcept {
  if (prepared_in_ != nullptr) {
    poison_unused(*prepared_in_);
  }
  prepared_in_ = nullptr;
  prepared_bytes_ = 0;
}

/// A region prepared in `other` goes along with its blocks, unless there is one here.
void chain::take_prepared(chain& other) noexcept {
  if (prepared_in_ != nullptr) {
    other.end_prepared();
  }
  if (other.prepared_in_ == nullptr) {
    return;
  }
  prepared_in_ = std::exchange(other.prepared_in_, nullptr);
  prepared_bytes_ = std::exchange(other.prepared_bytes_, 0);
  if (prepared_in_ == other.spare_) {
    keep_spare(std::exchange(other.spare_, nullptr));
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
  if (source.size() <= default_room() && source.size() <= source.capacity() / little_of_a_block) {
    append(source.bytes());
    source.reset();
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
  take_prepared(other);
  if (other.first_ == nullptr) {
    return;
  }
  (last_ == nullptr ? first_ : last_->next) = std::exchange(other.first_, nullptr);
  last_ = std::exchange(other.last_, nullptr);
  size_ += std::exchange(other.size_, 0);
}

void chain::prepend(chain&& other) noexcept {
  CISTERN_EXPECTS(&other != this, "chain: prepended to itself", other.size_);
  take_prepared(other);
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

/// Where the chain is cut in two.
struct chain::cut {
  block* through = nullptr;      ///< The block with bytes on both sides, if there is one.
  std::size_t before = 0;        ///< That block's bytes before the cut.
  bool behind_prepared = false;  ///< Whether all bytes of the block with the prepared region are cut off.
};

chain::cut chain::find_cut(std::size_t n) const noexcept {
  cut found;
  for (block* b = first_; b != nullptr && n != 0; b = b->next) {
    const std::size_t bytes = bytes_of(*b).size();
    if (n < bytes) {
      found.through = b;
      found.before = n;
      break;
    }
    n -= bytes;
    found.behind_prepared = found.behind_prepared || b == prepared_in_;
  }
  return found;
}

chain chain::split(std::size_t n) {
  n = std::min(n, size_);
  chain front(resource_, options());
  const cut here = find_cut(n);
  block_list copies;
  if (here.behind_prepared) {
    copies.push(copy_of(bytes_of(*prepared_in_)));
  }
  // The smaller part is copied; the one before a prepared region always, as the region stays where it is.
  bool copy_front = false;
  if (here.through != nullptr) {
    const auto bytes = bytes_of(*here.through);
    copy_front = here.through == prepared_in_ || here.before <= bytes.size() - here.before;
    copies.push(copy_of(copy_front ? bytes.first(here.before) : bytes.subspan(here.before)));
  }
  // From here on nothing throws.
  while (front.size_ < n - here.before) {
    block* b = unlink_front();
    front.size_ += bytes_of(*b).size();
    if (b == prepared_in_) {
      drop_front(*b, bytes_of(*b).size());
      keep_spare(std::exchange(b, copies.pop()));
    }
    front.link_back(b);
  }
  if (here.through != nullptr) {
    front.size_ += here.before;
    if (copy_front) {
      drop_front(*here.through, here.before);
      front.link_back(copies.pop());
    } else {
      here.through->write = here.through->read + here.before;
      poison_unused(*here.through);
      front.link_back(unlink_front());
      link_front(copies.pop());
    }
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
    drop_front(*first_, here);
    n -= here;
    if (first_->read == first_->write) {
      block* const b = unlink_front();
      first_ == nullptr || b == prepared_in_ ? keep_spare(b) : give_back(b);
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
  prepared_in_ = nullptr;
  prepared_bytes_ = 0;
}

/// Bytes of all blocks, those of adopted ones included.
std::size_t chain::held_bytes() const noexcept {
  const auto held = [](const block* b) {
    return b == nullptr
               ? 0
               : b->header_block_bytes + (b->adopted_from == nullptr ? 0 : bytes_between(b->begin, b->end));
  };
  std::size_t bytes = held(spare_);
  for (const block* b = first_; b != nullptr; b = b->next) {
    bytes += held(b);
  }
  return bytes;
}

void chain::shrink_to_fit() {
  chain packed(resource_, options());
  for_each([&](std::span<const std::byte> bytes) { packed.append(bytes); });
  if (packed.held_bytes() < held_bytes()) {
    swap(packed);
  } else {
    end_prepared();
  }
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
  detail::descriptor target(descriptor);
  std::size_t total = 0;
  while (!empty()) {
    std::array<iovec, 64> pieces;
    const std::size_t count = vectors(pieces);
    const ssize_t written = target.write(std::span(pieces).first(count));
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
  bool prepared_is_here = prepared_in_ == nullptr || prepared_in_ == spare_;
  for (const block* b = first_; b != nullptr; b = b->next) {
    if (b->begin > b->read || b->read >= b->write || b->write > b->end) {
      return false;
    }
    bytes += bytes_of(*b).size();
    last = b;
    prepared_is_here = prepared_is_here || b == prepared_in_;
  }
  const bool spare_is_empty = spare_ == nullptr || spare_->read == spare_->write;
  const bool prepared_fits = prepared_bytes_ <= room_behind(prepared_in_);
  return bytes == size_ && last == last_ && spare_is_empty && prepared_is_here && prepared_fits;
}

}  // namespace cistern
