// idle_budget: how many free blocks each bucket may keep, so that a pool gives memory back by itself.
#pragma once

#include <cistern/detail/bucket.hpp>
#include <cistern/detail/size_classes.hpp>

#include <algorithm>
#include <cstddef>

namespace cistern::detail {

/// Each bucket holds a grant: the number of free blocks it may keep before it has to ask again. Asking is the
/// slow path of a free, and a grant is never small against the work of asking, so the fast path pays nothing
/// and the work is amortised constant per free.
///
/// While there is room, grants add up to at most `max_idle_bytes` (uncarved memory counted in). When there is
/// none, unused grants are taken back; then whole free chunks go back to upstream, down to half the budget,
/// so that the next time is far away. A bucket is trimmed only when enough blocks were freed since its last
/// trim to pay for it. What can't be given back, because live blocks hold its chunks, is kept beyond the
/// budget; such a grant ends, at the latest, with the free that makes the bucket's last block free.
///
/// `Buckets` offers `visit(index, f)`, which calls `f(bucket&)` with that bucket to itself, and
/// `trim(index, surplus_bytes&)`.
template <class Buckets>
class idle_budget {
 public:
  idle_budget(Buckets& buckets, std::size_t max_idle_bytes, std::size_t max_idle_blocks) noexcept
      : buckets_(buckets), max_idle_bytes_(max_idle_bytes), max_idle_blocks_(max_idle_blocks) {}

  /// Whether a free block that came singly may be kept in bucket `index`; false: it must go back to upstream.
  [[nodiscard]] bool make_room_for_single(unsigned index) {
    ask(index);
    return visit(index, [](bucket& b) { return b.depth() < b.granted; });
  }

  /// Settles a bucket of chunked blocks whose list has outgrown its grant. Afterwards `depth <= granted`.
  void settle(unsigned index) {
    ask(index);
    if (visit(index, [](bucket& b) { return b.depth() > b.granted; })) {
      grant_beyond(index);
    }
  }

 private:
  void ask(unsigned index) {
    if (visit(index, [&](bucket& b) { return b.granted >= max_idle_blocks_; })) {
      if (!comes_singly(class_block_bytes(index))) {
        trim_to_half_of_bucket_bound(index);
      }
      return;
    }
    if (grant(index)) {
      return;
    }
    take_back_unused_grants();
    if (grant(index)) {
      return;
    }
    trim_to_half(index);
    grant(index);
  }

  /// The least that is worth asking for, in blocks.
  [[nodiscard]] std::size_t least_grant(unsigned index) const noexcept {
    const std::size_t bytes = std::min(2 * largest_chunked_block_bytes, max_idle_bytes_ / 8);
    return std::max<std::size_t>(1, bytes / class_block_bytes(index));
  }

  /// What no grant and no uncarved memory claims yet.
  [[nodiscard]] std::size_t unreserved_bytes() {
    std::size_t reserved_bytes = 0;
    for (unsigned i = 0; i < class_count; ++i) {
      reserved_bytes += visit(i, [&](bucket& b) {
        return std::max(b.granted, b.depth()) * class_block_bytes(i) + b.uncarved_bytes();
      });
    }
    return max_idle_bytes_ - std::min(reserved_bytes, max_idle_bytes_);
  }

  bool grant(unsigned index) {
    const std::size_t affordable = unreserved_bytes() / class_block_bytes(index);
    const std::size_t least = least_grant(index);
    if (affordable < least) {
      return false;
    }
    visit(index, [&](bucket& b) {
      const std::size_t asked = std::max(least, b.depth());
      b.granted += std::min({asked, affordable, max_idle_blocks_ - b.granted});
    });
    return true;
  }

  void take_back_unused_grants() {
    for (unsigned i = 0; i < class_count; ++i) {
      visit(i, [](bucket& b) { b.granted = b.depth(); });
    }
  }

  /// Whether the blocks freed since the last trim pay for the next one.
  [[nodiscard]] static bool worth_trimming(const bucket& b) noexcept {
    return b.depth() != 0 &&
           (b.depth() == b.carved_blocks || b.depth() >= 2 * b.depth_after_trim + b.chunk_count);
  }

  void trim_to_half(unsigned asking) {
    std::size_t idle_bytes = 0;
    for (unsigned i = 0; i < class_count; ++i) {
      idle_bytes +=
          visit(i, [&](bucket& b) { return b.depth() * class_block_bytes(i) + b.uncarved_bytes(); });
    }
    std::size_t surplus_bytes = idle_bytes - std::min(idle_bytes, max_idle_bytes_ / 2);
    // Large blocks first: most bytes for least work. But a large block that finds no room goes back itself
    // rather than push its own kind out.
    for (unsigned i = class_count; i-- > 0 && surplus_bytes > 0;) {
      const bool own_kind = i == asking && comes_singly(class_block_bytes(i));
      if (!own_kind && visit(i, worth_trimming)) {
        buckets_.trim(i, surplus_bytes);
        visit(i, [](bucket& b) { b.granted = b.depth(); });
      }
    }
  }

  void trim_to_half_of_bucket_bound(unsigned index) {
    if (!visit(index, worth_trimming)) {
      return;
    }
    const std::size_t depth = visit(index, [](bucket& b) { return b.depth(); });
    std::size_t surplus_bytes = (depth - std::min(depth, max_idle_blocks_ / 2)) * class_block_bytes(index);
    buckets_.trim(index, surplus_bytes);
    visit(index, [&](bucket& b) { b.granted = std::max(b.depth(), max_idle_blocks_); });
  }

  /// More than the budget allows, as live blocks hold the chunks: fewer frees than there are live blocks, so
  /// that the last one is seen.
  void grant_beyond(unsigned index) {
    visit(index, [&](bucket& b) {
      const std::size_t live_blocks = b.carved_blocks - b.depth();
      const std::size_t before_last = live_blocks - std::min<std::size_t>(live_blocks, 1);
      b.granted = b.depth() + std::min(before_last, std::max(least_grant(index), b.depth()));
    });
  }

  template <class F>
  auto visit(unsigned index, F f) {
    return buckets_.visit(index, f);
  }

  Buckets& buckets_;
  std::size_t max_idle_bytes_;
  std::size_t max_idle_blocks_;
};

}  // namespace cistern::detail
