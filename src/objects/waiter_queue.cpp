#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/objects/waiter_queue.hpp>

#include <utility>

namespace cistern::detail {

void waiter_queue::push_back(waiter& one) noexcept {
  one.previous = last_;
  one.next = nullptr;
  (last_ != nullptr ? last_->next : first_) = &one;
  last_ = &one;
  ++size_;
}

void waiter_queue::unlink(waiter& one) noexcept {
  (one.previous != nullptr ? one.previous->next : first_) = one.next;
  (one.next != nullptr ? one.next->previous : last_) = one.previous;
  one.previous = one.next = nullptr;
  --size_;
}

waiter* waiter_queue::first_thread() const noexcept {
  waiter* one = first_;
  while (one != nullptr && one->wake == nullptr) {
    one = one->next;
  }
  return one;
}

bool waiter_queue::waits_endlessly(std::uint64_t thread) const noexcept {
  for (const waiter* one = first_; one != nullptr; one = one->next) {
    if (one->thread == thread && one->endless) {
      return true;
    }
  }
  return false;
}

namespace {

// What a thread has still to resume: on the stack of the outermost call, as thread-local storage is scarce in
// a plug-in.
struct resuming {
  waiter* first;
  waiter* last;
};
thread_local constinit resuming* resuming_here = nullptr;

}  // namespace

void resume_list::push_back(waiter& one) noexcept {
  one.next = nullptr;
  (last_ != nullptr ? last_->next : first_) = &one;
  last_ = &one;
}

void resume_list::resume_all() noexcept {
  if (first_ == nullptr) {
    return;
  }
  const no_cancellation of_coroutines;  // their executors run in destructors, which can't be unwound
  resuming mine{std::exchange(first_, nullptr), std::exchange(last_, nullptr)};
  if (resuming* const outer = resuming_here; outer != nullptr) {
    (outer->last != nullptr ? outer->last->next : outer->first) = mine.first;
    outer->last = mine.last;
    return;
  }
  resuming_here = &mine;
  while (waiter* const one = mine.first) {
    // Read before resuming: the waiter is gone as soon as its coroutine runs.
    mine.first = one->next;
    if (mine.first == nullptr) {
      mine.last = nullptr;
    }
    one->resume(*one);
  }
  resuming_here = nullptr;
}

}  // namespace cistern::detail
