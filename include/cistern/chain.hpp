// chain: a sequence of blocks for bytes that are never copied to grow.
#pragma once

#include <cistern/buffer.hpp>
#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/resource_or_new_delete.hpp>

#include <cstddef>
#include <memory_resource>
#include <span>
#include <string_view>
#include <system_error>

struct iovec;

namespace cistern {

struct chain_options {
  /// Bytes of each block that the chain allocates, its header of `chain::header_bytes` included, so that a
  /// block fills a pool's block. At least 256, at most 2^40; else `std::invalid_argument`.
  std::size_t block_bytes = 4096;

  friend bool operator==(const chain_options&, const chain_options&) = default;
};

/// Bytes in a sequence of blocks: written at the end, read from the front, cut and joined by moving blocks.
///
/// Appending never moves what is there. Blocks remember the resource they came from, so chains and buffers of
/// different resources can be joined without a copy; every resource must outlive the chains its blocks are
/// in. A default-made chain holds nothing.
///
/// A span or view is valid until the bytes it covers are consumed, cut in two by `split`, packed by
/// `shrink_to_fit`, or destroyed; moving, appending and splicing leave it valid. No memory: what the resource
/// throws (`std::bad_alloc`). A member that throws has changed nothing, unless it says otherwise. Units are
/// bytes. Not thread-safe: one thread at a time per chain.
///
/// There is at most one prepared region. It stays where it is, whatever is appended, prepended, adopted,
/// spliced, consumed or split off before the commit, and moves with the chain; it ends with `commit`, the
/// next `prepare`, `shrink_to_fit`, `clear` and the end of the chain.
class chain {
 public:
  using allocator_type = std::pmr::polymorphic_allocator<>;

  chain() noexcept : chain(allocator_type{}) {}
  explicit chain(allocator_type allocator) noexcept : chain(allocator.resource()) {}
  /// Null means plain new/delete.
  explicit chain(std::pmr::memory_resource* resource CISTERN_LIFETIMEBOUND) noexcept
      : resource_(resource_or_new_delete(resource)) {}
  /// Throws `std::invalid_argument`, naming field and value, if an option is out of range.
  chain(std::pmr::memory_resource* resource CISTERN_LIFETIMEBOUND, const chain_options& options);
  explicit chain(const chain_options& options, allocator_type allocator = {})
      : chain(allocator.resource(), options) {}
  chain(const chain&) = delete;
  chain& operator=(const chain&) = delete;
  /// Takes resource, options and blocks over; `other` is left empty. O(1).
  chain(chain&& other) noexcept;
  /// Takes options and blocks over, which go back to where they came from; new ones come from `allocator`.
  /// O(1).
  chain(chain&& other, allocator_type allocator) noexcept;
  /// The same, after giving back the own blocks.
  chain& operator=(chain&& other) noexcept;
  ~chain() { clear(); }

  void swap(chain& other) noexcept;
  friend void swap(chain& a, chain& b) noexcept { a.swap(b); }
  [[nodiscard]] allocator_type get_allocator() const noexcept { return {resource_}; }
  [[nodiscard]] chain_options options() const noexcept { return {block_bytes_}; }

  // --- what it holds ---

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  /// Blocks that hold bytes. O(blocks).
  [[nodiscard]] std::size_t block_count() const noexcept;
  /// The bytes at the front that lie in one piece; empty only if the chain is.
  [[nodiscard]] std::span<const std::byte> front() const noexcept CISTERN_LIFETIMEBOUND;
  /// Bytes that can be appended without allocating.
  [[nodiscard]] std::size_t available() const noexcept;
  /// Calls `visit(std::span<const std::byte>)` for each piece, in order.
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (const block* b = first_; b != nullptr; b = b->next) {
      visit(std::span<const std::byte>(b->read, b->write));
    }
  }
  /// Copies the first bytes out without reading them; returns how many.
  std::size_t copy_to(std::span<std::byte> out) const noexcept;
  /// Fills `vectors` for `writev`, from the front; returns how many are used. Nothing is read.
  std::size_t vectors(std::span<iovec> vectors) const noexcept;

  // --- write ---

