// touch_counting_resource: an upstream that counts the pages that a call looks at.
#pragma once

#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/os_pages.hpp>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory_resource>
#include <new>

#include <sys/mman.h>

namespace cistern::test_support {

/// What one call did.
struct call_work {
  std::size_t pages = 0;  ///< That it looked at, of free blocks as well as of records.
  std::size_t upstream_calls = 0;
  std::size_t given_back_bytes = 0;
};

/// Gives out memory that nobody has touched, never the same twice. While a call is counted its pages are
/// closed, and the first touch of each opens it, in a handler of SIGSEGV. One at a time, for one thread.
class touch_counting_resource final : public std::pmr::memory_resource {
 public:
  /// So many bytes can be asked for, of addresses alone.
  explicit touch_counting_resource(std::size_t most_bytes)
      : bytes_(most_bytes), begin_(reserve(most_bytes, PROT_READ | PROT_WRITE)) {
    opened_ = reinterpret_cast<std::uint32_t*>(
        reserve(bytes_ / detail::os_page_bytes() * sizeof(std::uint32_t), PROT_READ | PROT_WRITE));
    instance = this;
    struct sigaction action {};
    action.sa_sigaction = on_touch;
    action.sa_flags = SA_SIGINFO;
    ::sigaction(SIGSEGV, &action, &before_);
  }
  touch_counting_resource(const touch_counting_resource&) = delete;
  touch_counting_resource& operator=(const touch_counting_resource&) = delete;
  ~touch_counting_resource() override {
    ::sigaction(SIGSEGV, &before_, nullptr);
    instance = nullptr;
    detail::asan_unpoison(begin_, used_bytes_);
    ::munmap(begin_, bytes_);
    ::munmap(opened_, bytes_ / detail::os_page_bytes() * sizeof(std::uint32_t));
  }

  /// Calls `body`, and says what it did.
  template <class Body>
  call_work during(Body body) {
    close();
    work_ = {};
    body();
    return work_;
  }
  /// What is called from here on isn't counted, and takes no time for it.
  void open() {
    if (!is_open_) protect(begin_, bytes_, PROT_READ | PROT_WRITE);
    is_open_ = true;
    opened_pages_ = 0;
  }

 private:
  static std::byte* reserve(std::size_t bytes, int access) {
    void* const memory = ::mmap(nullptr, bytes, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    return static_cast<std::byte*>(memory);
  }
  static void protect(std::byte* begin, std::size_t bytes, int access) {
    if (::mprotect(begin, bytes, access) != 0) std::abort();  // too many mappings
  }
  [[nodiscard]] std::byte* page(std::size_t index) const { return begin_ + index * detail::os_page_bytes(); }
  // Those that the last call opened, one by one: they are few.
  void close() {
    if (is_open_) protect(begin_, bytes_, PROT_NONE);
    for (std::size_t i = 0; i < opened_pages_; ++i) {
      protect(page(opened_[i]), detail::os_page_bytes(), PROT_NONE);
    }
    is_open_ = false;
    opened_pages_ = 0;
  }
  static void on_touch(int, siginfo_t* info, void*) {
    touch_counting_resource& self = *instance;
    const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
    const auto begin = reinterpret_cast<std::uintptr_t>(self.begin_);
    if (self.is_open_ || address < begin || address >= begin + self.bytes_) {
      ::sigaction(SIGSEGV, &self.before_, nullptr);  // a fault like any other, when it comes again
      return;
    }
    const auto index = static_cast<std::uint32_t>((address - begin) / detail::os_page_bytes());
    protect(self.page(index), detail::os_page_bytes(), PROT_READ | PROT_WRITE);
    self.opened_[self.opened_pages_++] = index;
    ++self.work_.pages;
  }

  void* do_allocate(std::size_t bytes, std::size_t) override {
    ++work_.upstream_calls;
    const std::size_t whole_bytes = detail::whole_pages(bytes);
    if (whole_bytes > bytes_ - used_bytes_) throw std::bad_alloc();
    std::byte* const block = begin_ + used_bytes_;
    used_bytes_ += whole_bytes;
    return block;
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t) override {
    ++work_.upstream_calls;
    work_.given_back_bytes += bytes;
    detail::asan_unpoison(block, bytes);
    ::madvise(block, detail::whole_pages(bytes), MADV_DONTNEED);
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  static inline touch_counting_resource* instance = nullptr;
  struct sigaction before_ {};
  const std::size_t bytes_;
  std::byte* const begin_;
  std::size_t used_bytes_ = 0;
  bool is_open_ = true;
  std::uint32_t* opened_ = nullptr;  ///< Indexes of pages.
  std::size_t opened_pages_ = 0;
  call_work work_;
};

}  // namespace cistern::test_support
