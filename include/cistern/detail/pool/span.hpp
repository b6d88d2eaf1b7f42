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

/// Pages of a run of blocks, a bit each.
using page_set = std::uint64_t;

/// The record of a run of pages. As large as a cache line, and one where its region is aligned for that.
///
/// Free blocks of a run of blocks that begin in an *unlinked* page are in no list: the page's memory may have
/// been taken away, and the links with it.
struct alignas(16) span {
  span* next;           ///< In the list that its owner keeps: of a class, of a bin.
  span* previous;       ///< As above.
  free_block* free;     ///< Blocks that came back.
  page_set unlinked;    ///< Of a run of blocks.
  std::uint32_t pages;  ///< Of the run. None: this record is of no run now.
  std::uint32_t first_page;
  std::uint32_t slot;      ///< Which of its region's records it is.
  std::uint32_t capacity;  ///< Blocks the run has room for.
  std::uint32_t carved;    ///< Blocks that ever left it: the first ones.
  std::uint32_t out;       ///< Blocks that are not here now; of a free run: pages not as new, at most.
  std::uint8_t index;      ///< Size class.
  span_use use;
  bool is_free;  ///< In the page heap. Written by the heap alone, which asks it of a run's neighbours.
  bool is_new;   ///< Nobody has had any of it since it came from upstream, or since it was discarded.
  std::uint16_t
      begins_behind;  ///< Bytes in front of `base()`: in a region less aligned than a run has to be.
  bool has_changed;   ///< Blocks came to `free` since its pages were last discarded.

  [[nodiscard]] heap_region* home() const noexcept;
  [[nodiscard]] bool is_full() const noexcept { return out == capacity; }
  /// Of its pages.
  [[nodiscard]] std::size_t bytes() const noexcept;
  /// Where what it is used for begins.
  [[nodiscard]] std::byte* base() const noexcept;
};
static_assert(sizeof(span) == 64);

/// Which records of a region are of no run.
struct record_stock {
  static constexpr std::uint32_t none = UINT32_MAX;

  std::uint32_t returned;  ///< The slot of one that was of a run; its `first_page` is the next such slot.
  std::uint32_t begun;     ///< How many ever were of one: the first ones.
};

/// Memory from upstream: runs, and behind them this record, and behind it records of runs, as many as there
/// are pages, of which the first are used, so that few of their pages are. Behind these for each page whose
/// run it is of: kept up to date of the first and the last page of a run, and of all pages of a run of
/// blocks. As large as a cache line.
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

  [[nodiscard]] span* spans() const noexcept {
    return reinterpret_cast<span*>(const_cast<heap_region*>(this) + 1);
  }
  [[nodiscard]] std::uint32_t pages() const noexcept {
    return static_cast<std::uint32_t>(bytes / page_bytes);
  }
  [[nodiscard]] bool is_idle() const noexcept { return free_pages == pages(); }
  /// This, and the rest behind it.
  [[nodiscard]] std::size_t records_bytes() const noexcept {
    return is_one_run ? sizeof(heap_region) + sizeof(span) : records_bytes_for(pages());
  }
  [[nodiscard]] static constexpr std::size_t records_bytes_for(std::size_t pages) noexcept {
    return sizeof(heap_region) + pages * (sizeof(span) + sizeof(std::uint32_t)) + sizeof(record_stock);
  }
  [[nodiscard]] bool holds(const void* address) const noexcept {
    return static_cast<std::size_t>(static_cast<const std::byte*>(address) - base) < bytes;
  }

  // The rest not where `is_one_run`.

  [[nodiscard]] record_stock& stock() const noexcept {
    return *reinterpret_cast<record_stock*>(spans() + pages());
  }
  /// For each page, `span::slot`.
  [[nodiscard]] std::uint32_t* slots() const noexcept {
    return reinterpret_cast<std::uint32_t*>(&stock() + 1);
  }
  [[nodiscard]] std::uint32_t page_of(const void* address) const noexcept {
    return static_cast<std::uint32_t>(
        static_cast<std::size_t>(static_cast<const std::byte*>(address) - base) / page_bytes);
  }
  [[nodiscard]] span* run_at(std::uint32_t page) const noexcept { return spans() + slots()[page]; }
  /// The run that `block` lies in, which must be the beginning of a block in use.
  [[nodiscard]] span* run_of(const void* block) const noexcept {
    return is_one_run ? spans() : run_at(page_of(block));
  }
};
static_assert(sizeof(heap_region) == 64);

inline heap_region* span::home() const noexcept {
  return reinterpret_cast<heap_region*>(const_cast<span*>(this) - slot) - 1;
}

inline std::byte* span::base() const noexcept {
  return home()->base + std::size_t{first_page} * page_bytes + begins_behind;
}

inline std::size_t span::bytes() const noexcept {
  const heap_region& in = *home();
  return in.is_one_run ? in.bytes : std::size_t{pages} * page_bytes;
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
