// closable_resource: an upstream that shows who touches memory that he should leave alone.
#pragma once

#include <cistern/detail/base/os_pages.hpp>

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <new>

#include <sys/mman.h>

namespace cistern::test_support {

/// An upstream whose blocks have pages of their own, which can be closed: touching a closed one kills the
/// process.
class closable_resource final : public std::pmr::memory_resource {
 public:
  explicit closable_resource(std::size_t most_bytes) : bytes_(most_bytes) {
    void* const region =
        ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED) throw std::bad_alloc();
    region_ = static_cast<std::byte*>(region);
  }
  closable_resource(const closable_resource&) = delete;
  closable_resource& operator=(const closable_resource&) = delete;
  ~closable_resource() override { ::munmap(region_, bytes_); }

  void close_all() { protect(region_, bytes_, PROT_NONE); }
  void open_all() { protect(region_, bytes_, PROT_READ | PROT_WRITE); }
  /// The pages that the block lies on.
  static void close(void* block, std::size_t bytes) {
    const auto begin = reinterpret_cast<std::uintptr_t>(block);
    const std::uintptr_t first = begin - begin % detail::os_page_bytes();
    protect(reinterpret_cast<void*>(first), detail::whole_pages(begin + bytes - first), PROT_NONE);
  }
  static void open(void* block, std::size_t bytes) {
    protect(block, pages_for(bytes), PROT_READ | PROT_WRITE);
  }

 private:
  static std::size_t pages_for(std::size_t bytes) { return detail::whole_pages(bytes); }
  static void protect(void* begin, std::size_t bytes, int access) {
    if (::mprotect(begin, bytes, access) != 0) throw std::bad_alloc();
  }
  void* do_allocate(std::size_t bytes, std::size_t) override {
    std::byte* const block = region_ + used_bytes_;
    used_bytes_ += pages_for(bytes);
    if (used_bytes_ > bytes_) throw std::bad_alloc();
    return block;
  }
  void do_deallocate(void*, std::size_t, std::size_t) override {}
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  std::size_t bytes_;
  std::byte* region_ = nullptr;
  std::size_t used_bytes_ = 0;
};

}  // namespace cistern::test_support
