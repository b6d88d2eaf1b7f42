// throwing_resource: an upstream whose failure is not a std::bad_alloc.
#pragma once

#include <cistern/resource_or_new_delete.hpp>

#include <cstddef>
#include <memory_resource>

namespace cistern::test_support {

struct unusual_error {};

/// Grants so many requests, then throws `unusual_error` once, then grants again.
class throwing_resource final : public std::pmr::memory_resource {
 public:
  explicit throwing_resource(int granted_before = 0, std::pmr::memory_resource* upstream = nullptr)
      : upstream_(resource_or_new_delete(upstream)), left_(granted_before) {}

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (left_-- == 0) throw unusual_error{};
    return upstream_->allocate(bytes, alignment);
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    upstream_->deallocate(block, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  std::pmr::memory_resource* upstream_;
  int left_;
};

}  // namespace cistern::test_support
