// idle_budget: how many free blocks each bucket may keep, so that a pool gives memory back by itself.
#pragma once

#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/bucket.hpp>
#include <cistern/detail/pool/bucket_walks.hpp>
#include <cistern/pool_options.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// Each bucket holds a grant: the number of free blocks it may keep before it has to ask again. Asking is the
/// slow path of a free, and a grant is never small against the work of asking, so the fast path pays nothing
/// and the work is amortised constant per free.
///
/// While there is room, grants add up to at most `max_idle_bytes` (uncarved memory counted in). When there is
/// none, unused grants are taken back, but for a least one each; then chunks go back to upstream:
///
///   1. What is known to be free without a look at it: blocks that came singly, and buckets without a live
///   block.
///   2. Free chunks among others, which takes a walk over the bucket's free list: where blocks were freed in
///      some order, so that walking is cheap and finds whole chunks, and after as many frees as there are
///      blocks to walk over; or where only blocks in caches out of reach seem to be live. Down to half the
///      budget, so that the next time is far away.
///
/// What remains, because live blocks are scattered over its chunks, is kept beyond the budget. Such a grant
/// ends, at the latest, with the free that makes the bucket's last block free, but for those which may lie in
/// caches out of reach. And before a bucket gets a chunk from upstream, or when a thread ends, every bucket
/// is looked at again: those with so few live blocks that half of their chunks must be free are walked over.
/// Not earlier, since after the last free no walk is needed.
///
/// `Buckets` offers what `bucket_walks` takes, and `frees_are_in_order(index)`, which tells `are_in_order` of
/// its free blocks; `blocks_out_of_reach(index)`, how many of what a bucket sees as live may be free in
/// caches; and `note_over_budget()`, called when more is kept than the budget allows.
template <class Buckets>
class idle_budget {
 public:
  idle_budget(Buckets& buckets, const pool_options& options) noexcept
      : buckets_(buckets),
        max_idle_bytes_(options.max_idle_bytes),
        max_idle_blocks_(options.max_idle_blocks_per_bucket) {}

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

  /// Looks again for what to give back, some time after `note_over_budget`.
  void look_again() { give_back_free_chunks(looking::again); }

 private:
  enum class looking { while_freeing, again };

