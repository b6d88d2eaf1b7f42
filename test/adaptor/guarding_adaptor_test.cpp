// guarding_adaptor: each kind of misuse is found, described to the byte, and survived where the handler
// returns.
#include <cistern/adaptor/guarding_adaptor.hpp>
#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <memory_resource>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/cancelling_resource.hpp"
#include "../support/conformance.hpp"
#include "../support/death.hpp"
#include "../support/guard_faults.hpp"
#include "../support/threads.hpp"
#include <sys/syscall.h>
#include <unistd.h>

using cistern::guard_fault;
using cistern::guard_report;
using cistern::guarding_adaptor;
using cistern::guarding_options;
using cistern::test_support::dies_saying;
using cistern::test_support::guard_faults;
using cistern::test_support::scribble;
using cistern::testing::checking_resource;
using cistern::testing::failing_resource;

namespace cistern {
std::ostream& operator<<(std::ostream& out, guard_fault fault) {
  return out << to_string(fault);
}
}  // namespace cistern

namespace {

struct subject : cistern::testing::conformance_subject {
  static constexpr bool thread_safe = true;
  static auto make(std::pmr::memory_resource* upstream) {
    return std::make_unique<guarding_adaptor>(upstream);
  }
};
struct no_quarantine_subject : subject {
  static auto make(std::pmr::memory_resource* upstream) {
    return std::make_unique<guarding_adaptor>(guarding_options{.canary_bytes = 100, .quarantine_bytes = 0},
                                              upstream);
  }
};
struct records_upstream_subject : subject {
  static auto make(std::pmr::memory_resource* upstream) {
    return std::make_unique<guarding_adaptor>(guarding_options{.records = upstream}, upstream);
  }
};

std::uint64_t own_thread() {
  return static_cast<std::uint64_t>(::syscall(SYS_gettid));
}

// An adaptor over a checking upstream whose faults are collected.
struct guarded {
  explicit guarded(guarding_options options = {}) : memory(with_handler(std::move(options)), &upstream) {}

  checking_resource upstream;
  guard_faults faults;
  guarding_adaptor memory;

  guarding_options with_handler(guarding_options options) {
    options.on_fault = faults.handler();
    return options;
  }
  // The one fault since the last call.
  guard_report only() {
    const auto all = faults.take();
    BOOST_REQUIRE(all.size() == 1u);
    return all.front();
  }
  void require_none() { BOOST_TEST(faults.take().empty()); }
};

}  // namespace

BOOST_AUTO_TEST_CASE(conforms) {
  cistern::test_support::require_conformance<subject>();
}
BOOST_AUTO_TEST_CASE(conforms_without_quarantine) {
  cistern::test_support::require_conformance<no_quarantine_subject>();
}
BOOST_AUTO_TEST_CASE(conforms_with_records_from_upstream) {
  cistern::test_support::require_conformance<records_upstream_subject>();
}

BOOST_AUTO_TEST_CASE(null_upstream_is_new_and_delete) {
  guarding_adaptor memory;
  BOOST_TEST(memory.upstream_resource() == std::pmr::new_delete_resource());
  memory.deallocate(memory.allocate(5), 5);
}

BOOST_AUTO_TEST_CASE(a_write_behind_a_block_is_found_when_it_is_freed) {
  guarded g;
  for (const std::size_t bytes : {0u, 1u, 7u, 8u, 13u, 1000u}) {
    for (const std::size_t behind : {0u, 1u, 7u, 15u}) {
      void* const block = g.memory.allocate(bytes, 8);
      scribble(block, static_cast<std::ptrdiff_t>(bytes + behind), 0);
      g.memory.deallocate(block, bytes, 8);
      const guard_report fault = g.only();
      BOOST_TEST(fault.fault == guard_fault::overrun);
      BOOST_TEST(fault.block.ptr == block);
      BOOST_TEST(fault.block.bytes == bytes);
      BOOST_TEST(fault.block.alignment == 8u);
      BOOST_TEST(fault.block.sequence == g.memory.allocations());
      BOOST_TEST(fault.block.allocating_thread == own_thread());
      BOOST_TEST(fault.thread == own_thread());
      BOOST_TEST(fault.offset == static_cast<std::ptrdiff_t>(bytes + behind));
      BOOST_TEST(fault.changed_bytes == 1u);
      BOOST_TEST((fault.found == std::byte{0}));
      BOOST_TEST((fault.expected != std::byte{0}));
    }
  }
  g.memory.flush_quarantine();
  g.require_none();  // Each is reported once.
}