  /// Appends a copy; what is there stays where it is. `bytes` may lie in this chain.
  chain& append(std::span<const std::byte> bytes) CISTERN_LIFETIMEBOUND;
  chain& append(std::string_view text) CISTERN_LIFETIMEBOUND {
    return append(std::as_bytes(std::span(text.data(), text.size())));
  }
  /// Room for exactly `n` contiguous bytes at the end, uninitialised, to be filled and then committed.
  [[nodiscard]] std::span<std::byte> prepare(std::size_t n) CISTERN_LIFETIMEBOUND;
  /// Appends the first `n` prepared bytes, behind whatever was appended since they were prepared; in that
  /// case they are copied, which may need memory. Throws `std::logic_error` if fewer are prepared.
  /// `commit(0)` gives the region up.
  void commit(std::size_t n);
  /// Puts a copy in front, into the room before the first byte if it suffices. `bytes` may lie in this chain.
  chain& prepend(std::span<const std::byte> bytes) CISTERN_LIFETIMEBOUND;
  chain& prepend(std::string_view text) CISTERN_LIFETIMEBOUND {
    return prepend(std::as_bytes(std::span(text.data(), text.size())));
  }

  // --- join and cut: blocks change hands, bytes stay where they are ---

  /// Appends the unread part of `source` by taking its block over, from whatever resource; `source` is left
  /// empty. Little in a large block is copied instead, so that it doesn't hold the block: what fits into one
  /// block of this chain and is at most a quarter of its own.
  void adopt(buffer&& source);
  /// Appends all of `other`, which is left empty. O(1). `other` must not be this chain. What is prepared in
  /// `other` is prepared in this chain now; if something was before, that stays, and the region in `other`
  /// ends.
  void splice(chain&& other) noexcept;
  /// Puts all of `other` in front; it is left empty. O(1). `other` must not be this chain. For what is
  /// prepared in `other` see `splice`.
  void prepend(chain&& other) noexcept;
  /// Cuts off the first `n` bytes, or all there are, as a chain of the same resource and options. Where the
  /// cut goes through a block, the smaller of its two parts is copied: nothing else, unless bytes are
  /// prepared behind those cut off: then what stands in front of them in the block is copied. O(blocks cut
  /// off).
  [[nodiscard]] chain split(std::size_t n);

  // --- read ---

  /// Reads past the first `n` bytes, or all there are. Blocks that hold nothing any more are given back, but
  /// for one that is kept for the bytes to come.
  void consume(std::size_t n) noexcept;
  /// Drops everything and gives all blocks back.
  void clear() noexcept;
  /// Copies everything into as few blocks as it takes, if that takes less memory: after many small splices.
  void shrink_to_fit();
  /// Appends all bytes to `out` in one piece, and leaves the chain as it is.
  void flatten(buffer& out) const;
  /// All bytes in one piece, in a buffer of this chain's resource.
  [[nodiscard]] buffer flatten() const;
  /// Writes everything to a POSIX file descriptor with `writev`, in as many calls as it takes, and reads past
  /// what was taken. An error is a `std::system_error`, or is put into `error`; the rest is kept.
  std::size_t write_to(int descriptor);
  std::size_t write_to(int descriptor, std::error_code& error);

  /// Checks that the blocks add up; for tests.
  [[nodiscard]] bool check_invariants() const noexcept;

 private:
  /// Stands at the start of a block that the chain allocated; for an adopted block, in a block of its own.
  struct block {
    block* next;
    std::pmr::memory_resource* resource;  // of the header's block
    std::size_t header_block_bytes;       // what to give back for the header's block
    std::byte* begin;                     // of the room for bytes
    std::byte* read;
    std::byte* write;
    std::byte* end;
    std::pmr::memory_resource* adopted_from;  // whose `[begin, end)` is; null if it lies behind the header
  };

  class block_list;

  [[nodiscard]] block* allocate_block(std::size_t room_bytes) const;
  [[nodiscard]] block* copy_of(std::span<const std::byte> bytes) const;
  [[nodiscard]] std::size_t default_room() const noexcept;
  [[nodiscard]] std::size_t tail_room() const noexcept;
  [[nodiscard]] std::size_t spare_room() const noexcept;
  [[nodiscard]] std::size_t held_bytes() const noexcept;
  void link_back(block* b) noexcept;
  void link_front(block* b) noexcept;
  [[nodiscard]] block* unlink_front() noexcept;
  void keep_spare(block* b) noexcept;
  void end_prepared() noexcept;
  void take_prepared(chain& other) noexcept;
  struct cut;
  [[nodiscard]] cut find_cut(std::size_t n) const noexcept;

  std::pmr::memory_resource* resource_;
  block* first_ = nullptr;  // blocks in the list hold at least one byte each
  block* last_ = nullptr;
  block* spare_ = nullptr;        // an empty block: with the prepared region, or left over
  block* prepared_in_ = nullptr;  // the prepared region lies behind the bytes of this block
  std::size_t prepared_bytes_ = 0;
  std::size_t size_ = 0;
  std::size_t block_bytes_ = chain_options{}.block_bytes;

 public:
  static constexpr std::size_t header_bytes = sizeof(block);
};

}  // namespace cistern
