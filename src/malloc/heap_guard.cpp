#include "heap_guard.hpp"

#include <cistern/detail/base/never_destroyed.hpp>

#include <system_error>

namespace cistern::detail {
namespace {

constinit never_destroyed<heap_guard> heaps_guard;

}  // namespace

constinit std::atomic<heap_guard*> heap_guard::in_use_{nullptr};

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

}  // namespace cistern::detail
