// process_pool: one pool from before the first constructor to after the last destructor, on every thread.
#include <cistern/page_resource.hpp>
#include <cistern/process_pool.hpp>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <map>
#include <memory_resource>
#include <string>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"
#include "../support/threads.hpp"
#include <sys/wait.h>
#include <unistd.h>

using cistern::process_pool;
using cistern::test_support::run_thread;
using cistern::test_support::run_threads;

namespace {

using numbers = std::pmr::list<int>;

void demand(bool condition, const char* what) {
  if (!condition) {
    std::fprintf(stderr, "%s\n", what);
    std::_Exit(1);  // at exit nobody else reports
  }
}

// Made before main, filled and emptied in turn, and destroyed after it.
class early_and_late {
 public:
  explicit early_and_late(const char* when) : when_(when), numbers_(process_pool()) {
    for (int i = 0; i < 1000; ++i) numbers_.push_back(i);
  }
  ~early_and_late() {
    demand(numbers_.size() == 1000 && numbers_.back() == 999, when_);
    numbers_.clear();
    for (int i = 0; i < 1000; ++i) numbers_.push_back(i);
    // A container that lives beyond this destructor's end, on the pool that lives for ever.
    const numbers last(numbers_, process_pool());
    demand(last.size() == 1000, when_);
  }
  early_and_late(const early_and_late&) = delete;
  early_and_late& operator=(const early_and_late&) = delete;
  [[nodiscard]] std::size_t size() const { return numbers_.size(); }

 private:
  const char* when_;
  numbers numbers_;
};

early_and_late global("a static object found its list damaged");
thread_local early_and_late per_thread("a thread_local object found its list damaged");

// Runs before the constructors of ordinary static objects.
bool constructor_ran = false;
[[gnu::constructor(101)]] void before_everything() {
  const numbers early({1, 2, 3}, process_pool());
  constructor_ran = early.size() == 3;
}

// And after their destructors.
[[gnu::destructor(101)]] void after_everything() {
  const numbers late({1, 2, 3}, process_pool());
  demand(late.size() == 3, "a late destructor could not use the pool");
}

}  // namespace

BOOST_AUTO_TEST_CASE(it_serves_before_main) {
  BOOST_TEST(constructor_ran);
  BOOST_TEST(global.size() == 1000U);
}

BOOST_AUTO_TEST_CASE(there_is_one) {
  std::array<cistern::synchronized_pool_resource*, 4> seen{};
  run_threads(4, [&](std::size_t i) { seen[i] = process_pool(); });
  for (const auto* pool : seen) BOOST_TEST(pool == process_pool());
}

BOOST_AUTO_TEST_CASE(it_stands_on_pages_with_default_options) {
  const auto options = process_pool()->options();
  BOOST_TEST((options == cistern::synchronized_pool_resource(nullptr).options()));
  const bool tools_look = options.pass_through || cistern::detail::asan_build;
  if (tools_look) {
    BOOST_TEST((process_pool()->upstream_resource() == std::pmr::new_delete_resource()));
  } else {
    BOOST_TEST((process_pool()->upstream_resource() == cistern::pages()));
  }
}

BOOST_AUTO_TEST_CASE(it_serves_thread_local_objects) {
  run_threads(4, [](std::size_t) {
    cistern::test_support::require(per_thread.size() == 1000, "a thread_local list has the wrong size");
  });
  // Made first on this thread by an object that is destroyed later than the cache of the pool.
  run_thread([] {
    thread_local early_and_late another("an early thread_local object found its list damaged");
    cistern::test_support::require(another.size() == 1000, "a thread_local list has the wrong size");
  });
}

BOOST_AUTO_TEST_CASE(it_can_be_the_default_resource) {
  std::pmr::memory_resource* const before = std::pmr::set_default_resource(process_pool());
  const std::size_t in_use_bytes = process_pool()->statistics().in_use_bytes;
  {
    std::pmr::map<int, std::pmr::string> names;
    for (int i = 0; i < 1000; ++i) names[i] = "a name that is too long to be stored in place";
    const auto copy = names;
    run_thread([&] { names.clear(); });
    BOOST_TEST((copy.get_allocator().resource() == process_pool()));
    BOOST_TEST(process_pool()->statistics().in_use_bytes > in_use_bytes + 40'000);
    // A pool made now gets its memory from the process's pool.
    cistern::synchronized_pool_resource nested;
    std::pmr::vector<int> vector(1000, 1, &nested);
    BOOST_TEST((nested.upstream_resource() == process_pool()));
  }
  BOOST_TEST(process_pool()->statistics().in_use_bytes == in_use_bytes);
  std::pmr::set_default_resource(before);
}

BOOST_AUTO_TEST_CASE(it_serves_the_child_of_a_fork) {
  const numbers made_before({1, 2, 3}, process_pool());
  const pid_t child = ::fork();
  BOOST_REQUIRE(child >= 0);
  if (child == 0) {
    numbers in_child(made_before, process_pool());
    for (int i = 0; i < 1000; ++i) in_child.push_back(i);
    ::_exit(in_child.size() == 1003 ? 0 : 1);
  }
  int status = 0;
  BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
  BOOST_TEST((WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

BOOST_AUTO_TEST_CASE(its_accounts_balance) {
  run_threads(2, [](std::size_t) { const numbers more(1000, 1, process_pool()); });
  const auto statistics = process_pool()->statistics();
  BOOST_TEST(statistics.in_use_bytes + statistics.idle_bytes + statistics.overhead_bytes ==
             statistics.upstream_bytes);
  process_pool()->check_invariants();
}
