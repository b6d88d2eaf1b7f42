// yielding_atomic: what `std::atomic` means in the sources of a program whose threads a seed schedules.
#pragma once

// Forced in front of every source of the program (see CMakeLists.txt): the library has no hook, and needs
// none. All headers of the standard library that have atomics of their own come before the name gets its
// other meaning.
#include <atomic>
#include <barrier>
#include <condition_variable>
#include <coroutine>
#include <functional>
#include <future>
#include <istream>
#include <latch>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <ostream>
#include <semaphore>
#include <sstream>
#include <stop_token>
#include <string>
#include <thread>
#include <unordered_map>

#include "scheduler.hpp"

namespace std {

/// As `std::atomic`, with a point before each operation. Nobody sleeps: a wait is a loop that lets others go
/// on.
template <class T>
class cistern_yielding_atomic
    : public atomic<T> {  // locks are made of these: so each lock and unlock is a point
  using base = atomic<T>;
  static void point() noexcept { cistern::test_support::schedule_point(); }

 public:
  constexpr cistern_yielding_atomic() noexcept = default;
  constexpr cistern_yielding_atomic(T value) noexcept : base(value) {}  // NOLINT(google-explicit-constructor)
  using base::operator=;

  [[nodiscard]] T load(memory_order order = memory_order_seq_cst) const noexcept {
    point();
    return base::load(order);
  }
  void store(T value, memory_order order = memory_order_seq_cst) noexcept {
    point();
    base::store(value, order);
  }
  T exchange(T value, memory_order order = memory_order_seq_cst) noexcept {
    point();
    return base::exchange(value, order);
  }
  template <class... Orders>
  bool compare_exchange_strong(T& expected, T value, Orders... orders) noexcept {
    point();
    return base::compare_exchange_strong(expected, value, orders...);
  }
  template <class... Orders>
  bool compare_exchange_weak(T& expected, T value, Orders... orders) noexcept {
    point();
    return base::compare_exchange_weak(expected, value, orders...);
  }
  template <class Number>
  T fetch_add(Number value, memory_order order = memory_order_seq_cst) noexcept {
    point();
    return base::fetch_add(static_cast<T>(value), order);
  }
  template <class Number>
  T fetch_sub(Number value, memory_order order = memory_order_seq_cst) noexcept {
    point();
    return base::fetch_sub(static_cast<T>(value), order);
  }
  T fetch_xor(T value, memory_order order = memory_order_seq_cst) noexcept {
    point();
    return base::fetch_xor(value, order);
  }
  void wait(T old, memory_order order = memory_order_seq_cst) const noexcept {
    while (base::load(order) == old) {
      (void)cistern::test_support::schedule_others();
    }
  }
  void notify_one() noexcept {}
  void notify_all() noexcept {}
};

}  // namespace std

#define atomic cistern_yielding_atomic
