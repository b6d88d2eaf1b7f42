// lazy_array: a table whose entries nobody touches before they are used.
#pragma once

#include <cistern/detail/base/mutex.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace cistern::detail {

/// Room for `Count` entries. Those that were never used are not even written to: for a pool of short life
/// that would be most of the work. Any thread may use any entry, which has a lock of its own if it needs one.
///
/// `Lock` guards the making of an entry: `mutex`, or `no_lock` for one thread. Who wants to fork makes all
/// entries first; then nobody needs the lock any more.
template <class T, unsigned Count, class Lock>
class lazy_array {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  lazy_array() noexcept {}  // NOLINT(modernize-use-equals-default): the entries are left as they are
  lazy_array(const lazy_array&) = delete;
  lazy_array& operator=(const lazy_array&) = delete;
  ~lazy_array() = default;

  static constexpr unsigned count = Count;

  /// The entry, made if need be.
  [[nodiscard]] T& operator[](unsigned index) noexcept {
    if (!is_made(index)) [[unlikely]] {
      make(index);
    }
    return entries_[index];
  }
  /// The same for one that was used before.
  [[nodiscard]] T& used(unsigned index) noexcept { return entries_[index]; }
  [[nodiscard]] const T& used(unsigned index) const noexcept { return entries_[index]; }
  /// The entry, or null where it was never used.
  [[nodiscard]] T* find(unsigned index) noexcept { return is_made(index) ? &entries_[index] : nullptr; }
  [[nodiscard]] const T* find(unsigned index) const noexcept {
    return is_made(index) ? &entries_[index] : nullptr;
  }
  /// As if none had ever been used. No other thread may be inside.
  void clear() noexcept {
    for (std::atomic<std::uint64_t>& word : made_) {
      word.store(0, std::memory_order_relaxed);
    }
  }

 private:
  static constexpr unsigned word_bits = 64;

  // Acquire pairs with the release in `make`: the entry is seen as it was made.
  [[nodiscard]] bool is_made(unsigned index) const noexcept {
    return (made_[index / word_bits].load(std::memory_order_acquire) >> (index % word_bits) & 1U) != 0;
  }
  [[gnu::noinline]] void make(unsigned index) noexcept {
    const scoped_lock guard(making_);
    if (!is_made(index)) {
      std::construct_at(&entries_[index]);
      const std::uint64_t before = made_[index / word_bits].load(std::memory_order_relaxed);
      made_[index / word_bits].store(before | std::uint64_t{1} << (index % word_bits),
                                     std::memory_order_release);
    }
  }

  std::array<std::atomic<std::uint64_t>, (Count + word_bits - 1) / word_bits> made_{};
  [[no_unique_address]] Lock making_;
  union {
    std::array<T, Count> entries_;
  };
};

}  // namespace cistern::detail
