// object_pool_control: a stretch of code under an object pool's mutex, and what must happen right after it.
#pragma once

#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/base/thread_annotations.hpp>
#include <cistern/detail/objects/object_pool_control.hpp>

namespace cistern::detail {

class CISTERN_SCOPED_CAPABILITY object_pool_control::section {
 public:
  explicit section(object_pool_control& pool) noexcept CISTERN_ACQUIRE(pool.mutex_) : pool_(pool) { lock(); }
  section(const section&) = delete;
  section& operator=(const section&) = delete;
  ~section() CISTERN_RELEASE() { leave(); }

  void enter() noexcept CISTERN_ACQUIRE() { lock(); }
  // Unlocks, destroys the control block if nobody is left to use it, and resumes the coroutines whose wait is
  // over. Does nothing outside.
  void leave() noexcept CISTERN_RELEASE() {
    if (inside_) {
      unlock();
    }
  }
  // Once more under the mutex, to the end of a block. Not analysed: a section that another function made is
  // no capability to clang.
  class inside {
   public:
    explicit inside(section& in) noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS : in_(in) { in.enter(); }
    inside(const inside&) = delete;
    inside& operator=(const inside&) = delete;
    ~inside() CISTERN_NO_THREAD_SAFETY_ANALYSIS { in_.leave(); }

   private:
    section& in_;
  };

 private:
  void lock() noexcept CISTERN_ACQUIRE(pool_.mutex_) {
    pool_.mutex_.lock();
    inside_ = true;
    pool_.locked();
  }
  void unlock() noexcept CISTERN_RELEASE(pool_.mutex_) {
    const bool more = pool_.unlocking();
    const bool last = pool_.orphaned_ && pool_.accounts_.total() == 0 && pool_.pins_ == 0;
    inside_ = false;
    pool_.mutex_.unlock();
    if (more) {
      pool_.unlocked();
    } else if (last) {
      const no_cancellation of_the_resource;
      pool_.destroy_self();
    }
  }

  object_pool_control& pool_;
  bool inside_ = false;
};

}  // namespace cistern::detail
