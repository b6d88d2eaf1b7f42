// Adaptors over adaptors over pools: stacks conform in whatever order, and each of a stack goes on doing its
// own part.
#include <cistern/adaptor/failure_adaptor.hpp>
#include <cistern/adaptor/fallback_adaptor.hpp>
#include <cistern/adaptor/guarding_adaptor.hpp>
#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/adaptor/recording_adaptor.hpp>
#include <cistern/adaptor/sampling_guard_adaptor.hpp>
#include <cistern/adaptor/statistics_adaptor.hpp>
#include <cistern/adaptor/trace_replay.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <new>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/cancelling_resource.hpp"
#include "../support/conformance.hpp"
#include "../support/sanitizers.hpp"
#include "../support/threads.hpp"
#include "../support/trace_support.hpp"

using cistern::testing::checking_resource;
using namespace cistern::test_support;

namespace {

enum class kind { limit, statistics, recording, fallback, failure, guarding, sampling, none };
using order = std::array<kind, static_cast<std::size_t>(kind::none)>;

/// An order that leaves a kind out doesn't compile: the array would have the first one twice.
template <class... Kinds>
consteval order each_once(Kinds... kinds) {
  order all{kinds...};
  order sorted = all;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) throw "a kind twice, another one not";
  return all;
}

constexpr std::size_t large_bytes = std::size_t{512} << 20;

std::unique_ptr<std::pmr::memory_resource> adaptor_over(kind which, std::pmr::memory_resource* upstream) {
  switch (which) {
    case kind::limit:
      return std::make_unique<cistern::limit_adaptor>(large_bytes, upstream);
    case kind::statistics:
      return std::make_unique<cistern::statistics_adaptor>(upstream);
    case kind::recording:
      return std::make_unique<cistern::recording_adaptor>([](std::span<const std::byte>) {}, upstream);
    case kind::fallback:
      return std::make_unique<cistern::fallback_adaptor>(upstream, std::pmr::null_memory_resource());
    case kind::failure:
      return std::make_unique<cistern::failure_adaptor>([](std::size_t, std::size_t) { return false; },
                                                        upstream);
    case kind::guarding:
      return std::make_unique<cistern::guarding_adaptor>(upstream);
    case kind::sampling:
      return std::make_unique<cistern::sampling_guard_adaptor>(
          cistern::sampling_guard_options{.one_in = 5, .slots = 32}, upstream);
    case kind::none:
      break;
  }
  return nullptr;
}

/// All of them in some order, the first at the bottom, over a pool (or without one).
template <class Pool>
class stack final : public std::pmr::memory_resource {
 public:
  stack(const order& from_the_bottom, std::pmr::memory_resource* upstream) {
    if constexpr (!std::is_void_v<Pool>) add(std::make_unique<Pool>(upstream));
    if (!parts_.empty()) upstream = parts_.back().get();
    for (const kind each : from_the_bottom) {
      add(adaptor_over(each, upstream));
      upstream = parts_.back().get();
    }
  }
  ~stack() override {
    while (!parts_.empty()) parts_.pop_back();  // From the top: a vector doesn't promise an order.
  }

 private:
  void add(std::unique_ptr<std::pmr::memory_resource> part) { parts_.push_back(std::move(part)); }
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    return parts_.back()->allocate(bytes, alignment);
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    parts_.back()->deallocate(block, bytes, alignment);
  }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }

  std::vector<std::unique_ptr<std::pmr::memory_resource>> parts_;
};

/// Has no memory, and counts who asks for what no object can have.
class nothing_left final : public std::pmr::memory_resource {
 public:
  int impossible_requests = 0;

 private:
  void* do_allocate(std::size_t bytes, std::size_t /*alignment*/) override {
    impossible_requests += bytes > PTRDIFF_MAX ? 1 : 0;
    throw std::bad_alloc();
  }
  void do_deallocate(void* /*block*/, std::size_t /*bytes*/, std::size_t /*alignment*/) override {}
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }
};

order order_in_use{};

template <class Pool>
struct subject : cistern::testing::conformance_subject {
  static constexpr bool thread_safe = !std::is_same_v<Pool, cistern::unsynchronized_pool_resource>;
  static auto make(std::pmr::memory_resource* upstream) {
    return std::make_unique<stack<Pool>>(order_in_use, asked_once(upstream));
  }
};

// The suite takes long, so each adaptor stands in three of the seven places here, and in one over each pool.
template <class Pool>
void stacks_conform(order from_the_bottom, int rotations) {
  for (int i = 0; i < rotations; ++i) {
    order_in_use = from_the_bottom;
    BOOST_TEST_CONTEXT("rotation " << i) {
      require_conformance<subject<Pool>>();
    }
    std::rotate(from_the_bottom.begin(), from_the_bottom.begin() + 2, from_the_bottom.end());
  }
}

template <class Adaptor>
constexpr bool stays_where_it_is =
    !std::is_copy_constructible_v<Adaptor> && !std::is_copy_assignable_v<Adaptor> &&
    !std::is_move_constructible_v<Adaptor> && !std::is_move_assignable_v<Adaptor> &&
    std::is_base_of_v<std::pmr::memory_resource, Adaptor>;

static_assert(stays_where_it_is<cistern::limit_adaptor>);
static_assert(stays_where_it_is<cistern::statistics_adaptor>);
static_assert(stays_where_it_is<cistern::recording_adaptor>);
static_assert(stays_where_it_is<cistern::fallback_adaptor>);
static_assert(stays_where_it_is<cistern::failure_adaptor>);
static_assert(stays_where_it_is<cistern::guarding_adaptor>);
static_assert(stays_where_it_is<cistern::sampling_guard_adaptor>);

}  // namespace

