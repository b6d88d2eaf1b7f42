#include "heap_guard.hpp"

#include <cistern/detail/base/never_destroyed.hpp>

#include <algorithm>
#include <chrono>
#include <system_error>

#include "../base/split_mix.hpp"

namespace cistern::detail {
namespace {

constinit never_destroyed<heap_guard> heaps_guard;

std::uint64_t another_in_each_process() noexcept {
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

}  // namespace

constinit std::atomic<heap_guard*> heap_guard::in_use_{nullptr};

heap_guard::heap_guard(std::size_t one_in)
    : one_in_(static_cast<std::int64_t>(std::min(one_in, rarest))),
      random_state_(another_in_each_process()),
      blocks_(most_blocks) {}

void heap_guard::start(std::size_t one_in) noexcept {
  if (one_in == 0) {
    return;
  }
  try {
    heaps_guard.make(one_in);
  } catch (const std::system_error&) {
    return;  // forks can't be watched
  }
  if (heaps_guard->blocks().statistics().slots != 0) {
    in_use_.store(&*heaps_guard, std::memory_order_release);
  }
}

// A thread begins anywhere between two picks, so that short threads have their share.
bool heap_guard::picks(std::int64_t& left) noexcept {
  if (left < 0) {
    left = random_up_to(one_in_) - 1;
  }
  const bool is_picked = left == 0;
  if (is_picked) {
    left = random_up_to(2 * one_in_ - 1);
  }
  return is_picked;
}

/// From 1.
std::int64_t heap_guard::random_up_to(std::int64_t most) noexcept {
  const std::uint64_t state = random_state_.fetch_add(split_mix_step, std::memory_order_relaxed);
  return static_cast<std::int64_t>(split_mixed(state) % static_cast<std::uint64_t>(most)) + 1;
}

}  // namespace cistern::detail
