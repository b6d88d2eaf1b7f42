// What the tests of object pools share: a clock they move by hand, objects that count themselves, and ways to
// wait for other threads without sleeping.
#pragma once

#include <cistern/object_pool.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <thread>

namespace cistern::test {

using namespace std::chrono_literals;

// A clock that moves only when told to. One for the whole program: tests run one after another.
struct manual_clock {
  static inline std::atomic<duration::rep> ticks{0};
  static time_point now() noexcept { return time_point{duration{ticks.load()}}; }
  static void advance(duration by) noexcept { ticks.fetch_add(by.count()); }
  static void reset() noexcept { ticks = duration{std::chrono::hours{1}}.count(); }
};

// Counts what happened to the objects of one lifecycle.
struct tally {
  std::atomic<int> created{0};
  std::atomic<int> reset{0};
  std::atomic<int> validated{0};
  std::atomic<int> destroyed{0};     // calls of the lifecycle's destroy
  std::atomic<int> alive{0};         // objects between constructor and destructor
  std::atomic<int> twice_closed{0};  // objects destroyed more than once
  std::atomic<int> next_id{0};
};

// An object that knows its number, and whether it was closed; it can't be copied or moved.
struct thing {
  explicit thing(tally& counts) : counts_(&counts), id(counts.next_id++) { ++counts.alive; }
  thing(const thing&) = delete;
  thing& operator=(const thing&) = delete;
  ~thing() { --counts_->alive; }

  tally* counts_;
  int id;
  int value = 0;
  bool broken = false;
  bool closed = false;
  std::atomic<bool> in_hands{false};
};

// A lifecycle of things with all functions, each of which can be made to fail.
struct thing_lifecycle {
  tally* counts;
  std::atomic<int>* failing_creates = nullptr;  // so many of the next creates throw
  std::atomic<bool>* failing_reset = nullptr;
  std::function<void()> on_create{};

  thing create() {
    if (on_create) {
      on_create();
    }
    if (failing_creates != nullptr && failing_creates->fetch_sub(1) > 0) {
      throw std::runtime_error("no connection");
    }
    ++counts->created;
    return thing(*counts);
  }
  void reset(thing& one) {
    ++counts->reset;
    if (failing_reset != nullptr && *failing_reset) {
      throw std::runtime_error("cannot be cleaned");
    }
    one.value = 0;
  }
  bool validate(thing& one) {
    ++counts->validated;
    return !one.broken;
  }
  void destroy(thing&& one) noexcept {
    ++counts->destroyed;
    if (one.closed) {
      ++counts->twice_closed;
    }
    one.closed = true;
  }
  bool clean(const thing& one) const noexcept { return one.value == 0; }
};

using thing_pool = object_pool<thing, thing_lifecycle>;

// Returns once `condition` holds; gives up the processor meanwhile.
template <class Condition>
void yield_until(Condition condition) {
  while (!condition()) {
    std::this_thread::yield();
  }
}

template <class Pool>
void yield_until_waiting(const Pool& pool, std::size_t waiters) {
  yield_until([&] { return pool.statistics().waiting == waiters; });
}

// The code of the pool_error that `call` throws; fails the test's expectation by returning no code if none.
template <class Call>
std::error_code error_of(Call call) {
  try {
    (void)call();
  } catch (const pool_error& error) {
    return error.code();
  }
  return {};
}

}  // namespace cistern::test

#if defined(__SANITIZE_THREAD__)
// The reference counts of exceptions live in the standard library's binary, where ThreadSanitizer doesn't see
// that they order the last use of an exception before its destruction on another thread.
// Not inline, or it would not be emitted: a test program is one translation unit.
extern "C" const char* __tsan_default_suppressions() {
  return "race:std::__exception_ptr::exception_ptr::_M_release\n"
         "race:std::runtime_error::~runtime_error\n";
}
#endif
