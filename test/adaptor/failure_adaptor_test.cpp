// failure_adaptor: the callback makes room and is asked again for as long as it says so.
#include <cistern/adaptor/failure_adaptor.hpp>
#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <atomic>
#include <cstddef>
#include <exception>
#include <memory>
#include <memory_resource>
#include <new>
#include <stdexcept>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/conformance.hpp"
#include "../support/death.hpp"
#include "../support/mortal.hpp"
#include "../support/threads.hpp"
#include "../support/throwing_resource.hpp"
#include <pthread.h>

using cistern::failure_adaptor;
using cistern::test_support::throwing_resource;
using cistern::test_support::unusual_error;
using cistern::testing::checking_resource;
using cistern::testing::failing_resource;

namespace {

struct subject : cistern::testing::conformance_subject {
  static constexpr bool thread_safe = true;
  static auto make(std::pmr::memory_resource* upstream) {
    return std::make_unique<failure_adaptor>([](std::size_t, std::size_t) { return false; }, upstream);
  }
};

// Tries every request three times.
struct patient_subject : subject {
  static auto make(std::pmr::memory_resource* upstream) {
    return std::make_unique<failure_adaptor>([tries = std::make_shared<std::atomic<int>>(0)](
                                                 std::size_t, std::size_t) { return ++*tries % 3 != 0; },
                                             upstream);
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(conforms) {
  cistern::test_support::require_conformance<subject>();
}
BOOST_AUTO_TEST_CASE(conforms_with_retries) {
  cistern::test_support::require_conformance<patient_subject>();
}

BOOST_AUTO_TEST_CASE(callback_frees_something_and_the_request_is_granted) {
  checking_resource memory;
  cistern::limit_adaptor limited(1000, &memory);
  std::vector<void*> cache;
  std::size_t asked_bytes = 0;
  std::size_t asked_alignment = 0;
  failure_adaptor rescued(
      [&](std::size_t bytes, std::size_t alignment) {
        asked_bytes = bytes;
        asked_alignment = alignment;
        if (cache.empty()) return false;
        limited.deallocate(cache.back(), 300);
        cache.pop_back();
        return true;
      },
      &limited);
  for (int i = 0; i < 3; ++i) cache.push_back(rescued.allocate(300));
  void* const block = rescued.allocate(600, 32);  // Two of the three have to go.
  BOOST_TEST(cache.size() == 1u);
  BOOST_TEST(asked_bytes == 600u);
  BOOST_TEST(asked_alignment == 32u);
  BOOST_TEST(rescued.failures() == 2u);
  BOOST_TEST(rescued.retries() == 2u);
  BOOST_TEST(rescued.rescued() == 1u);
  BOOST_CHECK_THROW((void)rescued.allocate(2000), std::bad_alloc);
  BOOST_TEST(cache.empty());
  BOOST_TEST(rescued.failures() == 4u);
  BOOST_TEST(rescued.retries() == 3u);
  BOOST_TEST(rescued.rescued() == 1u);
  rescued.deallocate(block, 600, 32);
}

BOOST_AUTO_TEST_CASE(callback_is_not_called_without_need) {
  int calls = 0;
  failure_adaptor adaptor([&](std::size_t, std::size_t) { return ++calls < 0; });
  BOOST_TEST(adaptor.upstream_resource() == std::pmr::new_delete_resource());
  adaptor.deallocate(adaptor.allocate(100), 100);
  BOOST_TEST(calls == 0);
}

BOOST_AUTO_TEST_CASE(the_callback_bounds_the_tries) {
  failing_resource upstream;
  upstream.fail_from_nth(1);
  int left = 10;
  failure_adaptor adaptor([&](std::size_t, std::size_t) { return --left > 0; }, &upstream);
  BOOST_CHECK_THROW((void)adaptor.allocate(1), std::bad_alloc);
  BOOST_TEST(left == 0);
  BOOST_TEST(upstream.attempts() == 10u);
}

BOOST_AUTO_TEST_CASE(the_last_exception_of_upstream_is_passed_on_and_seen_by_the_callback) {
  cistern::limit_adaptor limited(10);
  bool seen = false;
  failure_adaptor adaptor(
      [&](std::size_t, std::size_t) {
        try {
          std::rethrow_exception(std::current_exception());
        } catch (const std::bad_alloc& error) {
          seen = std::string(error.what()).find("limit_adaptor") != std::string::npos;
        }
        return false;
      },
      &limited);
  try {
    (void)adaptor.allocate(11);
    BOOST_ERROR("granted");
  } catch (const std::bad_alloc& error) {
    BOOST_TEST(std::string(error.what()).find("limit 10") != std::string::npos);
  }
  BOOST_TEST(seen);
}

BOOST_AUTO_TEST_CASE(what_the_callback_throws_is_passed_on) {
  failing_resource upstream;
  failure_adaptor adaptor([](std::size_t, std::size_t) -> bool { throw std::runtime_error("no more"); },
                          &upstream);
  for (int i = 0; i < 2; ++i) {  // The second time it must be called again.
    upstream.fail_nth(1);
    BOOST_CHECK_THROW((void)adaptor.allocate(1), std::runtime_error);
  }
  adaptor.deallocate(adaptor.allocate(1), 1);
}

BOOST_AUTO_TEST_CASE(other_exceptions_pass_through) {
  throwing_resource upstream;
  int calls = 0;
  failure_adaptor adaptor([&](std::size_t, std::size_t) { return ++calls < 5; }, &upstream);
  BOOST_CHECK_THROW((void)adaptor.allocate(1), unusual_error);
  BOOST_TEST(calls == 0);
}

BOOST_AUTO_TEST_CASE(a_failure_inside_the_callback_does_not_call_it_again) {
  failing_resource upstream;
  upstream.fail_from_nth(1);
  failure_adaptor* self = nullptr;
  int calls = 0;
  int inner_failures = 0;
  failure_adaptor adaptor(
      [&](std::size_t, std::size_t) {
        ++calls;
        try {
          (void)self->allocate(1);
        } catch (const std::bad_alloc&) {
          ++inner_failures;
        }
        return calls < 3;
      },
      &upstream);
  self = &adaptor;
  BOOST_CHECK_THROW((void)adaptor.allocate(1), std::bad_alloc);
  BOOST_TEST(calls == 3);
  BOOST_TEST(inner_failures == 3);
  BOOST_TEST(adaptor.failures() == 6u);
}

BOOST_AUTO_TEST_CASE(the_callback_of_one_adaptor_may_need_that_of_another) {
  failing_resource upstream;
  int inner_calls = 0;
  failure_adaptor inner([&](std::size_t, std::size_t) { return ++inner_calls < 2; }, &upstream);
  bool granted = false;
  failure_adaptor outer(
      [&](std::size_t, std::size_t) {
        upstream.fail_nth(1);
        inner.deallocate(inner.allocate(1), 1);
        granted = true;
        return true;
      },
      &upstream);
  upstream.fail_nth(1);
  outer.deallocate(outer.allocate(1), 1);
  BOOST_TEST(granted);
  BOOST_TEST(inner.rescued() == 1u);
  BOOST_TEST(outer.rescued() == 1u);
}

BOOST_AUTO_TEST_CASE(each_thread_asks_for_itself) {
  checking_resource memory;
  cistern::limit_adaptor limited(1000, &memory);
  std::atomic<std::uint64_t> calls{0};
  failure_adaptor adaptor(
      [&](std::size_t, std::size_t) {
        ++calls;
        return true;  // Another thread is about to free its block.
      },
      &limited);
  cistern::test_support::run_threads(4, [&](std::size_t) {
    for (int i = 0; i < 2'000; ++i) adaptor.deallocate(adaptor.allocate(400), 400);
  });
  BOOST_TEST(adaptor.retries() == calls);
  BOOST_TEST(adaptor.failures() == calls);
  BOOST_TEST(limited.held_bytes() == 0u);
}

BOOST_AUTO_TEST_CASE(an_empty_callback_is_refused) {
  if constexpr (cistern::detail::checked_build) {
    BOOST_TEST(
        cistern::test_support::dies_saying("needs a callback", [] { failure_adaptor adaptor(nullptr); }));
  }
}

// Over a pool, whose refusal is in flight meanwhile.
BOOST_AUTO_TEST_CASE(a_callback_may_end_its_thread) {
  for (const bool by_exit : {false, true}) {
    cistern::synchronized_pool_resource pool({.max_bytes = 100'000});
    std::atomic<bool> ends{true};
    failure_adaptor making_room(
        [&](std::size_t, std::size_t) {
          if (ends && by_exit) ::pthread_exit(nullptr);
          if (ends) cistern::test_support::cancel_this_thread();
          return false;
        },
        &pool);
    bool went_on = false;
    BOOST_TEST(cistern::test_support::is_cancelled_in([&] {
                 (void)making_room.allocate(1'000'000);
                 went_on = true;
               }) == !by_exit);
    BOOST_TEST(!went_on);
    ends = false;
    BOOST_TEST(making_room.failures() == 1U);
    BOOST_CHECK_THROW((void)making_room.allocate(1'000'000), std::bad_alloc);
    making_room.deallocate(making_room.allocate(100), 100);
    pool.check_invariants();
  }
}
