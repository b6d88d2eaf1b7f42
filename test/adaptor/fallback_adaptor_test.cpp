// fallback_adaptor: every block goes back to where it came from, whatever fails.
#include <cistern/adaptor/fallback_adaptor.hpp>
#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <memory_resource>
#include <new>
#include <random>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/cancelling_resource.hpp"
#include "../support/conformance.hpp"
#include "../support/death.hpp"
#include "../support/threads.hpp"
#include "../support/throwing_resource.hpp"

using cistern::fallback_adaptor;
using cistern::limit_adaptor;
using cistern::test_support::throwing_resource;
using cistern::test_support::unusual_error;
using cistern::testing::checking_resource;
using cistern::testing::failing_resource;

namespace {

struct subject : cistern::testing::conformance_subject {
  static constexpr bool thread_safe = true;
};
// Everything from the first.
struct first_subject : subject {
  static auto make(std::pmr::memory_resource* upstream) {
    return std::make_unique<fallback_adaptor>(upstream, std::pmr::null_memory_resource());
  }
};
// Everything from the second.
struct second_subject : subject {
  static auto make(std::pmr::memory_resource* upstream) {
    return std::make_unique<fallback_adaptor>(std::pmr::null_memory_resource(), upstream);
  }
};
// From both.
struct limited {
  limit_adaptor limit;
};
struct limited_fallback : limited, fallback_adaptor {
  explicit limited_fallback(std::pmr::memory_resource* upstream)
      : limited{limit_adaptor(std::size_t{64} << 10, upstream)}, fallback_adaptor(&limit, upstream) {}
};
struct mixed_subject : subject {
  static auto make(std::pmr::memory_resource* upstream) {
    return std::make_unique<limited_fallback>(upstream);
  }
};

struct block {
  void* ptr;
  std::size_t bytes;
  std::size_t alignment;
};

}  // namespace

BOOST_AUTO_TEST_CASE(conforms_on_the_first) {
  cistern::test_support::require_conformance<first_subject>();
}
BOOST_AUTO_TEST_CASE(conforms_on_the_second) {
  cistern::test_support::require_conformance<second_subject>();
}
BOOST_AUTO_TEST_CASE(conforms_on_both) {
  cistern::test_support::require_conformance<mixed_subject>();
}

BOOST_AUTO_TEST_CASE(null_means_new_and_delete) {
  fallback_adaptor both(nullptr);
  BOOST_TEST(both.upstream_resource() == std::pmr::new_delete_resource());
  BOOST_TEST(both.fallback_resource() == std::pmr::new_delete_resource());
}

BOOST_AUTO_TEST_CASE(each_block_goes_back_to_where_it_came_from) {
  checking_resource first;
  checking_resource second;  // Abort when they get what isn't theirs.
  limit_adaptor narrow(1000, &first);
  fallback_adaptor both(&narrow, &second);
  void* const a = both.allocate(900);
  void* const b = both.allocate(200);
  void* const c = both.allocate(100);
  void* const d = both.allocate(333, 256);
  BOOST_TEST(!both.is_from_fallback(a));
  BOOST_TEST(both.is_from_fallback(b));
  BOOST_TEST(!both.is_from_fallback(c));
  BOOST_TEST(both.is_from_fallback(d));
  BOOST_TEST(!both.is_from_fallback(&both));
  BOOST_TEST(reinterpret_cast<std::uintptr_t>(d) % 256 == 0u);
  BOOST_TEST(both.fallbacks() == 2u);
  BOOST_TEST(both.fallback_live_blocks() == 2u);
  BOOST_TEST(both.fallback_live_bytes() == 533u);
  BOOST_TEST(first.outstanding_bytes() == 1000u);
  both.deallocate(d, 333, 256);
  both.deallocate(a, 900);
  both.deallocate(b, 200);
  both.deallocate(c, 100);
  BOOST_TEST(both.fallbacks() == 2u);
  BOOST_TEST(both.fallback_live_blocks() == 0u);
  BOOST_TEST(both.fallback_live_bytes() == 0u);
  BOOST_TEST(first.outstanding_blocks() == 0u);
  BOOST_TEST(second.outstanding_blocks() == 0u);
}

