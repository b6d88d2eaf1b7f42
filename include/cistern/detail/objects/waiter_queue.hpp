// waiter_queue: the threads and coroutines that wait for an object, in order of arrival.
#pragma once

#include <cistern/object_pool_options.hpp>

#include <condition_variable>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

struct pool_slot;

enum class wait_outcome : unsigned char {
  waiting,
  object,    // `slot` holds an object
  creation,  // there is room, and the waiter is to create the object
  timeout,
  cancelled,
  closed,
  would_deadlock,
};

class waiter_queue;

/// One waiter. It lies where its owner waits: on the stack of a thread, or in the frame of a coroutine. All
/// of it is guarded by the pool's mutex until its owner has collected the outcome.
struct waiter {
  time_point deadline = time_point::max();
  bool queued = false;       // since it was queued, until its owner has collected the outcome
  bool endless = false;      // neither deadline nor stop token: nothing but an object ends the wait
  std::uint64_t thread = 0;  // this_thread_number() of a blocked thread; 0 for a coroutine
  std::condition_variable* wake = nullptr;     // of a blocked thread
  void (*resume)(waiter&) noexcept = nullptr;  // of a coroutine; called without the mutex
  std::uint64_t resumer = 0;                   // of a coroutine whose wait is over: who is to call `resume`
  waiter** called = nullptr;                   // while `resume` is called: where the resumer remembers whom
  time_point since{};
  wait_outcome outcome = wait_outcome::waiting;
  pool_slot* slot = nullptr;
  waiter_queue* queue = nullptr;  // where it is
  waiter* previous = nullptr;
  waiter* next = nullptr;
};

/// A doubly linked list through the waiters. Guarded by the pool's mutex. All operations are O(1) except the
/// searches.
class waiter_queue {
 public:
  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] waiter* front() const noexcept { return first_; }

  void push_back(waiter& one) noexcept;
  void unlink(waiter& one) noexcept;

  /// The oldest waiter that is a blocked thread (and so can keep an eye on the clock), or null.
  [[nodiscard]] waiter* first_thread() const noexcept;
  /// The oldest coroutine that `thread` is to resume, or null.
  [[nodiscard]] waiter* first_for(std::uint64_t thread) const noexcept;
  /// How `thread` waits here with nothing but an object to end its wait, or null.
  [[nodiscard]] waiter* endless_wait_of(std::uint64_t thread) const noexcept;

 private:
  waiter* first_ = nullptr;
  waiter* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace cistern::detail
