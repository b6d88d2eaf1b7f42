// span: a run of pages of one region, and the record of it.
#pragma once

#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/free_list.hpp>

#include <cstddef>
#include <cstdint>

namespace cistern::detail {

struct heap_region;

/// What a run of pages in use is used for.
enum class span_use : std::uint8_t {
  blocks,  ///< Cut into blocks of one class.
  single,  ///< One block that takes the run whole.
};

/// The record of the run of pages that begins at the record's own page. A region has one for each of its
/// pages; only those of the first and the last page of a run, and of every page of a run of blocks, are ever
/// looked at. As large as a cache line, and one where its region is aligned for that.
///
/// Free blocks of a run of blocks that begin in an *unlinked* page are in no list: the page's memory may have
/// been taken away, and the links with it.
struct alignas(16) span {
  span* next;      ///< In the list that its owner keeps: of a class, of a bin.
  span* previous;  ///< As above.
  heap_region* home;
  free_block* free;        ///< Blocks that came back.
  std::uint32_t pages;     ///< Of the run.
  std::uint32_t back;      ///< Pages from this one back to the first of the run.
  std::uint32_t capacity;  ///< Blocks the run has room for.
  std::uint32_t carved;    ///< Blocks that ever left it: the first ones.
  std::uint32_t out;       ///< Blocks that are not here now; of a free run: pages not as new, at most.
  std::uint8_t index;      ///< Size class.
  span_use use;
  bool is_free;  ///< In the page heap. Written by the heap alone, which asks it of a run's neighbours.
  bool is_new;   ///< Nobody has had any of it since it came from upstream, or since it was discarded.
  std::uint16_t
      begins_behind;  ///< Bytes in front of `base()`: in a region less aligned than a run has to be.
  std::uint8_t unlinked_pages;  ///< Of a run of blocks.
  bool is_unlinked;             ///< This page is.
  bool has_changed;             ///< Blocks came to `free` since its pages were last discarded.

  [[nodiscard]] bool is_full() const noexcept { return out == capacity; }
  /// Of its pages.
  [[nodiscard]] std::size_t bytes() const noexcept;
  /// Where what it is used for begins.
  [[nodiscard]] std::byte* base() const noexcept;
};
static_assert(sizeof(span) == 64);

/// Memory from upstream: runs, and behind them this record, and behind it the spans. As large as a cache
/// line.
struct alignas(16) heap_region {
  std::byte* base;
  std::size_t bytes;  ///< Of runs, in use or free.
  heap_region* left;  ///< In the tree.
  heap_region* right;
  heap_region* older;  ///< Among the regions without a run in use, by when that began.
  heap_region* newer;
  std::uint64_t changed_at;  ///< On the clock of the heap's owner: when a run last came back.
  std::uint32_t free_pages;
  std::uint16_t alignment;  ///< As asked of upstream.
  bool is_one_run;          ///< Never cut: there is one span for all of it.

  [[nodiscard]] span* spans() noexcept { return reinterpret_cast<span*>(this + 1); }
  [[nodiscard]] const span* spans() const noexcept { return reinterpret_cast<const span*>(this + 1); }
  [[nodiscard]] std::uint32_t pages() const noexcept {
    return static_cast<std::uint32_t>(bytes / page_bytes);
  }
  [[nodiscard]] bool is_idle() const noexcept { return free_pages == pages(); }
  /// This, and the spans.
  [[nodiscard]] std::size_t records_bytes() const noexcept {
    return sizeof(heap_region) + (is_one_run ? 1 : pages()) * sizeof(span);
  }
  [[nodiscard]] bool holds(const void* address) const noexcept {
    return static_cast<std::size_t>(static_cast<const std::byte*>(address) - base) < bytes;
  }

  /// The record of the page that an address lies in. Not where `is_one_run`.
  [[nodiscard]] span* page_at(const void* address) noexcept {
    return spans() + static_cast<std::size_t>(static_cast<const std::byte*>(address) - base) / page_bytes;
  }
  /// The run that `block` lies in, which must be the beginning of a block in use.
  [[nodiscard]] span* run_of(const void* block) noexcept {
    if (is_one_run) {
      return spans();
    }
    span* const at = page_at(block);
    return at - at->back;
  }
};

static_assert(sizeof(heap_region) == 64);

inline std::byte* span::base() const noexcept {
  return home->base + static_cast<std::size_t>(this - home->spans()) * page_bytes + begins_behind;
}

inline std::size_t span::bytes() const noexcept {
  return home->is_one_run ? home->bytes : std::size_t{pages} * page_bytes;
}

/// A list of spans, doubly linked in a ring.
class span_list {
 public:
  [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
  [[nodiscard]] span* head() const noexcept { return head_; }
  /// The one after `one`, or null where that was the last.
  [[nodiscard]] span* after(const span* one) const noexcept {
    return one->next != head_ ? one->next : nullptr;
  }

  void push(span* added) noexcept {
    if (head_ == nullptr) {
      added->next = added->previous = added;
    } else {
      join(head_->previous, added);
      join(added, head_);
    }
    head_ = added;
  }

  void remove(span* removed) noexcept {
    if (removed->next == removed) {
      head_ = nullptr;
      return;
    }
    join(removed->previous, removed->next);
    head_ = removed == head_ ? removed->next : head_;
  }

  [[nodiscard]] span* pop() noexcept {
    span* const first = head_;
    remove(first);
    return first;
  }

  /// The first becomes the last.
  void rotate() noexcept { head_ = head_->next; }

  /// Moves all of `other` to the front. O(1).
  void take_all(span_list& other) noexcept {
    if (other.head_ == nullptr) {
      return;
    }
    if (head_ != nullptr) {
      span* const last = head_->previous;
      join(other.head_->previous, head_);
      join(last, other.head_);
    }
    head_ = other.head_;
    other.head_ = nullptr;
  }

 private:
  static void join(span* first, span* second) noexcept {
    first->next = second;
    second->previous = first;
  }

  span* head_ = nullptr;
};

}  // namespace cistern::detail