BOOST_AUTO_TEST_CASE(a_write_in_front_of_a_block_is_found_whatever_its_alignment) {
  guarded g;
  for (std::size_t alignment = 1; alignment <= 65536; alignment *= 2) {
    for (const std::ptrdiff_t offset : {-1, -8, -16}) {
      void* const block = g.memory.allocate(10, alignment);
      BOOST_TEST(reinterpret_cast<std::uintptr_t>(block) % alignment == 0u);
      scribble(block, offset, 'x');
      g.memory.deallocate(block, 10, alignment);
      const guard_report fault = g.only();
      BOOST_TEST(fault.fault == guard_fault::underrun);
      BOOST_TEST(fault.offset == offset);
      BOOST_TEST((fault.found == std::byte{'x'}));
    }
  }
}

BOOST_AUTO_TEST_CASE(wider_canaries_see_further) {
  guarded g({.canary_bytes = 1000});
  void* const block = g.memory.allocate(10);
  for (int i = 0; i < 5; ++i) scribble(block, 10 + 995 + i, 1);
  g.memory.deallocate(block, 10);
  const guard_report fault = g.only();
  BOOST_TEST(fault.offset == 1005);
  BOOST_TEST(fault.changed_bytes == 5u);
}

BOOST_AUTO_TEST_CASE(both_sides_at_once_are_two_reports) {
  guarded g;
  void* const block = g.memory.allocate(10);
  scribble(block, -1, 1);
  scribble(block, 10, 1);
  g.memory.deallocate(block, 10);
  const auto all = g.faults.take();
  BOOST_REQUIRE(all.size() == 2u);
  BOOST_TEST(all[0].fault == guard_fault::underrun);
  BOOST_TEST(all[1].fault == guard_fault::overrun);
  BOOST_TEST(g.memory.faults() == 2u);
}

BOOST_AUTO_TEST_CASE(a_copy_of_a_neighbours_canary_is_damage) {
  guarded g;
  auto* const one = static_cast<char*>(g.memory.allocate(16));
  auto* const other = static_cast<char*>(g.memory.allocate(16));
  for (int i = 0; i < 16; ++i) {
    scribble(
        one, 16 + i, [&]() __attribute__((no_sanitize_address)) { return other[16 + i]; }());
  }
  g.memory.deallocate(one, 16);
  BOOST_TEST(g.only().fault == guard_fault::overrun);
  g.memory.deallocate(other, 16);
}

BOOST_AUTO_TEST_CASE(a_second_free_is_found_and_ignored) {
  guarded g;
  void* const block = g.memory.allocate(24, 8);
  g.memory.deallocate(block, 24, 8);
  g.memory.deallocate(block, 24, 8);
  const guard_report fault = g.only();
  BOOST_TEST(fault.fault == guard_fault::double_free);
  BOOST_TEST(fault.block.ptr == block);
  BOOST_TEST(fault.block.bytes == 24u);
  BOOST_TEST(fault.block.freeing_thread == own_thread());
  BOOST_TEST(fault.stated_ptr == block);
  BOOST_TEST(g.memory.outstanding_blocks() == 0u);
}

BOOST_AUTO_TEST_CASE(a_wrong_size_and_a_wrong_alignment_are_found_and_put_right) {
  guarded g;
  void* block = g.memory.allocate(24, 8);
  g.memory.deallocate(block, 25, 8);
  guard_report fault = g.only();
  BOOST_TEST(fault.fault == guard_fault::wrong_size);
  BOOST_TEST(fault.block.bytes == 24u);
  BOOST_TEST(fault.stated_bytes == 25u);
  block = g.memory.allocate(24, 8);
  g.memory.deallocate(block, 24, 16);
  fault = g.only();
  BOOST_TEST(fault.fault == guard_fault::wrong_alignment);
  BOOST_TEST(fault.block.alignment == 8u);
  BOOST_TEST(fault.stated_alignment == 16u);
  g.memory.flush_quarantine();
  BOOST_TEST(g.upstream.outstanding_blocks() == 0u);
}

