// worker: another thread, that works only while its owner waits for it.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace cistern::test_support {

/// What several of these do happens in one order, the same in every run, on threads of their own. Not itself
/// thread-safe.
class worker {
 public:
  worker() : thread_([this] { serve(); }) {}
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;

  /// The thread is at its end, all that it does then included.
  ~worker() {
    hand_over({});
    thread_.join();
  }

  /// Does `work` on the thread, waits for it, and throws what it threw.
  void run(std::function<void()> work) {
    hand_over(std::move(work));
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !handed_over_; });
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  void hand_over(std::function<void()> work) {
    const std::scoped_lock lock(mutex_);
    work_ = std::move(work);
    handed_over_ = true;
    changed_.notify_all();
  }

  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return handed_over_; });
      if (!work_) return;
      try {
        work_();
      } catch (...) {
        error_ = std::current_exception();
      }
      work_ = nullptr;
      handed_over_ = false;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;  // guards all below but the thread
  std::condition_variable changed_;
  std::function<void()> work_;  // none: the end
  bool handed_over_ = false;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace cistern::test_support
