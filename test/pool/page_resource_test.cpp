// Pages from the system: the suite for every resource, alignment, failure, and use outside of main.
#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/bad_allocation.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/environment.hpp>
#include <cistern/detail/base/os_pages.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/no_limit.hpp>
#include <cistern/page_resource.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/resource_conformance.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <memory_resource>
#include <string>
#include <tuple>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"
#include "../support/sanitizers.hpp"
#include "../support/zeros.hpp"
#include <sys/resource.h>
#include <unistd.h>

using cistern::page_resource;
using cistern::pages;
using cistern::detail::page_bytes;
using cistern::test_support::is_zero;

namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = kib * kib;

struct suite_subject : cistern::testing::conformance_subject {
  static constexpr bool uses_upstream = false;
  static constexpr bool thread_safe = true;
  static constexpr bool identity_equality = false;
  static auto make(std::pmr::memory_resource*) { return std::make_unique<page_resource>(); }
};

// Uses the pages before main and after it.
struct early_and_late {
  early_and_late() : block(pages()->allocate(10 * kib)) { std::memset(block, 1, 10 * kib); }
  ~early_and_late() {
    if (static_cast<unsigned char*>(block)[10 * kib - 1] != 1) std::abort();
    pages()->deallocate(block, 10 * kib);
  }
  early_and_late(const early_and_late&) = delete;
  early_and_late& operator=(const early_and_late&) = delete;
  void* block;
} used_outside_of_main;

using pools = std::tuple<cistern::unsynchronized_pool_resource, cistern::synchronized_pool_resource>;

// Blocks that are pages of their own; every other one is free again, between two that are in use.
template <class Pool>
struct scattered {
  static constexpr std::size_t block_bytes = 512 * kib;
  static constexpr std::size_t pairs = 8;

  explicit scattered(const cistern::pool_options& options, std::pmr::memory_resource* upstream)
      : pool(options, upstream) {
    for (void*& block : kept) {
      block = filled(1);
      gone.push_back(filled(2));
    }
    for (void* const block : gone) pool.deallocate(block, block_bytes);
  }

  void* filled(int value) { return std::memset(pool.allocate(block_bytes), value, block_bytes); }
  [[nodiscard]] std::size_t discarded_bytes() const { return pool.statistics().discarded_bytes; }
  // Memory that the system got back reads as zero when it is used again.
  [[nodiscard]] std::size_t zero_blocks() {
    std::size_t zeros = 0;
    for (std::size_t i = 0; i < pairs; ++i) zeros += is_zero(pool.allocate(block_bytes), block_bytes) ? 1 : 0;
    return zeros;
  }

  Pool pool;
  std::vector<void*> kept = std::vector<void*>(pairs);
  std::vector<void*> gone;
};

}  // namespace

BOOST_AUTO_TEST_CASE(suite) {
  for (const std::string& failure : cistern::testing::conformance_failures<suite_subject>()) {
    BOOST_ERROR(failure);
  }
  BOOST_TEST(cistern::testing::resource_conformance<suite_subject>::cases().size() >= 6u);
}

BOOST_AUTO_TEST_CASE(any_page_resource_equals_any_other) {
  page_resource one;
  page_resource other;
  BOOST_TEST((one == other));
  BOOST_TEST((one == *pages()));
  BOOST_TEST((one != *std::pmr::new_delete_resource()));
  other.deallocate(one.allocate(5000), 5000);
}

BOOST_AUTO_TEST_CASE(any_power_of_two_is_an_alignment) {
  for (std::size_t alignment = 1; alignment <= 64 * mib; alignment *= 2) {
    for (const std::size_t bytes : {std::size_t{1}, 5 * kib, 3 * mib}) {
      std::vector<void*> blocks;
      for (int i = 0; i < 3; ++i) {  // The first may be aligned by chance.
        blocks.push_back(pages()->allocate(bytes, alignment));
        BOOST_TEST(reinterpret_cast<std::uintptr_t>(blocks.back()) % alignment == 0u);
        static_cast<char*>(blocks.back())[0] = 1;
        static_cast<char*>(blocks.back())[bytes - 1] = 1;
      }
      for (void* block : blocks) pages()->deallocate(block, bytes, alignment);
    }
  }
}

BOOST_AUTO_TEST_CASE(pages_read_as_zero) {
  for (int round = 0; round < 3; ++round) {
    for (const std::size_t bytes : {std::size_t{1}, 4 * kib, 100 * kib, 2 * mib, 5 * mib}) {
      void* block = pages()->allocate(bytes);
      BOOST_TEST(is_zero(block, bytes));
      std::memset(block, 0xff, bytes);
      pages()->deallocate(block, bytes);
    }
  }
}

