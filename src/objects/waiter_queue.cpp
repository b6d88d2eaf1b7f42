#include <cistern/detail/objects/waiter_queue.hpp>

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

struct resuming {
  waiter* first = nullptr;
  waiter* last = nullptr;
  bool active = false;
};
thread_local constinit resuming resuming_here;

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
  resuming& here = resuming_here;
  (here.last != nullptr ? here.last->next : here.first) = first_;
  here.last = last_;
  first_ = last_ = nullptr;
  if (here.active) {
    return;
  }
  here.active = true;
  while (waiter* const one = here.first) {
    // Read before resuming: the waiter is gone as soon as its coroutine runs.
    here.first = one->next;
    if (here.first == nullptr) {
      here.last = nullptr;
    }
    one->resume(*one);
  }
  here.active = false;
}

}  // namespace cistern::detail
