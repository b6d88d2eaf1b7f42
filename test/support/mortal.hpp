// mortal: a thread that may end before its work does.
#pragma once

#include <functional>
#include <utility>

#include <boost/test/unit_test.hpp>

#include <pthread.h>

namespace cistern::test_support {

/// A thread that may be cancelled, as a std::thread must not be, and may call pthread_exit. Must be joined.
class mortal {
 public:
  explicit mortal(std::function<void()> work) : work_(std::move(work)) {
    BOOST_REQUIRE(::pthread_create(&thread_, nullptr, &run, this) == 0);
  }
  mortal(const mortal&) = delete;
  mortal& operator=(const mortal&) = delete;
  ~mortal() = default;

  void cancel() const { BOOST_REQUIRE(::pthread_cancel(thread_) == 0); }
  /// Whether it was cancelled, instead of coming to its end.
  [[nodiscard]] bool join() const {
    void* result = nullptr;
    BOOST_REQUIRE(::pthread_join(thread_, &result) == 0);
    return result == PTHREAD_CANCELED;
  }

 private:
  static void* run(void* self) {
    static_cast<mortal*>(self)->work_();
    return nullptr;
  }
  std::function<void()> work_;
  pthread_t thread_{};
};

/// Cancels the calling thread, here unless cancellation is held off.
inline void cancel_this_thread() {
  ::pthread_cancel(::pthread_self());
  ::pthread_testcancel();
}

/// Does `work` on a thread of its own; returns whether somebody cancelled it until right behind.
inline bool is_cancelled_in(const std::function<void()>& work) {
  const mortal thread([&work] {
    work();
    ::pthread_testcancel();
  });
  return thread.join();
}

}  // namespace cistern::test_support
