// listed_blocks: how much of each class lies free in lists, as it was last noted.
#pragma once

#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/class_spans.hpp>
#include <cistern/detail/pool/free_list.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace cistern::detail {

/// Frees of a class between two looks while more is idle than may be.
inline constexpr std::uint32_t late_look_frees = 32;

/// Sums and orders that are kept up to date, so that nobody walks over all classes to get them. What is noted
/// of a class is noted by one thread at a time; anybody may read. Relaxed: these are grounds for decisions,
/// and what the decisions touch has locks.
class listed_blocks {
 public:
  /// `is_shared`: several threads may note at the same time, of different classes. Else sums are loaded and
  /// stored: an instruction that does both waits for all stores before it, and after frees of blocks that are
  /// in no cache these take their time.
  explicit listed_blocks(bool is_shared) noexcept : is_shared_(is_shared) {}

  static constexpr unsigned most_classes = kept_class_count;
  static constexpr unsigned none = most_classes;
  /// What the list of a class may keep whatever the budget: a class in use must not pay for others.
  static constexpr std::size_t least_stay_bytes = std::size_t{64} << 10;
  [[nodiscard]] static constexpr std::size_t stay_blocks(unsigned index) noexcept {
    const std::size_t block_bytes = class_block_bytes(index);
    return block_bytes < least_stay_bytes / 2 ? least_stay_bytes / block_bytes : 2;
  }
  /// Whether that is less than a list of so many blocks.
  [[nodiscard]] static constexpr bool is_long(unsigned index, std::size_t blocks) noexcept {
    return blocks > stay_blocks(index);
  }

  /// From now on the list of a class has so many blocks. `is_ripe`: sorting them is likely to make whole
  /// spans free. `pinned_bytes`: what lies free beside them, and would go with them. It counts as they do
  /// while the list is longer than its least stay.
  void note(unsigned index, std::size_t blocks, bool is_ripe, std::size_t pinned_bytes = 0) noexcept;
  /// The same for a class whose spans have `beside_bytes` beside blocks that are out, `in_use_blocks` of them
  /// in use; its list begins with `list`. O(1).
  void note(unsigned index, std::size_t blocks, std::size_t in_use_blocks, const free_block* list,
            std::size_t beside_bytes) noexcept {
    // Nobody asks about a list within its least stay, and each look is a walk.
    note(index, blocks, is_long(index, blocks) && is_ripe(blocks, in_use_blocks, list),
         are_few(in_use_blocks, blocks) ? beside_bytes : 0);
    note_beside(index, beside_bytes);
  }
  /// Whether that is likely: few blocks of the class are in use, or those freed last, with which `list`
  /// begins, lie near each other. O(1).
  [[nodiscard]] static bool is_ripe(std::size_t blocks, std::size_t in_use_blocks,
                                    const free_block* list) noexcept;
  /// Whether there are so few beside those in a list that what lies free in their spans is held by the list.
  [[nodiscard]] static bool are_few(std::size_t in_use_blocks, std::size_t blocks) noexcept {
    return in_use_blocks < blocks / 8;
  }
  /// Of a class, so many bytes lie beside blocks that are out.
  void note_beside(unsigned index, std::size_t bytes) noexcept {
    const std::size_t before = beside_[index].load(std::memory_order_relaxed);
    if (bytes != before) {
      beside_[index].store(bytes, std::memory_order_relaxed);
      add(beside_bytes_, bytes - before);
    }
  }
  [[nodiscard]] std::size_t beside_bytes() const noexcept {
    return beside_bytes_.load(std::memory_order_relaxed);
  }
  /// A class is used.
  void use(unsigned index) noexcept { last_use_[index].store(now(), std::memory_order_relaxed); }
  /// Blocks of so many bytes together have been freed, of whatever class: a tick, or one for each 128 KiB.
  void tick(std::size_t freed_bytes) noexcept {
    constexpr std::size_t bytes_per_tick = std::size_t{128} << 10;
    add(clock_, std::max<std::size_t>(freed_bytes / bytes_per_tick, 1));
    add(freed_bytes_, freed_bytes);
  }

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t bytes_of(unsigned index) const noexcept {
    return of_class_[index].load(std::memory_order_relaxed);
  }
  /// Ticks so far: the clock of `last_use`.
  [[nodiscard]] std::uint64_t now() const noexcept { return clock_.load(std::memory_order_relaxed); }
  /// Bytes freed so far, as far as was told.
  [[nodiscard]] std::uint64_t freed_bytes() const noexcept {
    return freed_bytes_.load(std::memory_order_relaxed);
  }
  /// Ticks after which what isn't used counts as no longer in use.
  static constexpr std::uint64_t a_while = 1024;
  /// Whether a moment was more than a while ago.
  [[nodiscard]] bool is_old(std::uint64_t moment) const noexcept { return moment + a_while < now(); }
  [[nodiscard]] std::uint64_t last_use(unsigned index) const noexcept {
    return last_use_[index].load(std::memory_order_relaxed);
  }

  /// Of the classes with more than their least stay the one with most bytes; or `none`. O(such classes).
  [[nodiscard]] unsigned largest() const noexcept {
    return largest_of(long_.load(std::memory_order_relaxed));
  }
  /// The same of those that are ripe.
  [[nodiscard]] unsigned largest_ripe() const noexcept {
    return largest_of(long_.load(std::memory_order_relaxed) & ripe_.load(std::memory_order_relaxed));
  }
  /// Of the same the one whose last use is longest ago, of those that are ripe or weren't used for a while,
  /// or of all, as `reach` says; or `none`. O(such classes).
  enum class reach : std::uint8_t { ripe, all };
  [[nodiscard]] unsigned longest_unused(reach wanted) const noexcept;

 private:
  [[nodiscard]] unsigned largest_of(std::uint64_t classes) const noexcept {
    return first(classes, [this](unsigned a, unsigned b) { return bytes_of(a) > bytes_of(b); });
  }
  template <class Before>
  [[nodiscard]] static unsigned first(std::uint64_t classes, Before before) noexcept {
    unsigned found = none;
    for (; classes != 0; classes &= classes - 1) {
      const auto index = static_cast<unsigned>(std::countr_zero(classes));
      found = found == none || before(index, found) ? index : found;
    }
    return found;
  }
  static void set_bit(std::atomic<std::uint64_t>& bits, unsigned index, bool value) noexcept;
  template <class T>
  void add(std::atomic<T>& sum, std::type_identity_t<T> more) noexcept {
    if (is_shared_) {
      sum.fetch_add(more, std::memory_order_relaxed);
    } else {
      sum.store(sum.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
    }
  }

  const bool is_shared_;
  std::atomic<std::size_t> bytes_{0};
  std::atomic<std::uint64_t> clock_{0};
  std::atomic<std::uint64_t> freed_bytes_{0};
  std::atomic<std::uint64_t> long_{0};  ///< A bit for each class with more than its least stay.
  std::atomic<std::uint64_t> ripe_{0};  ///< A bit for each class that is worth sorting even while it is used.
  static_assert(most_classes <= 64);
  std::array<std::atomic<std::size_t>, most_classes> of_class_{};
  std::array<std::atomic<std::uint64_t>, most_classes> last_use_{};
  std::atomic<std::size_t> beside_bytes_{0};
  std::array<std::atomic<std::size_t>, most_classes> beside_{};
};

}  // namespace cistern::detail
