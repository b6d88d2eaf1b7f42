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

waiter* waiter_queue::endless_wait_of(std::uint64_t thread) const noexcept {
  waiter* one = first_;
  while (one != nullptr && !(one->thread == thread && one->endless)) {
    one = one->next;
  }
  return one;
}

}  // namespace cistern::detail
