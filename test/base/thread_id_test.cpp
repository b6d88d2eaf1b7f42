// The number of a thread is the system's: its own in each thread, and a new one in the child of a fork.
#include <cistern/detail/base/thread_id.hpp>

#include <cstdint>
#include <set>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"
#include "../support/threads.hpp"
#include <sys/syscall.h>
#include <unistd.h>

using cistern::detail::thread_id;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

std::uint64_t asked_of_the_system() {
  return static_cast<std::uint64_t>(::syscall(SYS_gettid));
}

}  // namespace

BOOST_AUTO_TEST_CASE(it_is_the_number_of_the_calling_thread) {
  BOOST_TEST(thread_id() == asked_of_the_system());
  BOOST_TEST(thread_id() == thread_id());
  const std::uint64_t own = thread_id();
  run_threads(4, [&](std::size_t) {
    for (int i = 0; i < 2; ++i) require(thread_id() == asked_of_the_system(), "another thread's number");
    require(thread_id() != own, "the first thread's number");
  });
  BOOST_TEST(thread_id() == own);
}

BOOST_AUTO_TEST_CASE(the_child_of_a_fork_has_its_own) {
  BOOST_TEST(thread_id() == asked_of_the_system());  // known from now on
  const death end = run_and_die([] {
    if (thread_id() != asked_of_the_system()) ::_exit(17);
    ::_exit(thread_id() == asked_of_the_system() ? 0 : 18);
  });
  BOOST_TEST(end.description == "exited with 0");
  BOOST_TEST(thread_id() == asked_of_the_system());
}
