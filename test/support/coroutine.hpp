// The least of a coroutine library that tests of awaitables need.
#pragma once

#include <coroutine>
#include <deque>
#include <exception>
#include <mutex>
#include <utility>

namespace cistern::test {

// A coroutine that starts at once and that nobody waits for; an exception out of it ends the program.
// `handle` is for destroying it while it is suspended.
struct started {
  struct promise_type {
    started get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};

// Keeps coroutines until told to run them.
class run_queue {
 public:
  auto executor() {
    return [this](std::coroutine_handle<> coroutine) {
      const std::scoped_lock lock(mutex_);
      ready_.push_back(coroutine);
    };
  }
  // Resumes the oldest; false if there is none.
  bool run_one() {
    std::coroutine_handle<> next;
    {
      const std::scoped_lock lock(mutex_);
      if (ready_.empty()) {
        return false;
      }
      next = ready_.front();
      ready_.pop_front();
    }
    next.resume();
    return true;
  }
  std::size_t size() {
    const std::scoped_lock lock(mutex_);
    return ready_.size();
  }

 private:
  std::mutex mutex_;
  std::deque<std::coroutine_handle<>> ready_;
};

}  // namespace cistern::test
