// section: a stretch of code under an object pool's mutex, and what must happen right after it.
#pragma once

#include <cistern/detail/object_pool_core.hpp>

#include <mutex>

namespace cistern::detail {

class object_pool_core::section {
 public:
  explicit section(object_pool_core& core) noexcept : core_(core) { enter(); }
  section(const section&) = delete;
  section& operator=(const section&) = delete;
  ~section() { leave(); }

  void enter() noexcept {
    lock_ = std::unique_lock(core_.mutex_);
    core_.idle_.shut();
  }

  // Unlocks, resumes the coroutines whose wait is over, and destroys the core if nobody is left to use it.
  void leave() noexcept {
    if (!lock_.owns_lock()) {
      return;
    }
    core_.open_unless_needed();
    const bool last = core_.orphaned_ && core_.total_ == 0 && core_.pins_ == 0;
    lock_.unlock();
    if (last) {
      core_.destroy_self();
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
  object_pool_core& core_;
  std::unique_lock<std::mutex> lock_;
  resume_list ready_;
};

}  // namespace cistern::detail
