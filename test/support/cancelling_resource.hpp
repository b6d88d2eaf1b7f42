// cancelling_resource: an upstream in which the calling thread is cancelled.
#pragma once

#include <cstddef>
#include <memory_resource>

#include <pthread.h>

namespace cistern::test_support {

/// Its Nth call is one in which the calling thread is cancelled.
class cancelling_resource final : public std::pmr::memory_resource {
 public:
  cancelling_resource(std::pmr::memory_resource* upstream, std::size_t call)
      : upstream_(upstream), left_(call) {}

  void disarm() { left_ = 0; }

 private:
  void end_if_due() {
    if (left_ != 0 && --left_ == 0) ::pthread_cancel(::pthread_self());
    ::pthread_testcancel();
  }
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    end_if_due();
    return upstream_->allocate(bytes, alignment);
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    end_if_due();
    upstream_->deallocate(block, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  std::pmr::memory_resource* upstream_;
  std::size_t left_;
};

}  // namespace cistern::test_support
