// sampling_guard_adaptor: one allocation in N is guarded, all others are upstream's; misuse of a guarded one
// is told.
#include <cistern/adaptor/sampling_guard_adaptor.hpp>
#include <cistern/detail/base/os_pages.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <memory_resource>
#include <new>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/conformance.hpp"
#include "../support/death.hpp"
#include "../support/environment_variable.hpp"
#include "../support/forking.hpp"
#include "../support/threads.hpp"

using cistern::sampling_guard_adaptor;
using cistern::sampling_guard_options;
using cistern::test_support::dies_of;
using cistern::test_support::environment_variable;
using cistern::test_support::run_and_die;
using cistern::testing::checking_resource;

namespace {

template <std::size_t OneIn>
struct subject : cistern::testing::conformance_subject {
  static constexpr bool thread_safe = true;
  static auto make(std::pmr::memory_resource* upstream) {
    return std::make_unique<sampling_guard_adaptor>(sampling_guard_options{.one_in = OneIn},
                                                    cistern::test_support::asked_once(upstream));
  }
};

void write_to(volatile char* where) {
  *where = 1;
}

}  // namespace

BOOST_AUTO_TEST_CASE(conforms) {
  cistern::test_support::require_conformance<subject<0>>();
  cistern::test_support::require_conformance<subject<3>>();
  cistern::test_support::require_conformance<subject<1000>>();
}

BOOST_AUTO_TEST_CASE(it_is_off_unless_asked_for) {
  const environment_variable off("CISTERN_SAMPLE_GUARD", nullptr);
  checking_resource upstream;
  sampling_guard_adaptor memory(&upstream);
  for (int i = 0; i < 100; ++i) memory.deallocate(memory.allocate(10), 10);
  BOOST_TEST(upstream.allocations() == 100u);
  BOOST_TEST((memory.statistics() == cistern::sampling_guard_statistics{}));
}

BOOST_AUTO_TEST_CASE(the_environment_switches_it_on) {
  const environment_variable on("CISTERN_SAMPLE_GUARD", "1");
  checking_resource upstream;
  sampling_guard_adaptor memory(&upstream);
  BOOST_TEST(memory.statistics().slots == 512u);
  for (int i = 0; i < 100; ++i) memory.deallocate(memory.allocate(10), 10);
  BOOST_TEST(memory.statistics().sampled == 100u);
  sampling_guard_adaptor told_otherwise({.one_in = 0}, &upstream);
  BOOST_TEST(told_otherwise.statistics().slots == 0u);
}

