// run_threads: starts threads together and joins them; checks inside of them end the program.
#pragma once

#include <cistern/source_location.hpp>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <latch>
#include <thread>
#include <vector>

namespace cistern::test_support {

/// Ends the program where `condition` doesn't hold. For threads: Boost.Test's checks belong to the main one,
/// and an exception would leave the other threads waiting at their barrier for ever.
inline void require(bool condition, const char* what, source_location where = source_location::current()) {
  if (!condition) {
    std::fprintf(stderr, "%s:%u: in a thread: %s\n", where.file_name(), where.line(), what);
    std::abort();
  }
}

/// Runs `body(index)` on `count` threads that start together, and waits for all.
template <class Body>
void run_threads(std::size_t count, Body body) {
  std::latch start(static_cast<std::ptrdiff_t>(count));
  std::vector<std::thread> threads;
  threads.reserve(count);
  for (std::size_t index = 0; index < count; ++index) {
    threads.emplace_back([&body, &start, index] {
      start.arrive_and_wait();
      try {
        body(index);
      } catch (const std::exception& error) {
        require(false, error.what());
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

/// Runs `body()` on a thread of its own and waits for it.
template <class Body>
void run_thread(Body body) {
  run_threads(1, [&body](std::size_t) { body(); });
}

}  // namespace cistern::test_support
