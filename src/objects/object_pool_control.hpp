// object_pool_control: a stretch of code under an object pool's mutex, and what must happen right after it.
#pragma once

#include <cistern/detail/objects/object_pool_control.hpp>
#include <cistern/detail/objects/waiter_queue.hpp>

#include <mutex>

namespace cistern::detail {

class object_pool_control::section {
 public:
  explicit section(object_pool_control& pool) noexcept : pool_(pool) { enter(); }
  section(const section&) = delete;
  section& operator=(const section&) = delete;
  ~section() { leave(); }

  void enter() noexcept {
    lock_ = std::unique_lock(pool_.mutex_);
    pool_.locked();
  }

  // Unlocks, destroys the control block if nobody is left to use it, and resumes the coroutines whose wait is
  // over.
  void leave() noexcept {
    if (!lock_.owns_lock()) {
      return;
    }
    pool_.unlocking();
    const bool last = pool_.orphaned_ && pool_.accounts_.total() == 0 && pool_.pins_ == 0;
    lock_.unlock();
    if (last) {
      pool_.destroy_self();
    }
    ready_.resume_all();
  }

  // For code that is about to sleep under the mutex: the coroutines must not wait for it.
  void resume_ready() noexcept {
    if (!ready_.empty()) {
      leave();
      enter();
    }
  }

  [[nodiscard]] std::unique_lock<std::mutex>& lock() noexcept { return lock_; }
  void resume_later(waiter& one) noexcept { ready_.push_back(one); }

 private:
  object_pool_control& pool_;
  std::unique_lock<std::mutex> lock_;
  resume_list ready_;
};

}  // namespace cistern::detail
