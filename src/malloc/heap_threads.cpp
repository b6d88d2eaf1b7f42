// Takes the place of thread_registry.cpp in the heap: one pool, which never dies, and no memory of its own,
// since the registry would have to get it from the very heap it serves.
#include "heap_threads.hpp"

#include <cistern/detail/pool/thread_registry.hpp>

#include <climits>
#include <cstdlib>
#include <utility>

#include <pthread.h>

namespace cistern::detail {
namespace {

// Nothing ever changes in here: no head, and a limit that no balance is below.
constinit std::array<cache_slot, cached_class_count> no_slots{};

struct thread_state {
  thread_cache* cache = nullptr;
  bool without_cache = false;  ///< It was given back for good, or is being set up.
  int rounds = 0;              ///< How often the system has called `end_of_thread`.
};
constinit thread_local thread_state state __attribute__((tls_model("initial-exec")));

constinit cache_owner* the_heap = nullptr;
constinit pthread_key_t key{};
constexpr pool_ticket the_ticket{.id = 0, .serial = 1};

// ThreadSanitizer takes its own state of a thread away in the last round: nothing that it watches may run
// then.
#if defined(__SANITIZE_THREAD__)
constexpr int last_round = PTHREAD_DESTRUCTOR_ITERATIONS - 1;
#else
constexpr int last_round = PTHREAD_DESTRUCTOR_ITERATIONS;
#endif

// Destructors of other keys, which run in no order that can be relied on, and C++ objects free memory as
// well: so the cache is given back as late as the system allows. What is freed even later goes to the depot
// directly.
void end_of_thread(void* value) noexcept {
  const cache_pause pause;
  if (++state.rounds < last_round && pthread_setspecific(key, value) == 0) {
    return;
  }
  heap_slots = no_slots.data();
  thread_table_entry(thread_table_offset(the_ticket.id)) = {};
  if (thread_cache* cache = std::exchange(state.cache, nullptr); cache != nullptr) {
    the_heap->retire(*cache);
  }
  state.rounds = -1;
}

// Handlers before a fork run in reverse order of their registration, the others in order: the heap is the
// first to register, so that the others' handlers may allocate.
void before_fork() noexcept {
  the_heap->before_fork();
}
void after_fork() noexcept {
  the_heap->after_fork();
}

}  // namespace

constinit thread_local std::array<cache_reference, thread_table_size> thread_table{};
constinit thread_local cache_slot* heap_slots = no_slots.data();

cache_pause::cache_pause() noexcept : before_(std::exchange(state.without_cache, true)) {}
cache_pause::~cache_pause() {
  state.without_cache = before_;
}

pool_ticket enroll(cache_owner& owner) {
  the_heap = &owner;
  // Without these a program could start no thread, or not fork; it is too early to tell anybody.
  if (pthread_key_create(&key, end_of_thread) != 0 ||
      pthread_atfork(before_fork, after_fork, after_fork) != 0) {
    std::abort();
  }
  return the_ticket;
}

// The heap is never destroyed, nor released.
void withdraw(pool_ticket /*ticket*/) noexcept {
  std::abort();
}
pool_ticket renew(pool_ticket /*ticket*/) noexcept {
  std::abort();
}

bool thread_is_ending() noexcept {
  return state.without_cache || state.rounds < 0;
}

thread_cache* find_cache(pool_ticket /*ticket*/) noexcept {
  return state.cache;
}

bool remember_cache(pool_ticket ticket, thread_cache& cache) noexcept {
  const cache_pause pause;
  if (pthread_setspecific(key, &cache) != 0) {
    return false;
  }
  state.cache = &cache;
  heap_slots = &cache.slot(0);
  thread_table_entry(thread_table_offset(ticket.id)) = {ticket.serial, &cache};
  return true;
}

}  // namespace cistern::detail