BOOST_AUTO_TEST_CASE(a_foreign_pointer_is_found_and_ignored) {
  guarded g;
  int elsewhere = 0;
  g.memory.deallocate(&elsewhere, 4, 4);
  guard_report fault = g.only();
  BOOST_TEST(fault.fault == guard_fault::foreign_pointer);
  BOOST_TEST(fault.stated_ptr == &elsewhere);
  BOOST_TEST((fault.block.ptr == nullptr));

  void* const block = g.memory.allocate(100);
  g.memory.deallocate(static_cast<char*>(block) + 40, 60);
  fault = g.only();
  BOOST_TEST(fault.fault == guard_fault::foreign_pointer);
  BOOST_TEST(fault.block.ptr == block);
  BOOST_TEST(fault.offset == 40);
  g.memory.deallocate(block, 100);
  g.require_none();
}

BOOST_AUTO_TEST_CASE(a_bad_alignment_is_found_and_refused) {
  guarded g;
  for (const std::size_t alignment : {0u, 3u, 24u}) {
    BOOST_CHECK_THROW((void)g.memory.allocate(8, alignment), std::bad_alloc);
    const guard_report fault = g.only();
    BOOST_TEST(fault.fault == guard_fault::bad_alignment);
    BOOST_TEST(fault.stated_alignment == alignment);
    BOOST_TEST(fault.stated_bytes == 8u);
  }
}

BOOST_AUTO_TEST_CASE(a_write_after_free_is_found_when_the_block_leaves_the_quarantine) {
  guarded g({.quarantine_bytes = 1000});
  void* const block = g.memory.allocate(100);
  g.memory.deallocate(block, 100);
  scribble(block, 99, 'z');
  scribble(block, 42, 'z');
  g.require_none();
  for (int i = 0; i < 20; ++i) g.memory.deallocate(g.memory.allocate(100), 100);
  const guard_report fault = g.only();
  BOOST_TEST(fault.fault == guard_fault::use_after_free);
  BOOST_TEST(fault.block.ptr == block);
  BOOST_TEST(fault.block.sequence == 1u);
  BOOST_TEST(fault.offset == 42);
  BOOST_TEST(fault.changed_bytes == 2u);
  BOOST_TEST((fault.expected == std::byte{0xDD}));
  BOOST_TEST((fault.found == std::byte{'z'}));
}

BOOST_AUTO_TEST_CASE(check_finds_damage_at_once_and_reports_each_block_once) {
  guarded g;
  void* const live = g.memory.allocate(10);
  void* const freed = g.memory.allocate(10);
  g.memory.deallocate(freed, 10);
  BOOST_TEST(g.memory.check() == 0u);
  scribble(live, 10, 1);
  scribble(freed, 0, 1);
  BOOST_TEST(g.memory.check() == 2u);
  auto all = g.faults.take();
  BOOST_REQUIRE(all.size() == 2u);
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.fault < b.fault; });
  BOOST_TEST(all[0].fault == guard_fault::overrun);
  BOOST_TEST(all[0].block.ptr == live);
  BOOST_TEST(all[1].fault == guard_fault::use_after_free);
  BOOST_TEST(all[1].block.ptr == freed);
  BOOST_TEST(g.memory.check() == 0u);
  g.memory.deallocate(live, 10);
  g.memory.flush_quarantine();
  g.require_none();
}

BOOST_AUTO_TEST_CASE(the_quarantine_holds_what_it_may_and_the_oldest_leave_first) {
  guarded g({.quarantine_bytes = 500});
  std::vector<void*> freed;
  for (int i = 0; i < 50; ++i) {
    freed.push_back(g.memory.allocate(60));
    g.memory.deallocate(freed.back(), 60);
    BOOST_TEST(g.memory.quarantined_bytes() <= 500u);
    BOOST_TEST(g.upstream.outstanding_bytes() == g.memory.quarantined_bytes());
  }
  BOOST_TEST(g.memory.quarantined_bytes() > 350u);
  g.memory.deallocate(freed.back(), 60);
  BOOST_TEST(g.only().fault == guard_fault::double_free);
  const std::size_t held_bytes = g.memory.quarantined_bytes();
  void* const large = g.memory.allocate(1000);  // Too large to be kept: it drives nothing out.
  g.memory.deallocate(large, 1000);
  BOOST_TEST(g.memory.quarantined_bytes() == held_bytes);
  g.memory.flush_quarantine();
  BOOST_TEST(g.memory.quarantined_bytes() == 0u);
  BOOST_TEST(g.upstream.outstanding_blocks() == 0u);
  g.require_none();
}

