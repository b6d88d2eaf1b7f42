#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/objects/waiter_queue.hpp>

#include <utility>

namespace cistern::detail {

void waiter_queue::push_back(waiter& one) noexcept {
  one.previous = last_;
  one.next = nullptr;
  one.queue = this;
  (last_ != nullptr ? last_->next : first_) = &one;
  last_ = &one;
  ++size_;
}

void waiter_queue::unlink(waiter& one) noexcept {
  (one.previous != nullptr ? one.previous->next : first_) = one.next;
  (one.next != nullptr ? one.next->previous : last_) = one.previous;
  one.previous = one.next = nullptr;
  one.queue = nullptr;
  --size_;
}

waiter* waiter_queue::first_thread() const noexcept {
  waiter* one = first_;
  while (one != nullptr && one->wake == nullptr) {
    one = one->next;
  }
  return one;
}

waiter* waiter_queue::first_for(std::uint64_t thread) const noexcept {
  waiter* one = first_;
  while (one != nullptr && one->resumer != thread) {
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

}  // namespace cistern::detail
