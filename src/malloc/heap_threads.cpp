#include "heap_threads.hpp"

#include <cistern/detail/base/thread_directory.hpp>

#include <array>

namespace cistern::detail {
namespace {

// Nothing ever changes in here: no head, and no room.
constinit cache_slots no_slots;

/// To the directory `heap_slots` is a cache of its own. It came after the pool, so it is given back before
/// the pool's.
// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor): final, and never deleted
class slots_owner final : public cache_owner {
 public:
  void retire(void* /*slots*/) noexcept override { heap_slots = unwatched_slots = &no_slots; }
};
constinit slots_owner owner;
constinit cache_ticket ticket;

}  // namespace

constinit thread_local cache_slots* heap_slots = &no_slots;
constinit thread_local cache_slots* unwatched_slots = &no_slots;
constinit thread_local std::int64_t unasked_allocations = 0;

bool has_heap_slots() noexcept {
  return heap_slots != &no_slots;
}

void watch_heap_threads() {
  ticket = enroll(owner);
}

void use_heap_slots(thread_cache& cache, bool is_watched) noexcept {
  if (ticket.thread_takes_caches() && ticket.remember(&cache)) {
    heap_slots = &cache.slots();
    unwatched_slots = is_watched ? &no_slots : heap_slots;
  }
}

}  // namespace cistern::detail
