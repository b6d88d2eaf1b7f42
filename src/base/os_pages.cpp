#include <cistern/detail/base/errno_keeper.hpp>
#include <cistern/detail/base/os_pages.hpp>
#include <cistern/detail/base/unreturned_pages.hpp>

#include <cstdint>

#include "boundary.hpp"
#include <sys/mman.h>
#include <unistd.h>

namespace cistern::detail {
namespace {

constinit unreturned_pages unreturned;

std::byte* map_anywhere(std::size_t bytes, int protection = PROT_READ | PROT_WRITE) noexcept {
  void* pages = ::mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return pages == MAP_FAILED ? nullptr : static_cast<std::byte*>(pages);
}

// The system aligns to a page only: so more than needed, and what is too much goes back.
std::byte* map_aligned(std::size_t bytes, std::size_t alignment) noexcept {
  const std::size_t slack_bytes = alignment - os_page_bytes();
  if (bytes > SIZE_MAX - slack_bytes) {
    return nullptr;
  }
  std::byte* pages = map_anywhere(bytes + slack_bytes);
  if (pages == nullptr) {
    return nullptr;
  }
  const std::size_t before_bytes = bytes_to_boundary(pages, alignment);
  if (before_bytes != 0) {
    unmap_pages(pages, before_bytes);
  }
  if (before_bytes != slack_bytes) {
    unmap_pages(pages + before_bytes + bytes, slack_bytes - before_bytes);
  }
  return pages + before_bytes;
}

}  // namespace

std::size_t os_page_bytes() noexcept {
  return static_cast<std::size_t>(::getpagesize());
}

std::size_t whole_pages(std::size_t bytes) noexcept {
  const std::size_t mask = os_page_bytes() - 1;
  return bytes == 0 ? mask + 1 : (bytes + mask) & ~mask;  // wraps around to 0
}

void* map_pages(std::size_t bytes, std::size_t alignment) noexcept {
  const errno_keeper keeper;
  if (bytes == 0) {
    return nullptr;
  }
  if (unreturned.any()) [[unlikely]] {
    if (void* const kept = unreturned.try_take(bytes, alignment); kept != nullptr) {
      return kept;
    }
  }
  // What has just been given back, or comes below the last mapping, is often aligned already.
  std::byte* pages = map_anywhere(bytes);
  if (pages == nullptr || bytes_to_boundary(pages, alignment) == 0) {
    return pages;
  }
  unmap_pages(pages, bytes);
  return map_aligned(bytes, alignment);
}

void* reserve_pages(std::size_t bytes) noexcept {
  const errno_keeper keeper;
  return map_anywhere(bytes, PROT_NONE);
}

// Addresses for all of it, of which those in the middle are opened, and what is too much goes back.
void* map_guarded_pages(std::size_t bytes, std::size_t alignment, std::size_t guard_bytes) noexcept {
  const std::size_t page = os_page_bytes();
  const std::size_t slack_bytes = alignment > page ? alignment - page : 0;
  const std::size_t beside_bytes = 2 * guard_bytes + slack_bytes;
  if (bytes == 0 || bytes > PTRDIFF_MAX - beside_bytes) {
    return nullptr;
  }
  auto* const reserved = static_cast<std::byte*>(reserve_pages(bytes + beside_bytes));
  if (reserved == nullptr) {
    return nullptr;
  }
  std::byte* const guarded = reserved + guard_bytes;
  std::byte* const pages = guarded + (slack_bytes != 0 ? bytes_to_boundary(guarded, alignment) : 0);
  if (!open_pages(pages, bytes)) {
    unmap_pages(reserved, bytes + beside_bytes);
    return nullptr;
  }
  const auto before_bytes = static_cast<std::size_t>(pages - guarded);
  if (before_bytes != 0) {
    unmap_pages(reserved, before_bytes);
  }
  if (before_bytes != slack_bytes) {
    unmap_pages(pages + bytes + guard_bytes, slack_bytes - before_bytes);
  }
  return pages;
}

void unmap_guarded_pages(void* pages, std::size_t bytes, std::size_t guard_bytes) noexcept {
  unmap_pages(static_cast<std::byte*>(pages) - guard_bytes, bytes + 2 * guard_bytes);
}

bool bury_pages(void* pages, std::size_t bytes) noexcept {
  const errno_keeper keeper;
  return ::mmap(pages, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

bool move_pages(void* from, std::size_t bytes, void* to, std::size_t new_bytes) noexcept {
  const errno_keeper keeper;
  return ::mremap(from, bytes, new_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) != MAP_FAILED;
}

bool close_pages(void* pages, std::size_t bytes) noexcept {
  const errno_keeper keeper;
  return ::mprotect(pages, bytes, PROT_NONE) == 0;
}

bool open_pages(void* pages, std::size_t bytes) noexcept {
  const errno_keeper keeper;
  return ::mprotect(pages, bytes, PROT_READ | PROT_WRITE) == 0;
}

void unmap_pages(void* pages, std::size_t bytes) noexcept {
  const errno_keeper keeper;
  if (::munmap(pages, bytes) != 0) {
    // Splitting a mapping in two may meet the limit on their number. Neither what has holes, nor what
    // somebody has protected for good, can be kept.
    if (::mprotect(pages, bytes, PROT_READ | PROT_WRITE) == 0) {
      unreturned.keep(pages, whole_pages(bytes));
    }
  } else if (unreturned.any()) [[unlikely]] {
    unreturned.offer();
  }
}

bool discard_pages(void* pages, std::size_t bytes) noexcept {
  const errno_keeper keeper;
  return ::madvise(pages, bytes, MADV_DONTNEED) == 0;
}

void advise_huge_pages(void* pages, std::size_t bytes) noexcept {
#ifdef MADV_HUGEPAGE
  const errno_keeper keeper;
  ::madvise(pages, bytes, MADV_HUGEPAGE);
#else
  (void)pages;
  (void)bytes;
#endif
}

}  // namespace cistern::detail
