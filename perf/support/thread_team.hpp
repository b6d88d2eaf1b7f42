// thread_team: threads that start their timed part together.
#pragma once

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

namespace perf {

using clock = std::chrono::steady_clock;

/// Runs `prepare(index)`, then, once every thread is ready, `work(index)`, then `finish(index)` on each of
/// `threads` threads. The time is from the first thread's start of `work` to the last one's end.
template <class Prepare, class Work, class Finish>
std::chrono::nanoseconds time_together(unsigned threads, Prepare prepare, Work work, Finish finish) {
  std::barrier ready(static_cast<std::ptrdiff_t>(threads));
  std::vector<clock::time_point> starts(threads);
  std::vector<clock::time_point> ends(threads);
  {
    std::vector<std::jthread> team;
    for (unsigned index = 0; index < threads; ++index) {
      team.emplace_back([&, index] {
        prepare(index);
        ready.arrive_and_wait();
        starts[index] = clock::now();
        work(index);
        ends[index] = clock::now();
        ready.arrive_and_wait();
        finish(index);
      });
    }
  }
  return *std::max_element(ends.begin(), ends.end()) - *std::min_element(starts.begin(), starts.end());
}

template <class Work>
std::chrono::nanoseconds time_together(unsigned threads, Work work) {
  const auto nothing = [](unsigned) {};
  return time_together(threads, nothing, work, nothing);
}

}  // namespace perf