BOOST_AUTO_TEST_CASE(one_in_n_is_guarded_and_the_others_are_upstream_s) {
  checking_resource upstream;
  sampling_guard_adaptor memory({.one_in = 10}, &upstream);
  for (int i = 0; i < 20'000; ++i) memory.deallocate(memory.allocate(100, 4), 100, 4);
  const auto statistics = memory.statistics();
  BOOST_TEST(statistics.sampled > 1'500u);
  BOOST_TEST(statistics.sampled < 2'500u);
  BOOST_TEST(statistics.sampled + upstream.allocations() == 20'000u);
  BOOST_TEST(statistics.slots_in_use == 0u);
  BOOST_TEST(upstream.outstanding_blocks() == 0u);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_guarded_is_upstream_s) {
  const std::size_t page = cistern::detail::os_page_bytes();
  checking_resource upstream;
  sampling_guard_adaptor memory({.one_in = 1, .slots = 2}, &upstream);
  std::vector<std::pair<void*, std::size_t>> blocks;
  for (const std::size_t bytes : {page + 1, std::size_t{1}, page, std::size_t{1}, std::size_t{8}}) {
    blocks.emplace_back(memory.allocate(bytes), bytes);
  }
  BOOST_TEST(upstream.outstanding_blocks() == 3u);
  BOOST_TEST((memory.statistics() ==
              cistern::sampling_guard_statistics{
                  .slots = 2, .slots_in_use = 2, .sampled = 2, .too_large = 1, .no_slot = 2}));
  for (const auto& [block, bytes] : blocks) memory.deallocate(block, bytes);
  BOOST_TEST(upstream.outstanding_blocks() == 0u);
  BOOST_TEST(memory.statistics().slots_quarantined == 2u);
}

BOOST_AUTO_TEST_CASE(failures_of_upstream_are_passed_on) {
  cistern::testing::failing_resource upstream;
  sampling_guard_adaptor memory({.one_in = 1, .slots = 1}, &upstream);
  void* const guarded = memory.allocate(8);
  upstream.fail_nth(1);
  BOOST_CHECK_THROW((void)memory.allocate(8), std::bad_alloc);
  const volatile std::size_t impossible = SIZE_MAX;  // volatile: g++ warns of what it sees
  BOOST_CHECK_THROW((void)memory.allocate(impossible), std::bad_alloc);
  memory.deallocate(guarded, 8);
  memory.deallocate(memory.allocate(8), 8);
}

BOOST_AUTO_TEST_CASE(misuse_of_a_guarded_block_is_told) {
  const auto with_block = [](auto misuse) {
    return [misuse] {
      sampling_guard_adaptor memory({.one_in = 1});
      misuse(memory, static_cast<char*>(memory.allocate(40, 8)));
    };
  };
  BOOST_TEST(dies_of("killed by signal 11", "overflow by 1 byte, ",
                     with_block([](auto&, char* block) { write_to(block + 40); })));
  BOOST_TEST(dies_of("killed by signal 11", "underflow by 1 byte, ", with_block([](auto& memory, char*) {
                       write_to(static_cast<char*>(memory.allocate(40)) - 1);
                     })));
  BOOST_TEST(dies_of("killed by signal 11", "use after free, at byte 39, ",
                     with_block([](auto& memory, char* block) {
                       memory.deallocate(block, 40, 8);
                       write_to(block + 39);
                     })));
  BOOST_TEST(dies_of("aborted", "double free: block ", with_block([](auto& memory, char* block) {
                       memory.deallocate(block, 40, 8);
                       memory.deallocate(block, 40, 8);
                     })));
  BOOST_TEST(dies_of("aborted", "free with the wrong size, 41 bytes: block ",
                     with_block([](auto& memory, char* block) { memory.deallocate(block, 41, 8); })));
  BOOST_TEST(dies_of("aborted", "free with the wrong alignment, 16: block ",
                     with_block([](auto& memory, char* block) { memory.deallocate(block, 40, 16); })));
  BOOST_TEST(dies_of("aborted", "at offset 8: block ",
                     with_block([](auto& memory, char* block) { memory.deallocate(block + 8, 40, 8); })));
}

BOOST_AUTO_TEST_CASE(a_fault_elsewhere_is_not_ours) {
  const auto seen = run_and_die([] {
    sampling_guard_adaptor memory({.one_in = 1});
    void* const block = memory.allocate(8);
    void* const closed = cistern::detail::reserve_pages(1);
    write_to(static_cast<char*>(closed));
    memory.deallocate(block, 8);
  });
  BOOST_TEST(seen.description == "killed by signal 11");
  BOOST_TEST(seen.stderr_text == "");
}

BOOST_AUTO_TEST_CASE(null_upstream_is_new_and_delete) {
  sampling_guard_adaptor memory;
  BOOST_TEST(memory.upstream_resource() == std::pmr::new_delete_resource());
}

BOOST_AUTO_TEST_CASE(equality_is_identity) {
  sampling_guard_adaptor one;
  sampling_guard_adaptor other;
  BOOST_TEST(one.is_equal(one));
  BOOST_TEST(!one.is_equal(other));
  BOOST_TEST(!one.is_equal(*one.upstream_resource()));
}

BOOST_AUTO_TEST_CASE(live_guarded_blocks_end_with_it) {
  for (int i = 0; i < 100; ++i) {
    sampling_guard_adaptor memory({.one_in = 1, .slots = 4'000});
    for (int j = 0; j < 10; ++j) std::memset(memory.allocate(100), j, 100);
  }
}

BOOST_AUTO_TEST_CASE(threads_may_free_each_other_s_blocks) {
  checking_resource upstream;
  sampling_guard_adaptor memory({.one_in = 4, .slots = 64}, &upstream);
  constexpr std::size_t count = 20'000;
  std::vector<std::atomic<void*>> exchange(64);
  cistern::test_support::run_threads(4, [&](std::size_t index) {
    std::mt19937 random(static_cast<unsigned>(index));
    for (std::size_t i = 0; i < count; ++i) {
      void* const mine = memory.allocate(48);
      std::memset(mine, 0x11, 48);
      void* const found = exchange[random() % exchange.size()].exchange(mine);
      if (found != nullptr) memory.deallocate(found, 48);
    }
  });
  for (auto& each : exchange) {
    if (void* const block = each.load(); block != nullptr) memory.deallocate(block, 48);
  }
  BOOST_TEST(upstream.outstanding_blocks() == 0u);
  BOOST_TEST(memory.statistics().slots_in_use == 0u);
  BOOST_TEST(memory.statistics().sampled > count / 2);
}

BOOST_AUTO_TEST_CASE(a_child_of_a_fork_frees_what_its_parent_allocated) {
  sampling_guard_adaptor memory({.one_in = 1});
  void* const block = memory.allocate(48);
  BOOST_TEST(cistern::test_support::fork_fault([&] {
               memory.deallocate(block, 48);
               memory.deallocate(memory.allocate(48), 48);
             }) == "");
  memory.deallocate(block, 48);
}