BOOST_AUTO_TEST_CASE(a_quarantined_block_is_not_given_out_again) {
  guarded g;
  void* const first = g.memory.allocate(64);
  g.memory.deallocate(first, 64);
  for (int i = 0; i < 100; ++i) {
    void* const next = g.memory.allocate(64);
    BOOST_TEST(next != first);
    g.memory.deallocate(next, 64);
  }
}

BOOST_AUTO_TEST_CASE(outstanding_blocks_are_listed_oldest_first) {
  guarded g;
  std::vector<void*> blocks;
  for (std::size_t i = 1; i <= 50; ++i) blocks.push_back(g.memory.allocate(i, 8));
  for (std::size_t i = 0; i < 50; i += 2) g.memory.deallocate(blocks[i], i + 1, 8);
  const auto live = g.memory.outstanding();
  BOOST_REQUIRE(live.size() == 25u);
  BOOST_TEST(g.memory.outstanding_blocks() == 25u);
  BOOST_TEST(g.memory.outstanding_bytes() == 650u);
  for (std::size_t i = 0; i < live.size(); ++i) {
    BOOST_TEST(live[i].ptr == blocks[2 * i + 1]);
    BOOST_TEST(live[i].bytes == 2 * i + 2);
    BOOST_TEST(live[i].sequence == 2 * i + 2);
    BOOST_TEST(live[i].freeing_thread == 0u);
  }
  for (std::size_t i = 1; i < 50; i += 2) g.memory.deallocate(blocks[i], i + 1, 8);
  BOOST_TEST(g.memory.outstanding().empty());
}

BOOST_AUTO_TEST_CASE(leaks_are_reported_at_destruction_and_given_back) {
  checking_resource upstream;
  guard_faults faults;
  {
    guarding_adaptor memory({.on_fault = faults.handler()}, &upstream);
    memory.deallocate(memory.allocate(5), 5);
    (void)memory.allocate(100, 32);
    (void)memory.allocate(20);
  }
  const auto all = faults.take();
  BOOST_REQUIRE(all.size() == 1u);
  BOOST_TEST(all[0].fault == guard_fault::leak);
  BOOST_TEST(all[0].leaked_blocks == 2u);
  BOOST_TEST(all[0].leaked_bytes == 120u);
  BOOST_TEST(all[0].block.sequence == 2u);
  BOOST_TEST(all[0].block.bytes == 100u);
  BOOST_TEST(upstream.outstanding_blocks() == 0u);
}

BOOST_AUTO_TEST_CASE(destruction_checks_what_is_live_and_what_is_in_quarantine) {
  guard_faults faults;
  {
    guarding_adaptor memory({.on_fault = faults.handler()});
    scribble(memory.allocate(8), 8, 1);
    void* const freed = memory.allocate(8);
    memory.deallocate(freed, 8);
    scribble(freed, 3, 1);
  }
  const auto all = faults.take();
  BOOST_REQUIRE(all.size() == 3u);
  BOOST_TEST(all[0].fault == guard_fault::use_after_free);
  BOOST_TEST(all[1].fault == guard_fault::overrun);
  BOOST_TEST(all[2].fault == guard_fault::leak);
}

