// Walks of stacks: by rules that are read once, they are those of the unwinder of exceptions.
#include "../../src/record/stack_walk.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/sanitizers.hpp"

using namespace cistern::detail;  // NOLINT(google-build-using-namespace)

namespace {

stack_walker& walker() {
  static stack_walker one;
  static const bool begun = one.begin();
  if (!begun) std::abort();
  return one;
}

/// Both ways from the caller of this function.
struct walks {
  std::vector<std::uintptr_t> quick;
  std::vector<std::uintptr_t> slow;
};

[[gnu::noinline]] walks walks_from_here(std::size_t depth = 64) {
  const walk_start start{.frame = __builtin_frame_address(0), .caller = __builtin_return_address(0)};
  walks made{std::vector<std::uintptr_t>(depth), std::vector<std::uintptr_t>(depth)};
  made.quick.resize(walker().walk(start, made.quick));
  made.slow.resize(walk_slowly(start, made.slow));
  return made;
}

void check(const walks& made, std::size_t least_depth) {
  BOOST_TEST(made.quick == made.slow, boost::test_tools::per_element());
  BOOST_TEST(made.quick.size() >= least_depth);
}

/// So that frames stay, and no two calls become one.
void keep(const volatile void* what) {
  __asm__ volatile("" : : "g"(what) : "memory");
}

walks recursive(int depth);
walks (*volatile recur)(int) = recursive;  // Not to be seen through.

walks recursive(int depth) {
  volatile int here = depth;
  walks made = depth == 0 ? walks_from_here() : recur(depth - 1);
  keep(&here);
  return made;
}

/// Has a frame pointer, whatever the options are.
[[gnu::noinline]] walks with_alloca(std::size_t bytes) {
  char* const room = static_cast<char*>(__builtin_alloca(bytes));
  room[0] = 1;
  keep(room);
  walks made = walks_from_here();
  keep(room);
  return made;
}

[[gnu::noinline]] walks with_a_large_frame() {
  std::array<volatile char, 100'000> room;
  room[0] = 1;
  keep(room.data());
  walks made = with_alloca(10'000);
  keep(room.data());
  return made;
}

walks from_a_callback;

[[gnu::noinline]] walks through_the_c_library() {
  int numbers[] = {2, 1};
  std::qsort(numbers, 2, sizeof numbers[0], [](const void* a, const void* b) {
    from_a_callback = walks_from_here();
    return *static_cast<const int*>(a) - *static_cast<const int*>(b);
  });
  return from_a_callback;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_walk_is_that_of_the_unwinder) {
  for (int i = 0; i < 2; ++i) {  // by rules that are found, and that are known
    check(walks_from_here(), 3);
    check(recur(20), 23);
    check(with_alloca(1), 3);
    check(with_alloca(5000), 3);
    check(with_a_large_frame(), 4);
    check(through_the_c_library(), 4);
    if (i == 0) walker().forget();
  }
}

BOOST_AUTO_TEST_CASE(a_walk_ends_where_there_is_no_room) {
  const walks whole = recur(5);
  for (std::size_t depth = 0; depth < 5; ++depth) {
    const walks made = walks_from_here(depth);
    check(made, depth);
    BOOST_TEST(made.quick.size() == depth);
  }
}

BOOST_AUTO_TEST_CASE(places_are_calls) {
  // The same function calls itself from one place, so all but the ends are the same.
  const walks made = recur(10);
  BOOST_REQUIRE(made.quick.size() > 10U);
  BOOST_TEST(std::all_of(made.quick.begin() + 2, made.quick.begin() + 10,
                         [&](std::uintptr_t place) { return place == made.quick[1]; }));
}

BOOST_AUTO_TEST_CASE(threads_have_stacks_of_their_own) {
  std::vector<walks> made(4);
  std::vector<std::thread> threads;
  threads.reserve(made.size());
  for (walks& each : made) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) each = recur(i);
    });
  }
  for (std::thread& each : threads) each.join();
  for (const walks& each : made) check(each, 20);
}

#if defined(__x86_64__)
BOOST_AUTO_TEST_CASE(compilers_write_what_is_understood) {
  walks made = with_a_large_frame();
  const walks others = through_the_c_library();
  made.slow.insert(made.slow.end(), others.slow.begin(), others.slow.end());
  for (const std::uintptr_t place : made.slow) {
    BOOST_TEST((find_caller_rule(place + 1).how != caller_rule::kind::other));
  }
}
#endif

BOOST_AUTO_TEST_CASE(a_walk_goes_through_a_signal) {
  if (cistern::test_support::sanitized) return;  // Handlers are called by theirs, at a time of theirs.
  const auto before = std::signal(SIGUSR1, [](int) { from_a_callback = walks_from_here(); });
  std::raise(SIGUSR1);
  std::signal(SIGUSR1, before);
  const walks outside = walks_from_here();
  check(from_a_callback, outside.quick.size() + 1);
}
