// limit_adaptor: the ceiling is never passed, nothing is lost below it, and the error says what was refused.
#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/bad_allocation.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <new>
#include <random>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/cancelling_resource.hpp"
#include "../support/conformance.hpp"
#include "../support/death.hpp"
#include "../support/mortal.hpp"
#include "../support/threads.hpp"

using cistern::limit_adaptor;
using cistern::testing::checking_resource;
using cistern::testing::failing_resource;

namespace {

struct subject : cistern::testing::conformance_subject {
  static constexpr bool thread_safe = true;
  static auto make(std::pmr::memory_resource* upstream) {
    return std::make_unique<limit_adaptor>(std::size_t{512} << 20, upstream);
  }
};

std::string text_of_refusal(limit_adaptor& limited, std::size_t bytes) {
  try {
    (void)limited.allocate(bytes);
  } catch (const cistern::bad_allocation& error) {
    BOOST_TEST(error.requested_bytes() == bytes);
    return error.what();
  }
  return "granted";
}

}  // namespace

BOOST_AUTO_TEST_CASE(conforms) {
  cistern::test_support::require_conformance<subject>();
}

BOOST_AUTO_TEST_CASE(null_upstream_is_new_and_delete) {
  limit_adaptor limited(100);
  BOOST_TEST(limited.upstream_resource() == std::pmr::new_delete_resource());
  limited.deallocate(limited.allocate(100), 100);
}

BOOST_AUTO_TEST_CASE(grants_up_to_the_limit_and_not_a_byte_more) {
  checking_resource upstream;
  limit_adaptor limited(100, &upstream);
  void* const first = limited.allocate(60);
  BOOST_TEST(limited.available_bytes() == 40u);
  BOOST_CHECK_THROW((void)limited.allocate(41), cistern::bad_allocation);
  void* const second = limited.allocate(40);
  BOOST_TEST(limited.held_bytes() == 100u);
  BOOST_TEST(limited.available_bytes() == 0u);
  BOOST_CHECK_THROW((void)limited.allocate(1), cistern::bad_allocation);
  void* const empty = limited.allocate(0);
  limited.deallocate(first, 60);
  BOOST_TEST(limited.held_bytes() == 40u);
  limited.deallocate(second, 40);
  limited.deallocate(empty, 0);
  BOOST_TEST(limited.held_bytes() == 0u);
  BOOST_TEST(limited.peak_bytes() == 100u);
  BOOST_TEST(limited.refusals() == 2u);
  BOOST_TEST(upstream.allocations() == 3u);
}

BOOST_AUTO_TEST_CASE(error_names_what_was_asked_the_limit_and_what_is_held) {
  limit_adaptor limited(1000);
  void* const block = limited.allocate(300);
  BOOST_TEST(text_of_refusal(limited, 701) ==
             "cistern: limit_adaptor refuses: 701 bytes requested, limit 1000, held 300");
  limited.deallocate(block, 300);
}

BOOST_AUTO_TEST_CASE(sizes_near_the_largest_number_do_not_wrap_around) {
  checking_resource upstream;
  limit_adaptor limited(1000, &upstream);
  void* const block = limited.allocate(10);
  for (const std::size_t bytes : {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 10, SIZE_MAX / 2 + 1}) {
    BOOST_CHECK_THROW((void)limited.allocate(bytes), cistern::bad_allocation);
    BOOST_TEST(limited.try_allocate(bytes) == nullptr);
    BOOST_TEST(limited.held_bytes() == 10u);
  }
  limited.deallocate(block, 10);
}

BOOST_AUTO_TEST_CASE(without_a_limit_upstream_decides) {
  checking_resource upstream;
  limit_adaptor limited(SIZE_MAX, &upstream);
  void* const block = limited.allocate(10);
  BOOST_CHECK_THROW((void)limited.allocate(SIZE_MAX - 10), std::bad_alloc);
  BOOST_CHECK_THROW((void)limited.allocate(SIZE_MAX), cistern::bad_allocation);  // Can't even be counted.
  BOOST_TEST(limited.held_bytes() == 10u);
  limited.deallocate(block, 10);
}

BOOST_AUTO_TEST_CASE(failures_of_upstream_give_the_credit_back) {
  failing_resource upstream;
  limit_adaptor limited(100, &upstream);
  for (int i = 0; i < 5; ++i) {
    upstream.fail_nth(1);
    BOOST_CHECK_THROW((void)limited.allocate(100), std::bad_alloc);
    BOOST_TEST(limited.held_bytes() == 0u);
    BOOST_TEST(limited.peak_bytes() == 0u);
    upstream.fail_nth(1);
    BOOST_TEST(limited.try_allocate(100) == nullptr);
    BOOST_TEST(limited.held_bytes() == 0u);
  }
  BOOST_TEST(limited.refusals() == 0u);
  limited.deallocate(limited.allocate(100), 100);
}

