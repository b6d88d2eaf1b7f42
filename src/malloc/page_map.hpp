// page_map: which size class the blocks on a page have, found from an address.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// Two levels: a root with an entry per 4 GiB of the address space, and leaves, made when they are first
/// needed and never given back, with one byte per page of 4 KiB. Of a leaf only those pages are ever touched
/// that tell of memory in use: 4 KiB for each 16 MiB.
///
/// Thread-safe. Codes are relaxed: whoever asks for an address got it from an allocation, and what handed the
/// address from thread to thread has ordered the write of the code before that. Leaves are published by a
/// release, since an address from elsewhere may meet a leaf just being made.
class page_map {
 public:
  /// What is known of a page: 0 where it isn't ours.
  using code = std::uint8_t;
  static constexpr unsigned page_bits = 12;

  constexpr page_map() noexcept = default;
  page_map(const page_map&) = delete;
  page_map& operator=(const page_map&) = delete;
  ~page_map() = default;

  /// O(1).
  [[nodiscard]] code at(const void* address) const noexcept {
    const auto number = reinterpret_cast<std::uintptr_t>(address);
    // No program has addresses beyond the root's reach: what looks like one is taken for the address below.
    // Acquire pairs with the release in `make_leaf`: the leaf's zeros are seen. Free of cost on x86.
    const leaf* found = root_[(number >> leaf_reach_bits) % root_size].load(std::memory_order_acquire);
    return found == nullptr ? code{0} : (*found)[page_in_leaf(number)].load(std::memory_order_relaxed);
  }

  /// Makes sure that `set` can tell of these bytes. False where there is no memory for it.
  [[nodiscard]] bool cover(const void* first, std::size_t bytes) noexcept;
  class spare_leaf;
  /// The same for the page of `address`, with memory that was got before: it can't fail.
  void cover(const void* address, spare_leaf& with) noexcept;

  /// Writes down one code for all pages that these bytes, which must be covered, touch.
  void set(const void* first, std::size_t bytes, code value) noexcept;

 private:
  static constexpr unsigned leaf_reach_bits = 32;
  static constexpr unsigned address_bits = 48;
  static constexpr std::size_t leaf_pages = std::size_t{1} << (leaf_reach_bits - page_bits);
  static constexpr std::size_t root_size = std::size_t{1} << (address_bits - leaf_reach_bits);
  using leaf = std::array<std::atomic<code>, leaf_pages>;

  [[nodiscard]] static constexpr std::size_t page_in_leaf(std::uintptr_t number) noexcept {
    return (number >> page_bits) & (leaf_pages - 1);
  }
  [[nodiscard]] static leaf* new_leaf() noexcept;
  static void free_leaf(leaf* unused) noexcept;
  [[nodiscard]] bool try_add(std::uintptr_t top, leaf* added) noexcept;
  [[nodiscard]] bool make_leaf(std::uintptr_t top) noexcept;

  std::array<std::atomic<leaf*>, root_size> root_{};
  std::atomic<leaf*> spare_{nullptr};  ///< Unused, for the next `spare_leaf`.
};

/// What may be needed to cover a page that isn't known yet. One is at hand for the next who asks.
class page_map::spare_leaf {
 public:
  explicit spare_leaf(page_map& map) noexcept;
  spare_leaf(const spare_leaf&) = delete;
  spare_leaf& operator=(const spare_leaf&) = delete;
  ~spare_leaf();

  /// False where there is no memory.
  [[nodiscard]] explicit operator bool() const noexcept { return leaf_ != nullptr; }

 private:
  friend page_map;

  page_map& map_;
  leaf* leaf_;
};

}  // namespace cistern::detail