  void ask(unsigned index) {
    if (visit(index, [&](bucket& b) { return b.granted >= max_idle_blocks_; })) {
      if (!comes_singly(class_block_bytes(index))) {
        trim_within_bucket_bound(index);
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
    give_back_what_is_known_free(index);
    if (grant(index)) {
      return;
    }
    give_back_free_chunks(looking::while_freeing);
    grant(index);
  }

  /// The least that is worth asking for, in blocks.
  [[nodiscard]] std::size_t least_grant(unsigned index) const noexcept {
    const std::size_t bytes =
        std::clamp(max_idle_bytes_ / 8, smallest_chunk_bytes, 2 * largest_chunked_block_bytes);
    return std::max<std::size_t>(1, bytes / class_block_bytes(index));
  }

  /// What no grant and no uncarved memory claims yet.
  [[nodiscard]] std::size_t unreserved_bytes() {
    std::size_t reserved_bytes = 0;
    for (unsigned i = 0; i < class_count; ++i) {
      reserved_bytes += visit(i, [&](bucket& b) {
        const std::size_t blocks_bytes = std::max(b.granted, b.depth()) * class_block_bytes(i);
        return std::min(blocks_bytes + b.uncarved_bytes(),
                        std::max(b.held_bytes(class_block_bytes(i)), blocks_bytes));
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
      visit(i, [&](bucket& b) { b.granted = std::min(b.granted, b.depth() + least_grant(i)); });
    }
  }

  [[nodiscard]] std::size_t idle_bytes_beyond(std::size_t bound_bytes) {
    const std::size_t idle = idle_bytes(buckets_);
    return idle - std::min(idle, bound_bytes);
  }

  void trim(unsigned index, std::size_t& surplus_bytes) {
    buckets_.trim(index, surplus_bytes);
    visit(index, [](bucket& b) { b.granted = b.depth(); });
  }

  /// A large block that finds no room goes back itself rather than push others of its own size out.
  void give_back_what_is_known_free(unsigned asking) {
    std::size_t surplus_bytes = idle_bytes_beyond(max_idle_bytes_ - max_idle_bytes_ / 8);
    from_largest(surplus_bytes, [&](unsigned i) {
      const bool single = comes_singly(class_block_bytes(i));
      if (single && i == asking) {
        return;
      }
      std::size_t known_bytes = visit(i, [&](bucket& b) {
        return single || b.depth() == b.carved_blocks ? b.held_bytes(class_block_bytes(i)) : b.fresh_bytes;
      });
      known_bytes = std::min(known_bytes, surplus_bytes);
      surplus_bytes -= known_bytes;
      if (known_bytes != 0) {
        trim(i, known_bytes);
      }
      surplus_bytes += known_bytes;  // what was not given back after all
    });
  }

  void give_back_free_chunks(looking when) {
    std::size_t surplus_bytes = idle_bytes_beyond(max_idle_bytes_ / 2);
    from_largest(surplus_bytes, [&](unsigned i) {
      if (!comes_singly(class_block_bytes(i)) && is_worth_a_walk(i, when)) {
        trim(i, surplus_bytes);
      }
    });
  }

  /// Whether so few blocks are live that at least half of the chunks are free. To find them pays for itself:
  /// at least half of what is walked over may be given back.
  [[nodiscard]] bool has_many_free_chunks(unsigned index, looking when) {
    const std::size_t unseen_blocks = when == looking::again ? SIZE_MAX : buckets_.blocks_out_of_reach(index);
    return visit(index, [&](bucket& b) {
      const std::size_t live_blocks = b.carved_blocks - b.depth();
      return b.depth() != 0 && live_blocks <= std::min<std::size_t>(b.chunk_count / 2, unseen_blocks);
    });
  }

  /// Otherwise: whether the blocks freed since the last walk pay for one, and lie in order. If they don't,
  /// they count as walked, so that looking again is paid for as well.
  [[nodiscard]] bool is_worth_a_walk(unsigned index, looking when) {
    if (has_many_free_chunks(index, when)) {
      return true;
    }
    const bool paid_for = visit(index, [](bucket& b) {
      return b.depth() != 0 && b.depth() >= std::size_t{2} * b.depth_after_trim + b.chunk_count / 2;
    });
    if (!paid_for) {
      return false;
    }
    if (class_block_bytes(index) < page_bytes && !buckets_.frees_are_in_order(index)) {
      visit(index, [](bucket& b) {
        b.depth_after_trim = static_cast<std::uint32_t>(std::min<std::size_t>(b.depth(), UINT32_MAX));
      });
      return false;
    }
    return true;
  }

  void trim_within_bucket_bound(unsigned index) {
    const bool all_free = visit(index, [](bucket& b) { return b.depth() == b.carved_blocks; });
    if (!all_free && !is_worth_a_walk(index, looking::while_freeing)) {
      return;
    }
    // Uncarved memory goes with its chunk, and lowers the surplus like free blocks do: it must be in the sum,
    // or a large chunk just begun would shield the others.
    std::size_t surplus_bytes = visit(index, [&](bucket& b) {
      const std::size_t kept_bytes = std::min(b.depth(), max_idle_blocks_ / 2) * class_block_bytes(index);
      return b.idle_bytes(class_block_bytes(index)) - kept_bytes;
    });
    trim(index, surplus_bytes);
    visit(index, [&](bucket& b) { b.granted = std::max(b.depth(), max_idle_blocks_); });
  }

  /// More than the budget allows, as live blocks hold the chunks: fewer frees than there are live blocks, so
  /// that the last one that can be seen is.
  void grant_beyond(unsigned index) {
    const std::size_t unseen_blocks = buckets_.blocks_out_of_reach(index);
    visit(index, [&](bucket& b) {
      const std::size_t live_blocks = b.carved_blocks - b.depth();
      const std::size_t last = live_blocks > unseen_blocks ? unseen_blocks : 0;
      const std::size_t before_last = live_blocks - std::min(live_blocks, last + 1);
      b.granted = b.depth() + std::min(before_last, std::max(least_grant(index), b.depth()));
    });
    buckets_.note_over_budget();
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
