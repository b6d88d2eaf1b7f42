#include "object_pools/contestants.hpp"

#include <cistern/object_pool.hpp>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

#include <boost/lockfree/stack.hpp>

#include "object_pools/object.hpp"
#include "support/thread_team.hpp"

namespace perf {

namespace {

template <class Policy>
class cistern_pool {
 public:
  explicit cistern_pool(const cistern::object_pool_options& options) : pool_(options) {}
  void one_use() {
    auto one = pool_.acquire();
    use(*one);
  }

 private:
  cistern::object_pool<pooled_object, pooled_object_lifecycle, Policy> pool_;
};

// A vector under a mutex, with a condition variable for those who find it empty.
class locked_vector {
 public:
  explicit locked_vector(std::size_t objects) {
    for (std::size_t i = 0; i < objects; ++i) {
      idle_.push_back(std::make_unique<pooled_object>());
    }
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

// Boost's lock-free stack; whoever finds it empty gives up the processor and tries again.
class lockfree_stack {
 public:
  explicit lockfree_stack(std::size_t objects) : idle_(objects), objects_(objects) {
    for (pooled_object& one : objects_) {
      idle_.push(&one);
    }
  }
  void one_use() {
    pooled_object* one = nullptr;
    while (!idle_.pop(one)) {
      std::this_thread::yield();
    }
    use(*one);
    idle_.push(one);
  }

 private:
  boost::lockfree::stack<pooled_object*> idle_;
  std::vector<pooled_object> objects_;
};

template <class Pool>
double run_threads(Pool& pool, const pool_workload& what, std::size_t uses) {
  const std::size_t each = uses / what.threads + 1;
  const auto time = time_together(
      what.threads, [&](unsigned) { pool.one_use(); },
      [&](unsigned) {
        for (std::size_t i = 0; i < each; ++i) {
          pool.one_use();
        }
      },
      [](unsigned) {});
  return static_cast<double>(time.count()) / static_cast<double>(each * what.threads);
}

// A pool with the objects that the workload wants.
template <class Policy>
auto cistern_runs(cistern::object_pool_options options, bool bounded) {
  return [options, bounded](const pool_workload& what, std::size_t uses) mutable {
    options.initial = what.objects;
    (bounded ? options.max_size : options.max_idle) = what.objects;
    cistern_pool<Policy> pool(options);
    return run_threads(pool, what, uses);
  };
}

template <class Pool>
double run_by_hand(const pool_workload& what, std::size_t uses) {
  Pool pool(what.objects);
  return run_threads(pool, what, uses);
}

}  // namespace

std::vector<pool_contestant> cpp_pools(const pool_workload& what) {
  using cistern::object_pool_options;
  if (what.coroutines) {
    return {{"shared lifo", run_coroutines}};
  }
  const object_pool_options fifo{.order = cistern::reuse_order::fifo};
  const object_pool_options elastic{.max_size = cistern::no_limit, .empty = cistern::when_empty::create};
  std::vector<pool_contestant> all{
      {"shared lifo", cistern_runs<cistern::shared>({}, true)},
      {"shared fifo", cistern_runs<cistern::shared>(fifo, true)},
      {"mutex+vector+cv", run_by_hand<locked_vector>, "shared lifo"},
      {"boost lockfree", run_by_hand<lockfree_stack>, "shared lifo"},
  };
  if (!what.waits) {  // these never wait
    all.push_back({"shared elastic", cistern_runs<cistern::shared>(elastic, false)});
    all.push_back({"per_thread", cistern_runs<cistern::per_thread>({}, true)});
  }
  return all;
}

}  // namespace perf