BOOST_AUTO_TEST_CASE(over_new_and_delete) {
  // The others differ in nothing that ThreadSanitizer looks at.
  constexpr int rotations = cistern::test_support::thread_sanitizer ? 1 : 3;
  stacks_conform<void>(each_once(kind::limit, kind::statistics, kind::recording, kind::fallback,
                                 kind::failure, kind::guarding, kind::sampling),
                       rotations);
}
BOOST_AUTO_TEST_CASE(over_the_unsynchronized_pool) {
  stacks_conform<cistern::unsynchronized_pool_resource>(
      each_once(kind::guarding, kind::limit, kind::failure, kind::fallback, kind::statistics, kind::sampling,
                kind::recording),
      1);
}
BOOST_AUTO_TEST_CASE(over_the_synchronized_pool) {
  stacks_conform<cistern::synchronized_pool_resource>(
      each_once(kind::recording, kind::statistics, kind::guarding, kind::failure, kind::sampling, kind::limit,
                kind::fallback),
      1);
}

// libstdc++'s aligned operator new rounds such sizes up past zero, and returns a small block.
BOOST_AUTO_TEST_CASE(no_adaptor_asks_for_more_than_any_object_can_have) {
  nothing_left upstream;
  cistern::limit_adaptor without_limit(SIZE_MAX, &upstream);
  cistern::fallback_adaptor over_nothing(std::pmr::null_memory_resource(), &upstream);
  cistern::testing::failing_resource failing(&upstream);
  cistern::guarding_adaptor with_long_canaries({.canary_bytes = 4096}, &upstream);
  std::vector<std::unique_ptr<std::pmr::memory_resource>> made;
  std::vector<std::pmr::memory_resource*> all{&without_limit, &over_nothing, &failing, &with_long_canaries};
  for (const kind each : {kind::limit, kind::statistics, kind::recording, kind::fallback, kind::failure,
                          kind::guarding, kind::sampling}) {
    all.push_back(made.emplace_back(adaptor_over(each, &upstream)).get());
  }
  for (std::pmr::memory_resource* const adaptor : all) {
    for (const std::size_t bytes : {SIZE_MAX, SIZE_MAX - 5, SIZE_MAX - 40, std::size_t{PTRDIFF_MAX} + 1,
                                    std::size_t{PTRDIFF_MAX}, std::size_t{PTRDIFF_MAX} - 100}) {
      for (const std::size_t alignment : {std::size_t{8}, std::size_t{64}, std::size_t{4096}}) {
        BOOST_CHECK_THROW((void)adaptor->allocate(bytes, alignment), std::bad_alloc);
      }
    }
  }
  BOOST_TEST(upstream.impossible_requests == 0);
}

// The stack that a service might have: a bounded pool, caches that make room, a reserve, accounts on top.
BOOST_AUTO_TEST_CASE(each_of_a_stack_does_its_part) {
  checking_resource memory;
  checking_resource reserve;
  cistern::synchronized_pool_resource pool(&memory);
  cistern::limit_adaptor limited(10'000, &pool);
  std::vector<void*> cache;
  cistern::failure_adaptor making_room(
      [&](std::size_t, std::size_t) {
        if (cache.empty()) return false;
        limited.deallocate(cache.back(), 1'000);
        cache.pop_back();
        return true;
      },
      &limited);
  cistern::fallback_adaptor with_reserve(&making_room, &reserve);
  trace_bytes trace;
  cistern::recording_adaptor recorded(trace_to(trace), &with_reserve);
  cistern::statistics_adaptor counted(&recorded);

  for (int i = 0; i < 9; ++i) cache.push_back(limited.allocate(1'000));
  std::vector<void*> blocks;
  for (int i = 0; i < 15; ++i) blocks.push_back(counted.allocate(1'000));
  BOOST_TEST(cache.empty());
  BOOST_TEST(making_room.rescued() == 9u);
  BOOST_TEST(limited.held_bytes() == 10'000u);
  BOOST_TEST(with_reserve.fallback_live_blocks() == 5u);
  BOOST_TEST(reserve.outstanding_blocks() == 5u);
  for (void* const block : blocks) counted.deallocate(block, 1'000);
  recorded.close();

  BOOST_TEST(counted.statistics().peak_bytes == 15'000);
  BOOST_TEST(counted.statistics().failures == 0u);
  BOOST_TEST(limited.held_bytes() == 0u);
  BOOST_TEST(limited.peak_bytes() == 10'000u);
  BOOST_TEST(reserve.outstanding_blocks() == 0u);
  cistern::trace_reader reader(cistern::trace_from_memory(trace));
  const auto report = replay(reader, &counted);
  BOOST_TEST(report.resource_passed());
  BOOST_TEST(report.peak_live_bytes == 15'000u);
}

// In a container's destructor, for one, which nothing can unwind.
BOOST_AUTO_TEST_CASE(a_thread_that_is_cancelled_below_an_adaptor_gives_its_blocks_back) {
  for (std::size_t each = 0; each < order{}.size(); ++each) {
    BOOST_TEST_CONTEXT("adaptor " << each) {
      const auto calls = cancel_in_every_call([&](std::pmr::memory_resource* upstream) {
        const auto adaptor = adaptor_over(static_cast<kind>(each), upstream);
        std::pmr::vector<std::pmr::vector<char>> many(20, adaptor.get());
        for (auto& one : many) one.assign(300, 'x');
        many.resize(10);
      });
      BOOST_TEST(calls > 20U);
    }
  }
}
