#include <cistern/detail/base/mutex.hpp>

namespace cistern::detail {
namespace {

/// A few times as long as a magazine exchange takes: longer waits are for a holder that isn't running.
constexpr int spins = 100;

void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

void mutex::lock_slow() noexcept {
  for (int i = 0; i < spins; ++i) {
    if (state_.load(std::memory_order_relaxed) == free && take()) {
      return;
    }
    pause();
  }
  // From here on this thread may sleep, so whoever unlocks must wake one; also after we got the lock, since
  // others may still sleep. Acquire as in `take`.
  while (state_.exchange(held_with_sleepers, std::memory_order_acquire) != free) {
    state_.wait(held_with_sleepers, std::memory_order_relaxed);
  }
}

}  // namespace cistern::detail
