// by_hand: object pools as people write them.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <boost/lockfree/stack.hpp>

#include "object_pools/object.hpp"

namespace perf {

/// A vector under a mutex, with a condition variable for those who find it empty.
class locked_vector {
 public:
  explicit locked_vector(std::size_t objects) {
    for (std::size_t i = 0; i < objects; ++i) idle_.push_back(std::make_unique<pooled_object>());
  }
  void one_use() {
    std::unique_lock lock(mutex_);
    given_back_.wait(lock, [&] { return !idle_.empty(); });
    auto one = std::move(idle_.back());
    idle_.pop_back();
    lock.unlock();
    use(*one);
    lock.lock();
    idle_.push_back(std::move(one));
    lock.unlock();
    given_back_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable given_back_;
  std::vector<std::unique_ptr<pooled_object>> idle_;
};

/// Boost's lock-free stack; whoever finds it empty gives up the processor and tries again.
class lockfree_stack {
 public:
  explicit lockfree_stack(std::size_t objects) : idle_(objects), objects_(objects) {
    for (pooled_object& one : objects_) idle_.push(&one);
  }
  void one_use() {
    pooled_object* one = nullptr;
    while (!idle_.pop(one)) std::this_thread::yield();
    use(*one);
    idle_.push(one);
  }

 private:
  boost::lockfree::stack<pooled_object*> idle_;
  std::vector<pooled_object> objects_;
};

}  // namespace perf
