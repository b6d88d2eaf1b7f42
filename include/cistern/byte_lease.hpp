// byte_lease: raw bytes on loan from a memory resource, tied to the object that gives them back.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/resource_or_new_delete.hpp>

#include <cstddef>
#include <memory_resource>
#include <span>
#include <stdexcept>

namespace cistern {

/// A lease was asked to allocate while it holds bytes.
class bytes_already_allocated : public std::logic_error {
 public:
  bytes_already_allocated();
};

/// A lease was asked for its bytes, or to give them back, while it holds none.
class bytes_not_allocated : public std::logic_error {
 public:
  bytes_not_allocated();
};

/// A loan of raw bytes. Holds nothing, or one block of the resource it was made with; used again as often as
/// one likes. The destructor gives back what is held.
///
/// The bytes come as they are: whoever had the block before may have left data in it
/// (`pool_options::zero_on_free` is for those who hold secrets). Under AddressSanitizer only the bytes asked
/// for can be touched, and none after they are given back.
///
/// Misuse is an exception, the same with every resource and with null, which means plain new/delete. All
/// operations are O(1) but for the resource's work. Not thread-safe: one thread at a time per lease.
class byte_lease {
 public:
  /// Holds nothing yet, allocates nothing.
  explicit byte_lease(std::pmr::memory_resource* resource CISTERN_LIFETIMEBOUND) noexcept
      : resource_(resource_or_new_delete(resource)) {}
  /// Holds `n` bytes. Throws what `allocate` throws.
  byte_lease(std::pmr::memory_resource* resource CISTERN_LIFETIMEBOUND, std::size_t n)
      : byte_lease(resource) {
    allocate(n);
  }
  byte_lease(const byte_lease&) = delete;
  byte_lease& operator=(const byte_lease&) = delete;
  /// Takes the bytes and the resource over; `other` holds nothing and can be used again.
  byte_lease(byte_lease&& other) noexcept;
  /// Gives back what is held, then does the same.
  byte_lease& operator=(byte_lease&& other) noexcept;
  ~byte_lease() { drop(); }

  /// Exactly `n` bytes, aligned for any fundamental type. Zero bytes are held like any other number.
  /// Throws `bytes_already_allocated` if bytes are held, and what the resource throws when it has no memory
  /// (`std::bad_alloc`); either way nothing has changed.
  std::span<std::byte> allocate(std::size_t n) CISTERN_LIFETIMEBOUND;
  /// The bytes held. Throws `bytes_not_allocated` if none.
  [[nodiscard]] std::span<std::byte> bytes() const CISTERN_LIFETIMEBOUND;
  /// Gives the bytes back. Throws `bytes_not_allocated` if none are held: also the second time.
  void give_back();

  [[nodiscard]] bool holds_bytes() const noexcept { return block_ != nullptr; }
  /// The number of bytes asked for, 0 if none are held.
  [[nodiscard]] std::size_t size() const noexcept { return size_bytes_; }
  /// The size of the block they lie in, 0 if none are held.
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_bytes_; }
  [[nodiscard]] std::pmr::memory_resource* resource() const noexcept { return resource_; }

 private:
  void drop() noexcept;

  std::pmr::memory_resource* resource_;
  std::byte* block_ = nullptr;
  std::size_t size_bytes_ = 0;
  std::size_t capacity_bytes_ = 0;
};

}  // namespace cistern
