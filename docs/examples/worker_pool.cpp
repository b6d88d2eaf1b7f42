// A worker pool with one resource per std::jthread: each worker leases its scratch space once, for all its
// jobs.
//
// The lease lives as long as the worker's thread does, so a job never waits for the resource; stopping the
// pool gives all of them back, and drain shows that none was left behind. Ends with 1 if a job got lost, if
// two workers shared a resource, or if one was not given back.
#include <cistern/object_pool.hpp>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <iostream>
#include <mutex>
#include <numeric>
#include <stop_token>
#include <thread>
#include <vector>

namespace {

// What a worker needs for its jobs, and would be slow to set up for each.
struct scratch {
  std::vector<std::uint64_t> sieve = std::vector<std::uint64_t>(20'000);
  std::uint64_t jobs = 0;
};

struct scratch_lifecycle {
  scratch create() { return {}; }
};

using job = std::function<void(scratch&)>;

class worker_pool {
 public:
  worker_pool(cistern::object_pool<scratch, scratch_lifecycle>& resources, unsigned workers) {
    for (unsigned i = 0; i < workers; ++i) {
      workers_.emplace_back([this, &resources](std::stop_token stop) {
        auto mine = resources.acquire_for(cistern::forever, stop);
        while (auto next = take(stop)) {
          next(*mine);
          ++mine->jobs;
        }
      });
    }
  }

  void submit(job next) {
    {
      const std::scoped_lock lock(mutex_);
      jobs_.push_back(std::move(next));
    }
    changed_.notify_one();
  }

  // Finishes the jobs submitted so far, then the workers.
  void finish() {
    for (auto& worker : workers_) {
      worker.request_stop();
    }
    workers_.clear();
  }

 private:
  // The next job; none if there are no more and the worker is to stop.
  job take(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, stop, [&] { return !jobs_.empty(); });
    if (jobs_.empty()) {
      return {};
    }
    job next = std::move(jobs_.front());
    jobs_.pop_front();
    return next;
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<job> jobs_;
  std::vector<std::jthread> workers_;
};

// Sums the primes below `limit`.
std::uint64_t sum_of_primes(scratch& space, std::uint64_t limit) {
  auto& sieve = space.sieve;
  std::iota(sieve.begin(), sieve.end(), 0);
  std::uint64_t sum = 0;
  for (std::uint64_t n = 2; n < limit; ++n) {
    if (sieve[n] == 0) {
      continue;
    }
    sum += n;
    for (std::uint64_t multiple = n * n; multiple < limit; multiple += n) {
      sieve[multiple] = 0;
    }
  }
  return sum;
}

}  // namespace

int main() {
  constexpr unsigned workers = 4;
  constexpr int jobs = 400;
  cistern::object_pool<scratch, scratch_lifecycle> resources({.max_size = workers});
  std::atomic<int> right{0};
  {
    worker_pool team(resources, workers);
    for (int i = 0; i < jobs; ++i) {
      team.submit([&](scratch& space) { right += sum_of_primes(space, 10'000) == 5'736'396 ? 1 : 0; });
    }
    // Every worker must have leased its resource before it is told to stop, or it would leave without one.
    while (resources.statistics().acquired < workers) {
      std::this_thread::yield();
    }
    team.finish();
  }
  const auto after = resources.statistics();
  std::uint64_t done = 0;
  resources.evict_if([&](const scratch& space) {
    done += space.jobs;
    return false;
  });
  const auto report = resources.drain(cistern::forever);
  std::cout << right << " of " << jobs << " jobs right, " << done << " counted by " << after.created
            << " resources; " << report.outstanding.size() << " resources not given back\n";
  return right == jobs && done == jobs && after.created == workers && report.drained() ? 0 : 1;
}