BOOST_AUTO_TEST_CASE(what_is_held_is_counted_in_whole_pages) {
  const std::size_t before = page_resource::held_bytes();
  const std::size_t page = cistern::detail::os_page_bytes();
  void* none = pages()->allocate(0);
  BOOST_TEST(page_resource::held_bytes() == before + page);
  void* two = pages()->allocate(page + 1, 8 * page);
  BOOST_TEST(page_resource::held_bytes() == before + 3 * page);
  pages()->deallocate(two, page + 1, 8 * page);
  pages()->deallocate(none, 0);
  BOOST_TEST(page_resource::held_bytes() == before);
}

// What the system says of the mapping that an address lies in: flags of two letters.
[[nodiscard]] std::string mapping_flags(const void* address) {
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      const auto wanted = reinterpret_cast<std::uintptr_t>(address);
      inside = begin <= wanted && wanted < end;
    } else if (inside && line.rfind("VmFlags:", 0) == 0) {
      return line + " ";
    }
  }
  return {};
}

BOOST_AUTO_TEST_CASE(huge_pages_are_asked_for_where_they_are_welcome) {
  page_resource welcoming(cistern::huge_pages::welcome);
  void* const large = welcoming.allocate(4 * mib, 8);
  BOOST_TEST(reinterpret_cast<std::uintptr_t>(large) % cistern::detail::huge_page_bytes == 0u);
  page_resource silent;
  void* const unasked = silent.allocate(4 * mib, 8);
  BOOST_TEST(mapping_flags(unasked).find(" hg ") == std::string::npos);
  if (const std::string flags = mapping_flags(large); !flags.empty()) {  // the kernel tells
    BOOST_TEST(flags.find(" hg ") != std::string::npos);
  }
  // Any of them frees what another one allocated.
  pages()->deallocate(large, 4 * mib, 8);
  welcoming.deallocate(unasked, 4 * mib, 8);
  BOOST_TEST(welcoming.is_equal(*pages()));
}

// Run once more with the variable set.
BOOST_AUTO_TEST_CASE(huge_pages_of_all_are_for_the_environment_to_say) {
  const bool welcome = cistern::detail::environment_says_huge_pages();
  void* const large = pages()->allocate(4 * mib, 8);
  if (const std::string flags = mapping_flags(large); !flags.empty()) {
    BOOST_TEST((flags.find(" hg ") != std::string::npos) == welcome);
  }
  pages()->deallocate(large, 4 * mib, 8);
}

BOOST_AUTO_TEST_CASE(errno_survives) {
  errno = EDOM;
  pages()->deallocate(pages()->allocate(10, 1 * mib), 10, 1 * mib);
  BOOST_CHECK_THROW((void)pages()->allocate(PTRDIFF_MAX), cistern::bad_allocation);
  BOOST_TEST(errno == EDOM);
}

BOOST_AUTO_TEST_CASE(a_refusal_says_what_was_asked_and_what_is_held) {
  const std::size_t held = page_resource::held_bytes();
  for (const std::size_t bytes : {SIZE_MAX, SIZE_MAX - 4095, SIZE_MAX / 2 + 1, SIZE_MAX / 2}) {
    for (const std::size_t alignment : {std::size_t{1}, 4 * kib, 1 * mib, std::size_t{1} << 62}) {
      try {
        (void)pages()->allocate(bytes, alignment);
        BOOST_ERROR("not refused");
      } catch (const cistern::bad_allocation& error) {
        BOOST_TEST(error.requested_bytes() == bytes);
        BOOST_TEST(std::string(error.what()).find(std::to_string(bytes) + " bytes requested") !=
                   std::string::npos);
      }
    }
  }
  BOOST_TEST(page_resource::held_bytes() == held);
}

// Sanitizers need the address space themselves.
BOOST_AUTO_TEST_CASE(the_limit_on_the_address_space_is_named,
                     *boost::unit_test::enable_if<!cistern::test_support::sanitized>()) {
  const auto death = cistern::test_support::run_and_die([] {
    constexpr std::size_t limit = std::size_t{1} << 30;
    const rlimit one_gib{limit, limit};
    if (::setrlimit(RLIMIT_AS, &one_gib) != 0) ::_exit(10);
    try {
      (void)pages()->allocate(2 * limit);
      ::_exit(11);
    } catch (const cistern::bad_allocation& error) {
      ::_exit(std::strstr(error.what(), "limit 1073741824") != nullptr ? 0 : 12);
    }
  });
  BOOST_TEST(death.description == "exited with 0");
}

