// zeroed_pages: a large table in pages of the system, of which those take memory that were touched.
#pragma once

#include <cstddef>
#include <type_traits>

#include <sys/mman.h>

namespace cistern::detail {

/// Holds a `Table`, to which zero bytes are a proper beginning, once `begin` was called. Never given back.
template <class Table>
class zeroed_pages {
  static_assert(std::is_trivially_destructible_v<Table>);

 public:
  constexpr zeroed_pages() noexcept = default;

  /// Makes a table of zero bytes, or one again of that which is there. False if the system has no memory
  /// (errno says why).
  [[nodiscard]] bool begin() noexcept {
    if (table_ != nullptr) return drop(table_);
    table_ = map();
    return table_ != nullptr;
  }

  [[nodiscard]] bool is_there() const noexcept { return table_ != nullptr; }
  [[nodiscard]] Table* operator->() const noexcept { return table_; }

  /// A table that belongs to the caller; null if the system has no memory (errno says why).
  [[nodiscard]] static Table* map() noexcept {
    void* const pages = ::mmap(nullptr, sizeof(Table), PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return pages != MAP_FAILED ? static_cast<Table*>(pages) : nullptr;
  }
  static void unmap(Table* table) noexcept { ::munmap(table, sizeof(Table)); }
  /// Makes zero bytes of what no other thread uses.
  [[nodiscard]] static bool drop(Table* table) noexcept {
    return ::madvise(table, sizeof(Table), MADV_DONTNEED) == 0;
  }

 private:
  Table* table_ = nullptr;
};

}  // namespace cistern::detail