BOOST_AUTO_TEST_CASE(the_quarantine_is_given_up_before_memory_runs_out) {
  checking_resource upstream;
  cistern::limit_adaptor limited(10'000, &upstream);
  guarding_adaptor memory(&limited);
  for (int i = 0; i < 100; ++i) memory.deallocate(memory.allocate(4'000), 4'000);
  BOOST_CHECK_THROW((void)memory.allocate(20'000), std::bad_alloc);
  BOOST_TEST(memory.quarantined_bytes() == 0u);
}

BOOST_AUTO_TEST_CASE(whichever_allocation_fails_nothing_is_changed) {
  checking_resource checked;
  failing_resource upstream(&checked);
  guard_faults faults;
  // A full life, since the table of records keeps its buckets.
  const auto result = cistern::testing::fail_every_allocation(
      upstream,
      [&] {
        guarding_adaptor memory({.quarantine_bytes = 0, .records = &upstream, .on_fault = faults.handler()},
                                &upstream);
        std::vector<void*> blocks;
        try {
          for (std::size_t i = 0; i < 50; ++i) blocks.push_back(memory.allocate(i, 16));
        } catch (const std::bad_alloc&) {
          BOOST_TEST(memory.outstanding_blocks() == blocks.size());
          BOOST_TEST(memory.allocations() == blocks.size());
          for (std::size_t i = 0; i < blocks.size(); ++i) memory.deallocate(blocks[i], i, 16);
          throw;
        }
        for (std::size_t i = 0; i < blocks.size(); ++i) memory.deallocate(blocks[i], i, 16);
      },
      [&](std::uint64_t) { BOOST_TEST(checked.outstanding_blocks() == 0u); });
  BOOST_TEST(result.failed_runs > 100u);  // Block and record of each.
  BOOST_TEST(faults.take().empty());
}

BOOST_AUTO_TEST_CASE(sizes_near_the_largest_number_are_refused) {
  guarded g;
  for (std::size_t below = 0; below < 200; ++below) {
    BOOST_CHECK_THROW((void)g.memory.allocate(SIZE_MAX - below), std::bad_alloc);
  }
  const volatile std::size_t largest_alignment = std::size_t{1} << 63;  // More than compilers believe in.
  BOOST_CHECK_THROW((void)g.memory.allocate(8, largest_alignment), std::bad_alloc);
  BOOST_TEST(g.memory.outstanding_blocks() == 0u);
  g.require_none();
}

// --- The words ---

BOOST_AUTO_TEST_CASE(by_default_a_fault_is_printed_and_ends_the_program) {
  BOOST_TEST(dies_saying("guarding_adaptor: write behind a block: block", [] {
    guarding_adaptor memory;
    void* const block = memory.allocate(10);
    scribble(block, 10, 1);
    memory.deallocate(block, 10);
  }));
  BOOST_TEST(dies_saying("double free", [] {
    guarding_adaptor memory;
    void* const block = memory.allocate(10);
    memory.deallocate(block, 10);
    memory.deallocate(block, 10);
  }));
  BOOST_TEST(dies_saying("free with the wrong size", [] {
    guarding_adaptor memory;
    memory.deallocate(memory.allocate(10), 11);
  }));
  BOOST_TEST(dies_saying("free with the wrong alignment", [] {
    guarding_adaptor memory;
    memory.deallocate(memory.allocate(10, 8), 10, 4);
  }));
  BOOST_TEST(dies_saying("free of a foreign pointer", [] {
    guarding_adaptor memory;
    char block[8];
    memory.deallocate(block, 8);
  }));
  BOOST_TEST(dies_saying("write to a freed block", [] {
    guarding_adaptor memory;
    void* const block = memory.allocate(10);
    memory.deallocate(block, 10);
    scribble(block, 5, 1);
    (void)memory.check();
  }));
  BOOST_TEST(dies_saying("leak: 1 block of 10 bytes in all never freed", [] {
    guarding_adaptor memory;
    (void)memory.allocate(10);
  }));
}

BOOST_AUTO_TEST_CASE(an_empty_handler_is_refused) {
  if constexpr (cistern::detail::checked_build) {
    BOOST_TEST(dies_saying("needs a handler", [] { guarding_adaptor memory({.on_fault = nullptr}); }));
  }
}

BOOST_AUTO_TEST_CASE(address_sanitizer_sees_reads_of_canaries_and_of_freed_blocks) {
  if constexpr (cistern::detail::asan_build) {
    const auto text_of_read = [](std::ptrdiff_t offset, bool freed) {
      return cistern::test_support::run_and_die([=] {
               guarding_adaptor memory;
               auto* volatile block = static_cast<volatile char*>(memory.allocate(16));
               if (freed) memory.deallocate(const_cast<char*>(block), 16);
               (void)block[offset];
             })
          .stderr_text;
    };
    for (const std::ptrdiff_t offset : {-1, 16}) {
      BOOST_TEST(text_of_read(offset, false).find("use-after-poison") != std::string::npos);
    }
    BOOST_TEST(text_of_read(0, true).find("use-after-poison") != std::string::npos);
  }
}

// --- Threads ---

BOOST_AUTO_TEST_CASE(threads_that_free_each_others_blocks_while_another_checks) {
  checking_resource upstream;
  guard_faults faults;
  guarding_adaptor memory({.quarantine_bytes = 20'000, .on_fault = faults.handler()}, &upstream);
  constexpr std::size_t threads = 3;
  constexpr int rounds = 2'000;
  std::vector<std::vector<void*>> made(threads);
  std::atomic<std::size_t> done{0};
  std::atomic<std::size_t> steps{0};
  for (int phase = 0; phase < 2; ++phase) {
    done = 0;
    cistern::test_support::run_threads(threads + 1, [&](std::size_t index) {
      if (index == threads) {
        // A check now and then: one after the other would leave the lock to hardly anybody else.
        for (std::size_t seen = steps; done != threads; seen = steps) {
          (void)memory.check();
          while (done != threads && steps < seen + rounds / 20) std::this_thread::yield();
        }
        return;
      }
      if (phase == 0) {
        for (int i = 0; i < rounds; ++i) {
          made[index].push_back(memory.allocate(40));
          std::memset(made[index].back(), i, 40);
          memory.deallocate(memory.allocate(100), 100);
          ++steps;
        }
      } else {
        for (void* const block : made[(index + 1) % threads]) {
          memory.deallocate(block, 40);
          ++steps;
        }
      }
      ++done;
    });
  }
  BOOST_TEST(faults.take().empty());
  BOOST_TEST(memory.outstanding_blocks() == 0u);
  BOOST_TEST(memory.allocations() == threads * rounds * 2);
}

BOOST_AUTO_TEST_CASE(of_threads_that_free_one_block_one_wins) {
  guarded g;
  for (int round = 0; round < 200; ++round) {
    void* const block = g.memory.allocate(40);
    cistern::test_support::run_threads(2, [&](std::size_t) { g.memory.deallocate(block, 40); });
    BOOST_TEST(g.only().fault == guard_fault::double_free);
  }
}

BOOST_AUTO_TEST_CASE(reports_know_the_threads) {
  guarded g;
  std::uint64_t maker = 0;
  void* block = nullptr;
  cistern::test_support::run_thread([&] {
    maker = own_thread();
    block = g.memory.allocate(8);
  });
  g.memory.deallocate(block, 9);
  const guard_report fault = g.only();
  BOOST_TEST(fault.block.allocating_thread == maker);
  BOOST_TEST(fault.thread == own_thread());
  BOOST_TEST(maker != own_thread());
}

BOOST_AUTO_TEST_CASE(the_child_of_a_fork_has_a_number_of_its_own) {
  guarding_adaptor warm;  // So that this thread's number is known.
  warm.deallocate(warm.allocate(1), 1);
  const std::uint64_t parent = own_thread();
  const auto end = cistern::test_support::run_and_die([parent] {
    guarding_adaptor memory;
    void* const block = memory.allocate(1);
    const auto live = memory.outstanding();
    const bool own = live.at(0).allocating_thread == own_thread() && own_thread() != parent;
    memory.deallocate(block, 1);
    if (own) std::abort();
  });
  BOOST_TEST(end.aborted);
}

BOOST_AUTO_TEST_CASE(a_thread_that_is_cancelled_where_the_records_are_loses_nothing) {
  const auto calls = cistern::test_support::cancel_in_every_call([](std::pmr::memory_resource* records) {
    guarding_adaptor guard({.records = records});
    std::pmr::vector<std::pmr::vector<char>> many(100, &guard);
    for (auto& one : many) one.assign(300, 'x');
  });
  BOOST_TEST(calls > 202U);
}
