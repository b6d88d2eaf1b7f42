// directory_tables: what the directory of thread caches keeps, in pages from the system.
#pragma once

#include <cistern/detail/base/os_pages.hpp>
#include <cistern/detail/base/thread_record.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <utility>

namespace cistern::detail {

class cache_owner;

/// An array in pages of its own. Nothing here may come from `malloc`, which may be what stands upon this.
template <class T>
class page_array {
 public:
  [[nodiscard]] static T* make(std::size_t count) noexcept {
    return static_cast<T*>(map_pages(bytes_of(count), alignof(T)));  // zeros
  }
  static void free(T* array, std::size_t count) noexcept { unmap_pages(array, bytes_of(count)); }
  /// How many there is room for, where there is room for `count`.
  [[nodiscard]] static std::size_t capacity(std::size_t count) noexcept {
    return bytes_of(count) / sizeof(T);
  }

 private:
  static std::size_t bytes_of(std::size_t count) noexcept { return whole_pages(count * sizeof(T)); }
};

struct pool_entry {
  std::uint64_t serial = 0;            ///< 0: no pool; guarded by the directory's lock.
  cache_owner* owner = nullptr;        ///< Guarded by the directory's lock.
  std::atomic<std::uint32_t> pins{0};  ///< Threads that are giving a cache back to `owner`.
};

/// Entries that never move, by id: segments of 64, 64, 128, 256, ... of them.
class pool_entries {
 public:
  [[nodiscard]] pool_entry& operator[](std::uint32_t id) const noexcept {
    const unsigned segment = segment_of(id);
    return segments_[segment][id - first_of(segment)];
  }
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }

  /// One more. False where there is no memory.
  [[nodiscard]] bool grow() noexcept {
    const unsigned segment = segment_of(size_);
    if (size_ == first_of(segment)) {
      segments_[segment] = page_array<pool_entry>::make(count_of(segment));
      if (segments_[segment] == nullptr) {
        return false;
      }
    }
    ::new (&segments_[segment][size_ - first_of(segment)]) pool_entry;
    ++size_;
    return true;
  }

 private:
  static constexpr std::uint32_t first_segment = 64;
  static unsigned segment_of(std::uint32_t id) noexcept {
    return static_cast<unsigned>(std::bit_width(id / first_segment));
  }
  static std::uint32_t first_of(unsigned segment) noexcept {
    return segment == 0 ? 0 : first_segment << (segment - 1);
  }
  static std::uint32_t count_of(unsigned segment) noexcept {
    return segment == 0 ? first_segment : first_of(segment);  // as many as in all before
  }

  std::array<pool_entry*, 27> segments_{};
  std::uint32_t size_ = 0;
};

/// Ids that no pool has, the lowest first: small ids keep the threads' arrays short.
class free_ids {
 public:
  /// Room for `count` ids in all, so that `put` needs no memory. False where there is none.
  [[nodiscard]] bool reserve(std::size_t count) noexcept {
    if (count <= capacity_) {
      return true;
    }
    const std::size_t capacity = page_array<std::uint32_t>::capacity(std::max(count, 2 * capacity_));
    std::uint32_t* const grown = page_array<std::uint32_t>::make(capacity);
    if (grown == nullptr) {
      return false;
    }
    std::copy_n(heap_, size_, grown);
    free();
    heap_ = grown;
    capacity_ = capacity;
    return true;
  }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::uint32_t take() noexcept {
    std::pop_heap(heap_, heap_ + size_, std::greater<>{});
    return heap_[--size_];
  }
  void put(std::uint32_t id) noexcept {
    heap_[size_++] = id;
    std::push_heap(heap_, heap_ + size_, std::greater<>{});
  }
  void free() noexcept {
    if (heap_ != nullptr) {
      page_array<std::uint32_t>::free(heap_, capacity_);
    }
    heap_ = nullptr;
    capacity_ = 0;
  }

 private:
  std::uint32_t* heap_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

/// The records of all threads, those that are gone too, whose records the next ones take.
class thread_records {
 public:
  /// A fresh one for a thread, or null. It is in use until `put_back`.
  [[nodiscard]] thread_record* take() noexcept {
    if (idle_ == nullptr) {
      add_batch();
    }
    thread_record* const record = idle_;
    if (record == nullptr) {
      return nullptr;
    }
    idle_ = record->next;
    make_fresh(*record);
    record->previous = nullptr;
    record->next = std::exchange(used_, record);
    if (record->next != nullptr) {
      record->next->previous = record;
    }
    return record;
  }

  void put_back(thread_record& record) noexcept {
    if (record.all != record.table.data()) {
      page_array<cache_reference>::free(record.all, record.size);
      record.all = record.table.data();
    }
    (record.previous != nullptr ? record.previous->next : used_) = record.next;
    if (record.next != nullptr) {
      record.next->previous = record.previous;
    }
    record.next = std::exchange(idle_, &record);
  }

  /// All but `kept`, and those that are being given back, are nobody's any more.
  void put_back_all_but(const thread_record* kept) noexcept {
    for (thread_record* one = used_; one != nullptr;) {
      thread_record& record = *std::exchange(one, one->next);
      if (&record != kept && record.state == thread_record::phase::working) {
        put_back(record);
      }
    }
  }

 private:
  struct batch {
    std::array<thread_record, 7> records;
  };
  static_assert(sizeof(batch) <= std::size_t{8} << 10, "two pages");

  static void make_fresh(thread_record& record) noexcept {
    record.table.fill({});
    record.all = record.table.data();
    record.size = thread_record::table_size;
    record.rounds = 0;
    record.state = thread_record::phase::working;
  }

  void add_batch() noexcept {
    batch* const added = page_array<batch>::make(1);
    if (added == nullptr) {
      return;
    }
    for (thread_record& one : added->records) {
      one.next = std::exchange(idle_, &one);
    }
  }

  thread_record* used_ = nullptr;
  thread_record* idle_ = nullptr;
};

}  // namespace cistern::detail
