#include "object_pools/coroutines.hpp"

#include <cistern/object_pool.hpp>

#include <atomic>
#include <coroutine>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "support/thread_team.hpp"

namespace perf {

namespace {

class run_queue {
 public:
  void push(std::coroutine_handle<> one) {
    const std::scoped_lock lock(mutex_);
    ready_.push_back(one);
  }
  bool run_one() {
    std::unique_lock lock(mutex_);
    if (ready_.empty()) {
      return false;
    }
    const auto one = ready_.front();
    ready_.pop_front();
    lock.unlock();
    one.resume();
    return true;
  }
  struct turn {
    run_queue& queue;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> one) const { queue.push(one); }
    void await_resume() const noexcept {}
  };
  // The others first.
  turn next_turn() { return {*this}; }

 private:
  std::mutex mutex_;
  std::deque<std::coroutine_handle<>> ready_;
};

struct started {
  struct promise_type {
    started get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

using coroutine_pool = cistern::object_pool<pooled_object, pooled_object_lifecycle>;

started use_in_turns(coroutine_pool& pool, run_queue& queue, std::size_t uses,
                     std::atomic<unsigned>& running) {
  co_await queue.next_turn();
  for (std::size_t i = 0; i < uses; ++i) {
    auto one = co_await pool.acquire_async([&](std::coroutine_handle<> self) { queue.push(self); });
    use(*one);
    co_await queue.next_turn();
  }
  --running;
}

}  // namespace

pool_run run_coroutines(unsigned threads, std::size_t objects, std::size_t uses) {
  coroutine_pool pool({.max_size = objects, .initial = objects});
  const unsigned coroutines = threads * coroutines_per_thread;
  const std::size_t each = uses / coroutines + 1;
  run_queue queue;
  std::atomic<unsigned> running{coroutines};
  for (unsigned i = 0; i < coroutines; ++i) use_in_turns(pool, queue, each, running);
  const auto elapsed = time_together(threads, [&](unsigned) {
    while (running > 0) {
      if (!queue.run_one()) std::this_thread::yield();
    }
  });
  return {elapsed, each * coroutines};
}

}  // namespace perf
