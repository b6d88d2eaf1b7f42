// std::allocate_shared on a pool that threads share: sessions made by one thread and dropped by another.
//
// Object and reference count lie in one block of the pool. Whoever drops the last pointer gives the block
// back, on whatever thread. Ends with 0 if every session was destroyed and every byte went back.
#include <cistern/pool_allocator.hpp>
#include <cistern/synchronized_pool_resource.hpp>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <iostream>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace {

std::atomic<int> alive{0};

struct session {
  explicit session(int n) : number(n) { ++alive; }
  ~session() { --alive; }
  session(const session&) = delete;
  session& operator=(const session&) = delete;
  int number;
  char state[100] = {};
};

using session_ptr = std::shared_ptr<session>;

/// Hands sessions from the thread that accepts them to those that serve them.
class hand_over {
 public:
  void put(session_ptr one) {
    {
      const std::lock_guard guard(mutex_);
      waiting_.push_back(std::move(one));
    }
    ready_.notify_all();
  }
  /// Null: there are no more.
  session_ptr take() {
    std::unique_lock guard(mutex_);
    ready_.wait(guard, [&] { return !waiting_.empty(); });
    if (waiting_.front() == nullptr) return nullptr;
    session_ptr one = std::move(waiting_.front());
    waiting_.pop_front();
    return one;
  }

 private:
  std::mutex mutex_;  // guards waiting_
  std::condition_variable ready_;
  std::deque<session_ptr> waiting_;
};

}  // namespace

int main() {
  constexpr int sessions = 50'000;
  cistern::synchronized_pool_resource pool;
  const cistern::pool_allocator<session> allocator(&pool);
  std::atomic<long> sum{0};
  hand_over queue;
  {
    std::vector<std::thread> servers;
    for (int i = 0; i < 2; ++i) {
      servers.emplace_back([&] {
        while (const session_ptr one = queue.take()) sum += one->number;
      });
    }
    for (int i = 0; i < sessions; ++i) queue.put(std::allocate_shared<session>(allocator, i));
    queue.put(nullptr);  // stays at the front, for all servers
    for (std::thread& each : servers) each.join();
  }
  const auto statistics = pool.statistics();
  std::cout << sessions << " sessions served, " << alive << " alive, " << statistics.in_use_bytes
            << " bytes in use; " << statistics.upstream_allocations << " allocations from upstream\n";
  const bool all_served = sum == long{sessions} * (sessions - 1) / 2;
  return all_served && alive == 0 && statistics.in_use_bytes == 0 ? 0 : 1;
}
