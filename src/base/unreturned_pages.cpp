#include <cistern/detail/base/unreturned_pages.hpp>

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <new>

#include "address_treap.hpp"
#include "boundary.hpp"
#include <sys/mman.h>

namespace cistern::detail {
namespace {

/// Ranges offered to the system for each that it took.
constexpr int offered_at_once = 4;

bool comes_before(const void* one, const void* other) noexcept {
  return std::less<const void*>{}(one, other);
}

}  // namespace

// By the doubling of their length, and among those by chance, so that the tree stays low.
struct unreturned_pages::order {
  static bool comes_before(const range* one, const range* other) noexcept {
    return detail::comes_before(one, other);
  }
  static bool is_above(const range* one, const range* other) noexcept {
    const auto width = static_cast<int>(std::bit_width(one->bytes));
    const auto other_width = static_cast<int>(std::bit_width(other->bytes));
    return width != other_width ? width > other_width : address_priority(one) > address_priority(other);
  }
  using treap = address_treap<range, &range::before, &range::behind, order>;
};

unreturned_pages::range* unreturned_pages::make(std::byte* pages, std::size_t bytes, bool is_zero) noexcept {
  return new (pages) range{bytes, nullptr, nullptr, is_zero};
}

void unreturned_pages::keep(void* pages, std::size_t bytes) noexcept {
  range* const added = make(static_cast<std::byte*>(pages), bytes, false);
  added->before = waiting_.load(std::memory_order_relaxed);
  // Release pairs with the acquire in `put_in_waiting`: the record is seen.
  while (!waiting_.compare_exchange_weak(added->before, added, std::memory_order_release,
                                         std::memory_order_relaxed)) {
  }
  any_.store(true, std::memory_order_relaxed);
  if (lock_.try_lock()) {
    unlock();
  }
}

// Whoever came meanwhile, and found the lock taken, has left the work to its holder.
void unreturned_pages::unlock() noexcept {
  put_in_waiting();
  any_.store(root_ != nullptr, std::memory_order_relaxed);
  lock_.unlock();
  if (waiting_.load(std::memory_order_relaxed) != nullptr) {
    any_.store(true, std::memory_order_relaxed);  // for the next who looks
  }
}

void unreturned_pages::put_in_waiting() noexcept {
  range* waiting = waiting_.exchange(nullptr, std::memory_order_acquire);
  while (waiting != nullptr) {
    range* const next = waiting->before;
    put_in(waiting->base(), waiting->bytes);
    waiting = next;
  }
}

// Whole mappings are taken back, limit or not: with its neighbours a range may have become one.
void unreturned_pages::put_in(std::byte* pages, std::size_t bytes) noexcept {
  range* const before = ending_at(pages);
  range* const behind = beginning_at(pages + bytes);
  for (range* const neighbour : {before, behind}) {
    if (neighbour != nullptr) {
      remove(neighbour);
      bytes += neighbour->bytes;
    }
  }
  pages = before != nullptr ? before->base() : pages;
  if ((before != nullptr || behind != nullptr) && ::munmap(pages, bytes) == 0) {
    return;
  }
  insert(make(pages, bytes, ::madvise(pages, bytes, MADV_DONTNEED) == 0));
}

// Where it fits: at the lowest address that a few steps find. Null where it doesn't.
std::byte* unreturned_pages::place_in(range* in, std::size_t bytes, std::size_t alignment) noexcept {
  if (in == nullptr) {
    return nullptr;
  }
  const std::size_t lead = bytes_to_boundary(in, alignment);
  return lead < in->bytes && bytes <= in->bytes - lead ? in->base() + lead : nullptr;
}

void* unreturned_pages::try_take(std::size_t bytes, std::size_t alignment) noexcept {
  if (!lock_.try_lock()) {
    return nullptr;
  }
  put_in_waiting();
  range* from = root_;
  std::byte* place = place_in(from, bytes, alignment);
  if (place == nullptr) {
    unlock();
    return nullptr;
  }
  while (std::byte* const lower = place_in(from->before, bytes, alignment)) {
    from = from->before;
    place = lower;
  }
  remove(from);
  const bool is_zero = from->is_zero;
  std::byte* const begin = from->base();
  std::byte* const end = from->end();
  std::memset(begin, 0, sizeof(range));
  if (begin != place) {
    insert(make(begin, static_cast<std::size_t>(place - begin), is_zero));
  }
  if (place + bytes != end) {
    insert(make(place + bytes, static_cast<std::size_t>(end - place) - bytes, is_zero));
  }
  unlock();
  return is_zero ? place : std::memset(place, 0, bytes);
}

void unreturned_pages::offer() noexcept {
  if (!lock_.try_lock()) {
    return;
  }
  put_in_waiting();
  for (int offered = 0; offered < offered_at_once && root_ != nullptr; ++offered) {
    range* const largest = root_;
    remove(largest);
    if (::munmap(largest, largest->bytes) != 0) {
      insert(largest);
      break;
    }
  }
  unlock();
}

unreturned_pages::range* unreturned_pages::ending_at(const std::byte* end) const noexcept {
  range* last_before = nullptr;
  for (range* at = root_; at != nullptr;) {
    const bool lies_before = comes_before(at, end);
    last_before = lies_before ? at : last_before;
    at = lies_before ? at->behind : at->before;
  }
  return last_before != nullptr && last_before->end() == end ? last_before : nullptr;
}

unreturned_pages::range* unreturned_pages::beginning_at(const std::byte* begin) const noexcept {
  range* at = root_;
  while (at != nullptr && at->base() != begin) {
    at = comes_before(at, begin) ? at->behind : at->before;
  }
  return at;
}

void unreturned_pages::insert(range* added) noexcept {
  order::treap::insert(root_, added);
}

void unreturned_pages::remove(range* removed) noexcept {
  order::treap::remove(root_, removed);
}

}  // namespace cistern::detail
