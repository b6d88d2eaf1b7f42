// cancelling_resource: an upstream in which the calling thread is cancelled.
#pragma once

#include <cistern/testing/checking_resource.hpp>

#include <cstddef>
#include <memory_resource>

#include <boost/test/unit_test.hpp>

#include "mortal.hpp"
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

/// Cancels a thread in the 1st, 2nd, … call that `work` makes of the resource it is given, until there is no
/// such call. Whatever it was, nothing may be lost. Returns the number of calls.
template <class Work>
std::size_t cancel_in_every_call(Work work) {
  for (std::size_t call = 1;; ++call) {
    BOOST_TEST_CONTEXT("in call " << call) {
      testing::checking_resource below;
      cancelling_resource resource(&below, call);
      const bool was_cancelled = is_cancelled_in([&] { work(&resource); });
      BOOST_TEST(below.outstanding_blocks() == 0U);
      if (!was_cancelled) return call - 1;
    }
  }
}

}  // namespace cistern::test_support