BOOST_AUTO_TEST_CASE(a_pool_works_over_pages) {
  const std::size_t held = page_resource::held_bytes();
  {
    cistern::unsynchronized_pool_resource pool(pages());
    std::pmr::vector<std::pmr::string> words(&pool);
    for (int i = 0; i < 10'000; ++i) words.emplace_back("a word that is too long to be stored in the string");
    BOOST_TEST(page_resource::held_bytes() > held);
  }
  BOOST_TEST(page_resource::held_bytes() == held);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_trim_gives_the_system_what_lies_between_blocks, Pool, pools) {
  scattered<Pool> f({}, pages());
  BOOST_TEST(f.discarded_bytes() == 0U);
  f.pool.trim();
  const cistern::pool_statistics after = f.pool.statistics();
  BOOST_TEST(after.discarded_bytes > 0U);
  BOOST_TEST(after.discarded_bytes + after.given_back_trim_bytes >= f.pairs * f.block_bytes);
  f.pool.check_invariants();
  for (const void* block : f.kept) BOOST_TEST(static_cast<const char*>(block)[f.block_bytes - 1] == 1);
  BOOST_TEST(f.zero_blocks() == f.pairs);
}

// Of small blocks few stay, and hold their spans; but no page of them without a survivor. Memory from new is
// the system's in the end, too.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_trim_takes_pages_away_between_survivors, Pool, pools) {
  constexpr std::size_t survive_each = 500;
  for (std::pmr::memory_resource* const upstream :
       {static_cast<std::pmr::memory_resource*>(pages()), std::pmr::new_delete_resource()}) {
    for (const std::size_t block_bytes : {std::size_t{112}, std::size_t{1'000}, 5 * kib}) {
      BOOST_TEST_INFO(block_bytes << " bytes");
      Pool pool(upstream);
      std::vector<unsigned char*> blocks(8 * mib / block_bytes);
      for (unsigned char*& block : blocks) {
        block = static_cast<unsigned char*>(std::memset(pool.allocate(block_bytes), 1, block_bytes));
      }
      std::size_t survivors = 0;
      for (std::size_t i = 0; i < blocks.size(); ++i) {
        if (i % survive_each == 0) {
          ++survivors;
        } else {
          pool.deallocate(blocks[i], block_bytes);
        }
      }
      pool.trim();
      pool.check_invariants();
      const cistern::pool_statistics after = pool.statistics();
      const std::size_t most_resident_bytes = survivors * (block_bytes + 2 * page_bytes) + 64 * kib;
      BOOST_TEST(after.in_use_bytes + after.idle_bytes - after.discarded_bytes <= most_resident_bytes);
      pool.trim();
      BOOST_TEST(pool.statistics().discarded_bytes == after.discarded_bytes);  // no page twice
      for (std::size_t i = 0; i < blocks.size(); ++i) {
        if (i % survive_each != 0) blocks[i] = static_cast<unsigned char*>(pool.allocate(block_bytes));
        if (i % survive_each != 0) std::memset(blocks[i], 2, block_bytes);
      }
      for (std::size_t i = 0; i < blocks.size(); i += survive_each) {
        BOOST_REQUIRE(
            std::all_of(blocks[i], blocks[i] + block_bytes, [](unsigned char b) { return b == 1; }));
      }
      pool.check_invariants();
      for (std::size_t i = 0; i < blocks.size(); ++i) pool.deallocate(blocks[i], block_bytes);
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_pool_in_use_gives_the_system_what_lies_between_blocks, Pool, pools) {
  constexpr int most_rounds = 10'000;
  scattered<Pool> f({.max_idle_bytes = 4 * mib, .thread_cache_bytes = 0}, pages());
  std::vector<void*> blocks(1000);
  // One may stay at hand, and the small blocks take a span.
  const std::size_t expected_bytes = (f.pairs - 1) * f.block_bytes - 64 * kib;
  for (int round = 0; round < most_rounds && f.discarded_bytes() < expected_bytes; ++round) {
    for (void*& block : blocks) block = f.pool.allocate(48);
    for (void* block : blocks) f.pool.deallocate(block, 48);
  }
  BOOST_TEST(f.discarded_bytes() >= expected_bytes);
  f.pool.check_invariants();
}

BOOST_AUTO_TEST_CASE_TEMPLATE(behind_an_adaptor_nothing_is_discarded, Pool, pools) {
  cistern::limit_adaptor limit(cistern::no_limit, pages());
  scattered<Pool> f({}, &limit);
  f.pool.trim();
  BOOST_TEST(f.discarded_bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(an_alignment_must_be_a_power_of_two) {
  if constexpr (cistern::detail::checked_build) {
    const volatile std::size_t odd = 3;  // not known when compiling: compilers warn of a literal
    BOOST_TEST(cistern::test_support::dies_saying("alignment is not a power of two",
                                                  [&] { (void)pages()->allocate(10, odd); }));
  }
}
