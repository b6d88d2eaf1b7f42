// pool_parts: what tests of the parts of a pool share: options in effect, lists, a source of pages.
#pragma once

#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/os_pages.hpp>
#include <cistern/detail/pool/chunk_source.hpp>
#include <cistern/detail/pool/effective_options.hpp>
#include <cistern/detail/pool/free_list.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <cstddef>

namespace cistern::test_support {

/// The options that a pool works with, whatever the environment of the test says.
[[nodiscard]] inline pool_options effective(const pool_options& asked) {
  pool_options options = detail::effective_options(asked);
  options.pass_through = asked.pass_through;
  return options;
}

[[nodiscard]] inline std::size_t length(const detail::free_block* list) {
  std::size_t blocks = 0;
  for (; list != nullptr; list = list->next()) ++blocks;
  return blocks;
}

/// What a part of a pool stands on: a checking upstream, options in effect, and the account between.
class pool_ground {
 public:
  explicit pool_ground(const pool_options& asked)
      : options(effective(asked)), account(&upstream, options.max_bytes) {}
  pool_ground(const pool_ground&) = delete;
  pool_ground& operator=(const pool_ground&) = delete;

  testing::checking_resource upstream;
  pool_options options;
  detail::upstream_account account;

 protected:
  ~pool_ground() = default;
};

/// Whole pages from the system, as malloc's heap gets them; refuses on demand. For one thread at a time.
class page_source final : public detail::chunk_source {
 public:
  page_source() = default;
  page_source(const page_source&) = delete;
  page_source& operator=(const page_source&) = delete;
  ~page_source() = default;

  [[nodiscard]] void* try_allocate(std::size_t bytes, std::size_t alignment) noexcept override {
    void* pages = refuse ? nullptr : detail::map_pages(whole(bytes), alignment);
    outstanding_bytes += pages != nullptr ? bytes : 0;
    return pages;
  }
  void deallocate(void* memory, std::size_t bytes) noexcept override {
    outstanding_bytes -= bytes;
    detail::asan_unpoison(memory, whole(bytes));  // else what is mapped here next is poisoned
    detail::unmap_pages(memory, whole(bytes));
  }
  void assign(void* /*memory*/, std::size_t /*bytes*/, unsigned /*index*/) noexcept override {
    ++assignments;
  }

  bool refuse = false;
  std::size_t outstanding_bytes = 0;
  std::size_t assignments = 0;

 private:
  [[nodiscard]] static std::size_t whole(std::size_t bytes) noexcept { return detail::whole_pages(bytes); }
};

}  // namespace cistern::test_support
