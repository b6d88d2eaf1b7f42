#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/objects/idle_stack.hpp>
#include <cistern/detail/objects/object_cache.hpp>

#include <thread>

#if defined(__linux__)
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace cistern::detail {

#if defined(__linux__) && defined(SYS_membarrier)
namespace {
bool register_for_fences() noexcept {
  return ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}
}  // namespace

bool asymmetric_fences() noexcept {
  static const bool available = register_for_fences() && fence_all_threads();
  return available;
}

bool fence_all_threads() noexcept {
  const auto fence = [] { return ::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0; };
  // A forked child may have to register again.
  return fence() || (register_for_fences() && fence());
}
#else
bool asymmetric_fences() noexcept {
  return false;
}
bool fence_all_threads() noexcept {
  return false;
}
#endif

// Lets the owner know, and makes sure that it either sees that or is seen busy.
bool object_cache::announce_claim(bool asymmetric) noexcept {
  claimed_.exchange(1, std::memory_order_seq_cst);
  return !asymmetric || fence_all_threads();
}

bool object_cache::try_claim(bool asymmetric) noexcept {
  constexpr int looks = 64;
  bool mine = announce_claim(asymmetric);
  if (mine) {
    // Acquire (at least): see leave().
    for (int i = 0; (mine = busy_.load(std::memory_order_seq_cst) == 0, !mine) && i < looks; ++i) {
      pause_briefly();
    }
  }
  if (!mine) {
    unclaim();
    return false;
  }
  tsan_acquire(&busy_);
  return true;
}

void object_cache::claim(bool asymmetric) noexcept {
  const no_cancellation of_the_sleep;
  while (!try_claim(asymmetric)) {
    // The owner was interrupted between two instructions of a very short stretch: let it run.
    std::this_thread::sleep_for(std::chrono::microseconds{50});
  }
}

}  // namespace cistern::detail
