#include "scheduler.hpp"

#undef atomic  // here it is the standard's

#include <array>
#include <atomic>
#include <climits>
#include <cstddef>
#include <cstdlib>
#include <random>
#include <thread>

#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

namespace cistern::test_support {
namespace {

constexpr std::size_t most_threads = 8;
/// Of one run; then threads only change where they must. A change takes as long as thousands of points.
constexpr std::uint64_t most_switches = 1000;

struct member {
  member() { (void)::sem_init(&turn, 0, 0); }
  ::sem_t turn{};  // doesn't spin, which takes time from who has the turn
  std::atomic<bool> alive{false};
  int rounds = 0;  ///< Of the destructors of thread-specific data.
};

// Written by who has the turn, but for `turn` itself.
std::array<member, most_threads> members;
std::minstd_rand generator;
unsigned keep_going = 1;  // one point in so many changes threads
bool spurious = false;
std::uint64_t switch_count = 0;
std::uint64_t last_free_switch = 0;
::pid_t process = 0;

thread_local constinit member* mine = nullptr;

bool is_scheduled() noexcept {
  return mine != nullptr && process == ::getpid();
}

void wait_for_turn() noexcept {
  while (::sem_wait(&mine->turn) != 0) {
  }
}

// Hands the turn to another thread, if there is one.
bool hand_over() noexcept {
  std::size_t others = 0;
  for (const member& each : members) others += each.alive.load() && &each != mine ? 1 : 0;
  if (others == 0) return false;
  std::size_t chosen = generator() % others;
  for (member& each : members) {
    if (each.alive.load() && &each != mine && chosen-- == 0) {
      ++switch_count;
      (void)::sem_post(&each.turn);
      return true;
    }
  }
  return false;
}

void leave(void* value);

pthread_key_t end_of_thread() {
  static const pthread_key_t key = [] {
    pthread_key_t made{};
    if (::pthread_key_create(&made, leave) != 0) std::abort();
    return made;
  }();
  return key;
}

// The last that a thread does: of each round of destructors the library's comes first, as its key is older.
void leave(void* value) {
  if (++mine->rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
    ::pthread_setspecific(end_of_thread(), value);
    return;
  }
  mine->alive.store(false);
  (void)hand_over();
  mine = nullptr;
}

}  // namespace

bool schedule_others() noexcept {
  const bool has_others = is_scheduled() && hand_over();
  if (has_others) wait_for_turn();
  return has_others;
}

void schedule_point() noexcept {
  if (is_scheduled() && switch_count < last_free_switch && generator() % keep_going == 0)
    (void)schedule_others();
}

bool schedule_chance(unsigned one_in) noexcept {
  return !is_scheduled() || generator() % one_in == 0;
}

bool waits_may_be_spurious() noexcept {
  return spurious;
}

void run_scheduled(std::uint64_t seed, const std::vector<std::function<void()>>& bodies) {
  if (bodies.empty() || bodies.size() > most_threads) std::abort();
  std::seed_seq mixed{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
  generator.seed(mixed);
  keep_going = 4U << generator() % 7;
  spurious = generator() % 4 == 0;
  last_free_switch = switch_count + most_switches;
  process = ::getpid();
  (void)end_of_thread();
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    members[i].alive.store(true);
    members[i].rounds = 0;
  }
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    threads.emplace_back([&bodies, i] {
      mine = &members[i];
      ::pthread_setspecific(end_of_thread(), mine);
      wait_for_turn();
      bodies[i]();
    });
  }
  member& first = members[generator() % bodies.size()];
  (void)::sem_post(&first.turn);
  for (std::thread& each : threads) each.join();
}

std::uint64_t switches() noexcept {
  return switch_count;
}

}  // namespace cistern::test_support
