// What clang must refuse: a read of what a lock guards, without it.
#include <cistern/detail/base/mutex.hpp>

class counter {
 public:
  void add() {
    const cistern::detail::scoped_lock lock(lock_);
    ++count_;
  }
  [[nodiscard]] int count() const { return count_; }

 private:
  cistern::detail::mutex lock_;
  int count_ CISTERN_GUARDED_BY(lock_) = 0;
};