BOOST_AUTO_TEST_CASE(a_thread_that_is_cancelled_in_upstream_takes_no_credit_along) {
  for (std::size_t call = 1; call <= 2; ++call) {
    checking_resource below;
    cistern::test_support::cancelling_resource upstream(&below, call);
    limit_adaptor limit(1000, &upstream);
    BOOST_TEST(cistern::test_support::is_cancelled_in([&] { limit.deallocate(limit.allocate(100), 100); }));
    BOOST_TEST(limit.held_bytes() == 0U);
    BOOST_TEST(below.outstanding_bytes() == 0U);
  }
}

BOOST_AUTO_TEST_CASE(try_allocate_returns_null_instead_of_throwing) {
  limit_adaptor limited(100);
  void* const block = limited.try_allocate(100, 64);
  BOOST_REQUIRE(block != nullptr);
  BOOST_TEST(reinterpret_cast<std::uintptr_t>(block) % 64 == 0u);
  BOOST_TEST(limited.try_allocate(1) == nullptr);
  BOOST_TEST(limited.refusals() == 1u);
  limited.deallocate(block, 100, 64);
}

BOOST_AUTO_TEST_CASE(a_lowered_limit_holds_from_the_next_request_on) {
  limit_adaptor limited(100);
  void* const block = limited.allocate(80);
  limited.set_limit_bytes(50);
  BOOST_TEST(limited.limit_bytes() == 50u);
  BOOST_TEST(limited.available_bytes() == 0u);
  BOOST_TEST(text_of_refusal(limited, 1) ==
             "cistern: limit_adaptor refuses: 1 bytes requested, limit 50, held 80");
  limited.deallocate(limited.allocate(0), 0);
  limited.deallocate(block, 80);
  limited.deallocate(limited.allocate(50), 50);
  BOOST_CHECK_THROW((void)limited.allocate(51), std::bad_alloc);
}

BOOST_AUTO_TEST_CASE(equality_is_identity) {
  limit_adaptor one(1);
  limit_adaptor other(1);
  BOOST_TEST(one.is_equal(one));
  BOOST_TEST(!one.is_equal(other));
  BOOST_TEST(!one.is_equal(*one.upstream_resource()));
}

namespace {

// Knows the most that was ever held, independently of the adaptor; fails now and then.
class witness final : public std::pmr::memory_resource {
 public:
  std::atomic<std::size_t> held_bytes{0};
  std::atomic<std::size_t> most_bytes{0};
  std::atomic<std::uint64_t> calls{0};

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (calls++ % 7 == 0) throw std::bad_alloc();
    void* const block = std::pmr::new_delete_resource()->allocate(bytes, alignment);
    const std::size_t held = held_bytes += bytes;
    std::size_t most = most_bytes;
    while (most < held && !most_bytes.compare_exchange_weak(most, held)) {
    }
    return block;
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    held_bytes -= bytes;
    std::pmr::new_delete_resource()->deallocate(block, bytes, alignment);
  }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }
};

}  // namespace

BOOST_AUTO_TEST_CASE(threads_never_pass_the_limit_and_lose_no_credit) {
  constexpr std::size_t limit_bytes = 20'000;
  witness upstream;
  limit_adaptor limited(limit_bytes, &upstream);
  cistern::test_support::run_threads(4, [&](std::size_t index) {
    std::mt19937_64 random(index);
    std::vector<std::pair<void*, std::size_t>> blocks;
    for (int i = 0; i < 20'000; ++i) {
      if (const std::size_t bytes = random() % 1000; random() % 2 == 0) {
        if (void* const block = limited.try_allocate(bytes)) blocks.emplace_back(block, bytes);
      } else if (!blocks.empty()) {
        limited.deallocate(blocks.back().first, blocks.back().second);
        blocks.pop_back();
      }
      cistern::test_support::require(limited.held_bytes() <= limit_bytes, "more is held than the limit");
    }
    for (const auto& [block, bytes] : blocks) limited.deallocate(block, bytes);
  });
  BOOST_TEST(upstream.most_bytes <= limit_bytes);
  BOOST_TEST(upstream.most_bytes > limit_bytes / 2);  // Or the limit was never in reach.
  BOOST_TEST(limited.peak_bytes() <= limit_bytes);
  BOOST_TEST(limited.peak_bytes() >= upstream.most_bytes);
  BOOST_TEST(limited.refusals() > 0u);
  BOOST_TEST(limited.held_bytes() == 0u);
}

BOOST_AUTO_TEST_CASE(freeing_more_than_was_allocated_is_refused) {
  if constexpr (cistern::detail::checked_build) {
    BOOST_TEST(cistern::test_support::dies_saying("more bytes are freed than were allocated", [] {
      limit_adaptor limited(100);
      void* const block = limited.allocate(10);
      limited.deallocate(block, 20);
    }));
  }
}
