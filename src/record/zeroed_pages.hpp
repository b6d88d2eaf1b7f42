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
    // One that isn't used by another thread: what is dropped reads as zero bytes.
    if (table_ != nullptr) return ::madvise(table_, sizeof(Table), MADV_DONTNEED) == 0;
    void* const pages = ::mmap(nullptr, sizeof(Table), PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) return false;
    table_ = static_cast<Table*>(pages);
    return true;
  }

  [[nodiscard]] bool is_there() const noexcept { return table_ != nullptr; }
  [[nodiscard]] Table* operator->() const noexcept { return table_; }

 private:
  Table* table_ = nullptr;
};

}  // namespace cistern::detail