BOOST_AUTO_TEST_CASE(where_both_are_out_the_exception_of_the_second_arrives) {
  limit_adaptor first(10);
  limit_adaptor second(1000);
  fallback_adaptor both(&first, &second);
  try {
    (void)both.allocate(2000);
    BOOST_ERROR("granted");
  } catch (const std::bad_alloc& error) {
    BOOST_TEST(std::string(error.what()).find("limit 1000") != std::string::npos);
  }
  BOOST_TEST(both.fallbacks() == 0u);
}

BOOST_AUTO_TEST_CASE(other_exceptions_pass_through) {
  throwing_resource first;
  fallback_adaptor both(&first);
  BOOST_CHECK_THROW((void)both.allocate(1), unusual_error);
}

BOOST_AUTO_TEST_CASE(sizes_near_the_largest_number_are_refused) {
  checking_resource second;
  fallback_adaptor both(std::pmr::null_memory_resource(), &second);
  for (std::size_t below = 0; below < 100; ++below) {
    BOOST_CHECK_THROW((void)both.allocate(SIZE_MAX - below), std::bad_alloc);
    BOOST_CHECK_THROW((void)both.allocate(PTRDIFF_MAX - below), std::bad_alloc);
  }
  BOOST_TEST(second.outstanding_blocks() == 0u);
}

// The table's buckets come from the second resource as well: whichever of its allocations fails, all blocks
// are still found.
BOOST_AUTO_TEST_CASE(whichever_allocation_of_the_second_fails_nothing_is_lost) {
  for (const auto mode :
       {cistern::testing::failure_mode::once, cistern::testing::failure_mode::from_then_on}) {
    checking_resource checked;
    failing_resource second(&checked);
    const auto result = cistern::testing::fail_every_allocation(
        second,
        [&] {
          fallback_adaptor both(std::pmr::null_memory_resource(), &second);
          std::vector<void*> blocks;
          try {
            for (std::size_t i = 0; i < 200; ++i) blocks.push_back(both.allocate(i));
          } catch (const std::bad_alloc&) {
            BOOST_TEST(both.fallback_live_blocks() == blocks.size());
            for (std::size_t i = 0; i < blocks.size(); ++i) both.deallocate(blocks[i], i);
            throw;
          }
          for (std::size_t i = 0; i < blocks.size(); ++i) both.deallocate(blocks[i], i);
        },
        [&](std::uint64_t) { BOOST_TEST(checked.outstanding_blocks() == 0u); }, {.mode = mode});
    BOOST_TEST(result.failed_runs >= 200u);
    if (mode == cistern::testing::failure_mode::once) BOOST_TEST(result.absorbed_runs >= 2u);  // Of buckets.
  }
}

BOOST_AUTO_TEST_CASE(the_second_has_everything_back_when_its_last_block_is_freed) {
  checking_resource second;
  fallback_adaptor both(std::pmr::null_memory_resource(), &second);
  for (int round = 0; round < 3; ++round) {
    std::vector<void*> blocks;
    for (int i = 0; i < 1000; ++i) blocks.push_back(both.allocate(16));
    BOOST_TEST(second.outstanding_blocks() == 1001u);  // And the buckets.
    for (void* one : blocks) both.deallocate(one, 16);
    BOOST_TEST(second.outstanding_blocks() == 0u);
  }
}

