// pool_allocator by itself: what the standard asks of an allocator, null, sizes, alignment, failure, misuse.
#include <cistern/bad_allocation.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/pool_allocator.hpp>
#include <cistern/testing/fail_every_allocation.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <list>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/mpl/list.hpp>
#include <boost/test/unit_test.hpp>

#include "../support/allocator_subjects.hpp"
#include "../support/death.hpp"
#include "../support/threads.hpp"

using namespace cistern;
using test_support::dies_saying;
using test_support::synchronized_subject;
using test_support::unsynchronized_subject;
using test_support::virtual_subject;

using subjects = boost::mpl::list<unsynchronized_subject, synchronized_subject, virtual_subject>;

namespace {

struct incomplete;
// An allocator, and containers that allow it, may be named before the type is known.
struct tree {
  pool_allocator<tree> allocator;
  std::vector<tree, pool_allocator<tree>> children;
  pool_allocator<incomplete>* never_used = nullptr;
};
using allocator_of_incomplete = pool_allocator<incomplete>;
static_assert(std::is_nothrow_default_constructible_v<allocator_of_incomplete>);
static_assert(std::is_same_v<allocator_of_incomplete::value_type, incomplete>);

struct alignas(64) line {
  std::byte bytes[64];
};
struct alignas(8192) beyond_a_page {
  std::byte bytes[8192];
};
struct odd {
  char bytes[3];
};

// What [allocator.requirements] says about types and constants.
template <class T, class Resource>
struct requirements {
  using allocator = pool_allocator<T, Resource>;
  using traits = std::allocator_traits<allocator>;
  static_assert(std::is_same_v<typename traits::value_type, T>);
  static_assert(std::is_same_v<typename traits::pointer, T*>);
  static_assert(std::is_same_v<typename traits::const_pointer, const T*>);
  static_assert(std::is_same_v<typename traits::void_pointer, void*>);
  static_assert(std::is_same_v<typename traits::size_type, std::size_t>);
  static_assert(std::is_same_v<typename traits::difference_type, std::ptrdiff_t>);
  static_assert(!traits::propagate_on_container_copy_assignment::value);
  static_assert(!traits::propagate_on_container_move_assignment::value);
  static_assert(!traits::propagate_on_container_swap::value);
  static_assert(!traits::is_always_equal::value);
  static_assert(
      std::is_same_v<typename traits::template rebind_alloc<double>, pool_allocator<double, Resource>>);
  static_assert(std::is_same_v<typename allocator::template rebind<T>::other, allocator>);
  static_assert(std::is_nothrow_copy_constructible_v<allocator>);
  static_assert(std::is_nothrow_move_constructible_v<allocator>);
  static_assert(std::is_nothrow_copy_assignable_v<allocator>);
  static_assert(std::is_nothrow_move_assignable_v<allocator>);
  static_assert(std::is_nothrow_swappable_v<allocator>);
  static_assert(std::is_trivially_copyable_v<allocator>);
  static_assert(std::is_nothrow_constructible_v<allocator, Resource*>);
  static_assert(std::is_nothrow_constructible_v<allocator, const pool_allocator<double, Resource>&>);
  static_assert(std::is_convertible_v<const pool_allocator<double, Resource>&, allocator>);
  static_assert(!std::is_constructible_v<allocator, Resource&>);
  static_assert(std::equality_comparable<allocator>);
  static_assert(noexcept(std::declval<allocator&>() == std::declval<pool_allocator<double, Resource>&>()));
  static_assert(noexcept(std::declval<allocator&>().deallocate(nullptr, 0)));
  static_assert(std::is_same_v<typename allocator::resource_type, Resource>);
  static_assert(sizeof(allocator) == sizeof(void*));
  static constexpr bool met = true;
};
static_assert(requirements<int, synchronized_pool_resource>::met);
static_assert(requirements<int, unsynchronized_pool_resource>::met);
static_assert(requirements<int, std::pmr::memory_resource>::met);
static_assert(requirements<int, std::pmr::unsynchronized_pool_resource>::met);
static_assert(requirements<odd, synchronized_pool_resource>::met);
static_assert(std::is_same_v<pool_allocator<int>, pool_allocator<int, synchronized_pool_resource>>);
// Allocators for other pools are other allocators.
static_assert(!std::is_constructible_v<pool_allocator<int, unsynchronized_pool_resource>,
                                       pool_allocator<int, synchronized_pool_resource>>);
// Void, as a name to rebind from.
static_assert(
    std::is_same_v<std::allocator_traits<pool_allocator<void>>::rebind_alloc<int>, pool_allocator<int>>);
static_assert(std::is_constructible_v<pool_allocator<int>, pool_allocator<void>>);
// Known when compiling, so that static containers need no run-time initialisation for it.
constinit pool_allocator<int> constant;

template <class T>
bool aligned(const T* object) {
  return reinterpret_cast<std::uintptr_t>(object) % alignof(T) == 0;
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(allocates_from_the_pool_and_gives_back, Subject, subjects) {
  Subject subject;
  auto allocator = subject.template get<int>();
  BOOST_TEST((allocator.resource() != nullptr));
  for (const std::size_t count : {0U, 1U, 2U, 3U, 100U, 255U, 256U, 257U, 10'000U, 1'000'000U, 20'000'000U}) {
    int* const objects = allocator.allocate(count);
    BOOST_TEST((objects != nullptr));
    BOOST_TEST(aligned(objects));
    BOOST_TEST(subject.holds_something());
    if (count != 0) {
      std::memset(objects, 1, sizeof(int));
      std::memset(objects + (count - 1), 1, sizeof(int));
    }
    allocator.deallocate(objects, count);
    BOOST_TEST(!subject.holds_something());
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(allocator_traits_constructs_and_destroys, Subject, subjects) {
  Subject subject;
  using allocator_type = typename Subject::template allocator<std::string>;
  using traits = std::allocator_traits<allocator_type>;
  allocator_type allocator = subject.template get<std::string>();
  std::string* const text = traits::allocate(allocator, 1, nullptr);
  traits::construct(allocator, text, 100, 'x');
  BOOST_TEST(*text == std::string(100, 'x'));
  traits::destroy(allocator, text);
  traits::deallocate(allocator, text, 1);
  BOOST_TEST(traits::max_size(allocator) <= std::numeric_limits<std::size_t>::max() / sizeof(std::string));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(equality_is_the_pools_identity, Subject, subjects) {
  Subject one;
  Subject other;
  const auto a = one.template get<int>();
  const auto same = one.template get<int>();
  const auto b = other.template get<int>();
  BOOST_TEST((a == same));
  BOOST_TEST((a != b));
  BOOST_TEST((a == one.template get<std::string>()));
  BOOST_TEST((b != one.template get<std::string>()));
  const typename Subject::template allocator<int> none;
  const typename Subject::template allocator<double> none_either;
  BOOST_TEST((none == none_either));
  BOOST_TEST((none != a));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(every_copy_keeps_the_pool, Subject, subjects) {
  Subject subject;
  const auto a = subject.template get<int>();
  auto copy = a;
  BOOST_TEST((copy == a));
  const auto moved = std::move(copy);
  BOOST_TEST((moved == a));
  BOOST_TEST((copy == a));  // NOLINT(bugprone-use-after-move): an allocator's move leaves its value
  const typename Subject::template allocator<double> converted = a;
  BOOST_TEST((converted.resource() == a.resource()));
  BOOST_TEST((typename Subject::template allocator<int>(converted) == a));
  const auto for_a_container =
      std::allocator_traits<typename Subject::template allocator<int>>::select_on_container_copy_construction(
          a);
  BOOST_TEST((for_a_container == a));
  // What a converted copy allocates the original frees.
  typename Subject::template allocator<int> back(converted);
  int* const number = back.allocate(1);
  typename Subject::template allocator<int>(a).deallocate(number, 1);
}

BOOST_AUTO_TEST_CASE(null_is_plain_new_and_delete) {
  pool_allocator<int> allocator(nullptr);
  BOOST_TEST((allocator == pool_allocator<int>()));
  BOOST_TEST((allocator.resource() == nullptr));
  int* const numbers = allocator.allocate(10);
  numbers[9] = 9;
  allocator.deallocate(numbers, 10);
  // The same rules and errors as with a pool.
  BOOST_CHECK_THROW(static_cast<void>(allocator.allocate(SIZE_MAX)), std::bad_array_new_length);
  BOOST_CHECK_THROW(static_cast<void>(allocator.allocate(SIZE_MAX / sizeof(int))), bad_allocation);
  const auto granted = allocator.allocate_at_least(7);
  BOOST_TEST(granted.count == 7U);
  allocator.deallocate(granted.ptr, granted.count);
  BOOST_TEST((constant == allocator));

  pool_allocator<line> lines;
  line* const aligned_line = lines.allocate(3);
  BOOST_TEST(aligned(aligned_line));
  lines.deallocate(aligned_line, 3);

  std::vector<int, pool_allocator<int>> vector{1, 2, 3};
  BOOST_TEST(vector.size() == 3U);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(over_aligned_types_are_aligned, Subject, subjects) {
  Subject subject;
  for (const std::size_t count : {1U, 2U, 3U, 17U, 100U}) {
    auto lines = subject.template get<line>();
    line* const one = lines.allocate(count);
    BOOST_TEST(aligned(one));
    auto large = subject.template get<beyond_a_page>();
    beyond_a_page* const other = large.allocate(count);
    BOOST_TEST(aligned(other));
    lines.deallocate(one, count);
    large.deallocate(other, count);
  }
  BOOST_TEST(!subject.holds_something());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(sizes_out_of_reach_are_refused, Subject, subjects) {
  Subject subject;
  const auto refuses = [&](auto allocator, std::size_t count) {
    using value_type = typename decltype(allocator)::value_type;
    const bool overflows = count > SIZE_MAX / sizeof(value_type);
    BOOST_TEST_CONTEXT(count << " objects of " << sizeof(value_type) << " bytes") {
      if (overflows) {
        BOOST_CHECK_THROW(static_cast<void>(allocator.allocate(count)), std::bad_array_new_length);
        BOOST_CHECK_THROW(static_cast<void>(allocator.allocate_at_least(count)), std::bad_array_new_length);
      } else {
        BOOST_CHECK_THROW(static_cast<void>(allocator.allocate(count)), bad_allocation);
        BOOST_CHECK_THROW(static_cast<void>(allocator.allocate_at_least(count)), bad_allocation);
      }
      BOOST_TEST(!subject.holds_something());
    }
  };
  const auto sweep = [&]<class T>(std::type_identity<T>) {
    const std::size_t largest = PTRDIFF_MAX / sizeof(T);
    for (const std::size_t count :
         {largest + 1, SIZE_MAX / sizeof(T), SIZE_MAX / 2 + 1, SIZE_MAX - 1, SIZE_MAX}) {
      refuses(subject.template get<T>(), count);
    }
  };
  sweep(std::type_identity<char>());
  sweep(std::type_identity<odd>());
  sweep(std::type_identity<int>());
  sweep(std::type_identity<line>());
  // SIZE_MAX / sizeof + 1 objects have a size that wraps round to nearly nothing.
  refuses(subject.template get<int>(), SIZE_MAX / sizeof(int) + 1);
  refuses(subject.template get<int>(), SIZE_MAX / sizeof(int) + 2);
  refuses(subject.template get<line>(), SIZE_MAX / sizeof(line) + 1);
  // Just below, the pool is asked, and fails in its own way.
  BOOST_CHECK_THROW(static_cast<void>(subject.template get<int>().allocate(PTRDIFF_MAX / sizeof(int))),
                    std::bad_alloc);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(allocate_at_least_grants_what_can_be_used_and_freed, Subject, subjects) {
  Subject subject;
  bool granted_more = false;
  const auto check = [&]<class T>(std::type_identity<T>) {
    auto allocator = subject.template get<T>();
    for (std::size_t count = 1; count < 3000; count += 1 + count / 7) {
      for (int way = 0; way < 3; ++way) {
        const auto granted = allocator.allocate_at_least(count);
        BOOST_TEST(aligned(granted.ptr));
        BOOST_REQUIRE(granted.count >= count);
        granted_more |= granted.count > count;
        std::memset(static_cast<void*>(granted.ptr), 1, granted.count * sizeof(T));
        // With the count asked for, the one granted, or any between: a container's capacity.
        const std::size_t between = count + (granted.count - count) / 2;
        allocator.deallocate(granted.ptr, way == 0 ? count : way == 1 ? granted.count : between);
        BOOST_REQUIRE(!subject.holds_something());
      }
    }
  };
  check(std::type_identity<char>());
  check(std::type_identity<odd>());
  check(std::type_identity<int>());
  check(std::type_identity<line>());
  const auto large = subject.template get<odd>().allocate_at_least(40 << 20);
  subject.template get<odd>().deallocate(large.ptr, large.count);
  BOOST_TEST(!subject.holds_something());
  BOOST_TEST(granted_more == (!std::is_same_v<Subject, virtual_subject>));
}

BOOST_AUTO_TEST_CASE(allocate_at_least_grants_what_was_asked_in_pass_through_mode) {
  testing::checking_resource upstream;
  unsynchronized_pool_resource pool({.pass_through = true}, &upstream);
  pool_allocator<odd, unsynchronized_pool_resource> allocator(&pool);
  const auto granted = allocator.allocate_at_least(5);
  BOOST_TEST(granted.count == 5U);
  BOOST_TEST(upstream.outstanding_bytes() == 15U);
  allocator.deallocate(granted.ptr, granted.count);
}

#if defined(__cpp_lib_allocate_at_least)
BOOST_AUTO_TEST_CASE(allocator_traits_finds_allocate_at_least) {
  unsynchronized_subject subject;
  auto allocator = subject.get<odd>();
  using traits = std::allocator_traits<decltype(allocator)>;
  const auto granted = traits::allocate_at_least(allocator, 7);
  static_assert(std::is_same_v<decltype(granted), const std::allocation_result<odd*, std::size_t>>);
  BOOST_TEST(granted.count == 8U);  // 24 bytes
  traits::deallocate(allocator, granted.ptr, granted.count);
  BOOST_TEST(!subject.holds_something());
}
#endif

BOOST_AUTO_TEST_CASE(a_type_may_hold_containers_of_itself) {
  synchronized_subject subject;
  {
    tree root{subject.get<tree>(), decltype(tree::children)(subject.get<tree>())};
    for (int i = 0; i < 10; ++i)
      root.children.push_back({root.allocator, decltype(tree::children)(root.allocator)});
    root.children[3].children.resize(5);
    const tree copy = root;
    BOOST_TEST((copy.children.get_allocator() == root.allocator));
  }
  BOOST_TEST(!subject.holds_something());
}

BOOST_AUTO_TEST_CASE(a_static_call_reaches_the_named_class) {
  // Through the base class the derived one's override is called; through the pool's own class it isn't.
  struct counting final : unsynchronized_pool_resource {
    using unsynchronized_pool_resource::unsynchronized_pool_resource;
    int calls = 0;
    void* do_allocate(std::size_t bytes, std::size_t alignment) override {
      ++calls;
      return unsynchronized_pool_resource::do_allocate(bytes, alignment);
    }
  };
  counting pool;
  pool_allocator<int, unsynchronized_pool_resource> direct(&pool);
  pool_allocator<int, std::pmr::memory_resource> by_virtual_call(&pool);
  direct.deallocate(direct.allocate(1), 1);
  BOOST_TEST(pool.calls == 0);
  by_virtual_call.deallocate(by_virtual_call.allocate(1), 1);
  BOOST_TEST(pool.calls == 1);
}

using pools = boost::mpl::list<unsynchronized_pool_resource, synchronized_pool_resource>;

BOOST_AUTO_TEST_CASE_TEMPLATE(a_failing_upstream_changes_no_container, Pool, pools) {
  using numbers_type = std::vector<int, pool_allocator<int, Pool>>;
  testing::checking_resource checking;
  testing::failing_resource failing(&checking);
  const auto result = testing::fail_every_allocation(
      failing,
      [&] {
        Pool pool(&failing);
        const pool_allocator<numbers_type, Pool> allocator(&pool);
        std::list<numbers_type, pool_allocator<numbers_type, Pool>> lists(allocator);
        int inserted = 0;
        try {
          for (int i = 0; i < 40; ++i) {
            lists.emplace_back(allocator);
            for (int j = 0; j < 10 * i; ++j, ++inserted) lists.back().push_back(inserted);
          }
        } catch (const std::bad_alloc&) {
          int seen = 0;
          for (const numbers_type& numbers : lists) {
            for (const int number : numbers) BOOST_REQUIRE(number == seen++);
          }
          BOOST_TEST(seen == inserted);
          pool.check_invariants();
          throw;
        }
      },
      [&](std::uint64_t) { BOOST_TEST(checking.outstanding_blocks() == 0U); },
      {.mode = cistern::testing::failure_mode::from_then_on});
  BOOST_TEST(result.failed_runs > 0U);
}

// Blocks of every size and alignment, allocated, granted at least, copied through and freed by other
// allocators of the same pool, against what the pool says it has in use.
BOOST_AUTO_TEST_CASE_TEMPLATE(random_use_keeps_content_and_accounts, Pool, pools) {
  struct piece {
    std::byte* bytes;
    std::size_t count;
    unsigned char seed;
  };
  const unsigned seed = std::random_device{}();
  BOOST_TEST_CONTEXT("seed " << seed) {
    std::mt19937 random(seed);
    testing::checking_resource upstream;
    Pool pool(&upstream);
    std::vector<piece> pieces;
    std::size_t asked_bytes = 0;
    for (int step = 0; step < 20'000; ++step) {
      pool_allocator<std::byte, Pool> allocator(&pool);
      if (pieces.size() < 200 || random() % 2 == 0) {
        std::size_t count = 1 + random() % (random() % 16 == 0 ? 50'000 : 300);
        std::byte* bytes = nullptr;
        if (random() % 2 == 0) {
          bytes = allocator.allocate(count);
        } else {
          const auto granted = allocator.allocate_at_least(count);
          bytes = granted.ptr;
          count += random() % (granted.count - count + 1);
        }
        pieces.push_back({bytes, count, static_cast<unsigned char>(random())});
        std::memset(bytes, pieces.back().seed, count);
        asked_bytes += count;
      } else {
        const std::size_t chosen = random() % pieces.size();
        const piece one = std::exchange(pieces[chosen], pieces.back());
        pieces.pop_back();
        for (std::size_t i = 0; i < one.count; i += 1 + one.count / 16) {
          BOOST_REQUIRE(
              (one.bytes[i] == std::byte{one.seed} && one.bytes[one.count - 1] == std::byte{one.seed}));
        }
        allocator.deallocate(one.bytes, one.count);
        asked_bytes -= one.count;
      }
      if (step % 500 == 0) BOOST_REQUIRE(pool.statistics().in_use_bytes >= asked_bytes);
    }
    for (const piece& one : pieces) pool_allocator<std::byte, Pool>(&pool).deallocate(one.bytes, one.count);
    BOOST_TEST(pool.statistics().in_use_bytes == 0U);
    pool.check_invariants();
  }
}

BOOST_AUTO_TEST_CASE(threads_share_one_pool) {
  synchronized_subject subject;
  std::vector<std::list<int, pool_allocator<int>>> lists(4,
                                                         std::list<int, pool_allocator<int>>(&subject.pool));
  test_support::run_threads(4, [&](std::size_t own) {
    for (int i = 0; i < 2000; ++i) lists[own].push_back(i);
  });
  test_support::run_threads(4, [&](std::size_t own) { lists[(own + 1) % 4].clear(); });
  BOOST_TEST(!subject.holds_something());
}

BOOST_AUTO_TEST_CASE(misuse_is_noticed_in_checked_builds) {
  if constexpr (detail::checked_build) {
    unsynchronized_subject subject;
    auto allocator = subject.get<int>();
    BOOST_TEST(dies_saying("null is no block", [&] { allocator.deallocate(nullptr, 1); }));
    BOOST_TEST(dies_saying("null is no block", [] { pool_allocator<int>().deallocate(nullptr, 1); }));
    int* const number = allocator.allocate(1);
    BOOST_TEST(dies_saying("more objects than any block", [&] { allocator.deallocate(number, SIZE_MAX); }));
    allocator.deallocate(number, 1);
  }
}