BOOST_AUTO_TEST_CASE(random_traffic_over_a_narrow_first_agrees_with_a_model) {
  checking_resource first;
  checking_resource second;
  limit_adaptor narrow(20'000, &first);
  fallback_adaptor both(&narrow, &second);
  std::mt19937_64 random(7);
  std::vector<std::pair<block, bool>> blocks;
  std::size_t from_second = 0;
  for (int i = 0; i < 20'000; ++i) {
    if (blocks.size() < 300 && random() % 5 < 3) {
      const std::size_t bytes = random() % 400;
      const std::size_t alignment = std::size_t{1} << random() % 8;
      const bool fits = bytes <= narrow.available_bytes();
      blocks.push_back({{both.allocate(bytes, alignment), bytes, alignment}, !fits});
      from_second += fits ? 0 : 1;
      BOOST_REQUIRE(both.is_from_fallback(blocks.back().first.ptr) == !fits);
    } else if (!blocks.empty()) {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      const auto& [one, second_owns] = blocks.back();
      BOOST_REQUIRE(both.is_from_fallback(one.ptr) == second_owns);
      both.deallocate(one.ptr, one.bytes, one.alignment);
      from_second -= second_owns ? 1 : 0;
      blocks.pop_back();
    }
    BOOST_REQUIRE(both.fallback_live_blocks() == from_second);
  }
  for (const auto& [one, second_owns] : blocks) both.deallocate(one.ptr, one.bytes, one.alignment);
  BOOST_TEST(both.fallbacks() > 1000u);
}

BOOST_AUTO_TEST_CASE(fallbacks_nest) {
  checking_resource memories[3];
  limit_adaptor first(100, &memories[0]);
  limit_adaptor second(1000, &memories[1]);
  fallback_adaptor last(&second, &memories[2]);
  fallback_adaptor all(&first, &last);
  std::vector<block> blocks;
  for (std::size_t bytes = 10; bytes < 500; bytes += 10) blocks.push_back({all.allocate(bytes), bytes, 0});
  for (const checking_resource& each : memories) BOOST_TEST(each.outstanding_blocks() > 0u);
  for (const block& one : blocks) all.deallocate(one.ptr, one.bytes);
}

BOOST_AUTO_TEST_CASE(threads_free_what_others_allocated) {
  checking_resource first;
  checking_resource second;
  limit_adaptor narrow(10'000, &first);
  fallback_adaptor both(&narrow, &second);
  constexpr std::size_t threads = 4;
  std::vector<block> made[threads];
  for (int round = 0; round < 10; ++round) {
    cistern::test_support::run_threads(threads, [&](std::size_t index) {
      for (std::size_t i = 0; i < 200; ++i) {
        const std::size_t bytes = 1 + (i * 37 + index) % 300;
        made[index].push_back({both.allocate(bytes), bytes, 0});
        std::memset(made[index].back().ptr, static_cast<int>(index), bytes);
      }
    });
    cistern::test_support::run_threads(threads, [&](std::size_t index) {
      std::vector<block>& others = made[(index + 1) % threads];
      for (const block& one : others) both.deallocate(one.ptr, one.bytes);
      others.clear();
    });
    BOOST_TEST(both.fallback_live_blocks() == 0u);
  }
  BOOST_TEST(both.fallbacks() > 0u);
}

BOOST_AUTO_TEST_CASE(misuse_is_refused) {
  if constexpr (cistern::detail::checked_build) {
    BOOST_TEST(cistern::test_support::dies_saying("freed with the wrong size", [] {
      fallback_adaptor both(std::pmr::null_memory_resource());
      both.deallocate(both.allocate(10), 20);
    }));
    BOOST_TEST(cistern::test_support::dies_saying("freed with the wrong alignment", [] {
      fallback_adaptor both(std::pmr::null_memory_resource());
      both.deallocate(both.allocate(10, 8), 10, 64);
    }));
    BOOST_TEST(cistern::test_support::dies_saying("destroyed with live blocks", [] {
      fallback_adaptor both(std::pmr::null_memory_resource());
      (void)both.allocate(10);
    }));
  }
}

BOOST_AUTO_TEST_CASE(address_sanitizer_sees_writes_behind_a_block_of_the_second) {
  if constexpr (cistern::detail::asan_build) {
    const auto end = cistern::test_support::run_and_die([] {
      fallback_adaptor both(std::pmr::null_memory_resource());
      auto* volatile text = static_cast<char*>(both.allocate(13));
      text[13] = 'x';
    });
    BOOST_TEST(end.stderr_text.find("use-after-poison") != std::string::npos);
  }
}

// Wherever its table grows and goes, too.
BOOST_AUTO_TEST_CASE(a_thread_that_is_cancelled_in_the_fallback_gives_its_blocks_back) {
  const auto calls = cistern::test_support::cancel_in_every_call([](std::pmr::memory_resource* fallback) {
    fallback_adaptor adaptor(std::pmr::null_memory_resource(), fallback);
    std::pmr::vector<std::pmr::vector<char>> many(100, &adaptor);
    for (auto& one : many) one.assign(300, 'x');
  });
  BOOST_TEST(calls > 202U);
}
