// What no bucket serves, by itself: oversize blocks and null mode. Plan: room is made once before a refusal;
// a refusal and what upstream throws change nothing; sizes beyond any object, which upstream is asked for,
// and those that are refused without; zeros on free; find; release; statistics; threads.
#include <cistern/bad_allocation.hpp>
#include <cistern/detail/pool/unpooled_blocks.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/fail_every_allocation.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory_resource>
#include <new>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"
#include "../support/threads.hpp"
#include "../support/throwing_resource.hpp"

using cistern::pool_options;
using cistern::pool_statistics;
using cistern::detail::unpooled_blocks;
using cistern::detail::upstream_account;
using cistern::test_support::run_threads;
using cistern::testing::checking_resource;

namespace {

constexpr std::size_t mib = std::size_t{1} << 20;

struct fixture {
  explicit fixture(const pool_options& asked = {}, std::pmr::memory_resource* over = nullptr)
      : options(asked), account(over != nullptr ? over : &upstream, options.max_bytes) {}
  fixture(const fixture&) = delete;
  fixture& operator=(const fixture&) = delete;
  ~fixture() = default;

  [[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment = 16) {
    return blocks.allocate(bytes, alignment, [&] { return ++rooms_made > 0; });
  }
  [[nodiscard]] pool_statistics statistics() const {
    pool_statistics s;
    blocks.add_to(s);
    account.add_to(s);
    return s;
  }

  checking_resource upstream;
  pool_options options;
  upstream_account account;
  unpooled_blocks blocks{options, account};
  int rooms_made = 0;
};

}  // namespace

BOOST_AUTO_TEST_CASE(room_is_made_once_before_a_refusal) {
  fixture f({.max_bytes = 2 * mib});
  void* const block = f.allocate(mib);
  BOOST_TEST(f.rooms_made == 0);
  try {
    (void)f.allocate(mib + 1);
    BOOST_ERROR("beyond the limit");
  } catch (const cistern::bad_allocation& refused) {
    BOOST_TEST(std::string(refused.what()).find(std::to_string(mib + 1)) != std::string::npos);
  }
  BOOST_TEST(f.rooms_made == 1);
  BOOST_TEST(f.statistics().oversize.live_blocks == 1U);
  // Where making room helps, nothing is refused.
  void* const second = f.blocks.allocate(mib + 1, 16, [&] {
    f.blocks.deallocate(block, mib, 16);
    return true;
  });
  f.blocks.deallocate(second, mib + 1, 16);
}

BOOST_AUTO_TEST_CASE(no_object_is_larger_than_ptrdiff_max) {
  for (const bool pass_through : {false, true}) {
    fixture f({.pass_through = pass_through});
    for (const std::size_t bytes : {std::size_t{PTRDIFF_MAX} + 1, SIZE_MAX - 8, SIZE_MAX}) {
      BOOST_CHECK_THROW((void)f.allocate(bytes), cistern::bad_allocation);
    }
    BOOST_TEST(f.upstream.allocations() == 0U);
  }
}

namespace {

/// Notes what it is asked for. Throws, or gives the same few bytes for all of it.
class noting_resource final : public std::pmr::memory_resource {
 public:
  struct call {
    std::size_t bytes;
    std::size_t alignment;
    friend bool operator==(const call&, const call&) = default;
  };
  enum class answer { bad_alloc, unusual, few_bytes };

  answer says = answer::bad_alloc;
  std::vector<call> asked;
  std::vector<call> returned;

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    asked.push_back({bytes, alignment});
    if (says == answer::few_bytes) return few_bytes_;
    if (says == answer::unusual) throw cistern::test_support::unusual_error();
    throw std::bad_alloc();
  }
  void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override {
    BOOST_TEST(memory == few_bytes_);
    returned.push_back({bytes, alignment});
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  std::byte few_bytes_[64]{};
};

// What was asked for, and says how it was refused.
void require_refusal_of(fixture& f, std::size_t bytes, std::size_t alignment) {
  try {
    (void)f.allocate(bytes, alignment);
    BOOST_ERROR("not refused");
  } catch (const cistern::bad_allocation& refused) {
    BOOST_TEST(refused.requested_bytes() == bytes);
    BOOST_TEST(std::string(refused.what()).find("larger than any object can be") != std::string::npos);
  }
  BOOST_TEST(f.account.bytes() == 0U);
  BOOST_TEST(f.statistics().oversize.live_blocks == 0U);
  BOOST_TEST(f.rooms_made == 0);
}

constexpr std::size_t impossible_sizes[] = {std::size_t{PTRDIFF_MAX} + 1,
                                            SIZE_MAX / 4 * 3,
                                            SIZE_MAX - 200'000,
                                            SIZE_MAX - 8'192,
                                            SIZE_MAX - 64,
                                            SIZE_MAX - 47,
                                            SIZE_MAX - 8,
                                            SIZE_MAX};
constexpr std::size_t alignments[] = {1, 8, 16, 64, 4096, 65'536};

}  // namespace

BOOST_AUTO_TEST_CASE(upstream_is_asked_for_what_no_object_can_have) {
  for (const bool pass_through : {false, true}) {
    for (const auto says : {noting_resource::answer::bad_alloc, noting_resource::answer::few_bytes}) {
      for (const std::size_t bytes : impossible_sizes) {
        for (const std::size_t alignment : alignments) {
          noting_resource upstream;
          upstream.says = says;
          fixture f({.pass_through = pass_through}, &upstream);
          BOOST_TEST_CONTEXT(bytes << " bytes aligned to " << alignment) {
            require_refusal_of(f, bytes, alignment);
            BOOST_REQUIRE(upstream.asked.size() == 1U);
            const noting_resource::call asked = upstream.asked.front();
            const std::size_t round_up = std::max(alignment, std::size_t{4096});
            BOOST_TEST(asked.bytes >= std::min(bytes, SIZE_MAX - 2 * round_up));
            BOOST_TEST(asked.bytes + round_up > asked.bytes);  // nobody who rounds it up gets to zero
            BOOST_TEST(asked.alignment >= alignment);
            BOOST_TEST((upstream.returned == (says == noting_resource::answer::few_bytes
                                                  ? upstream.asked
                                                  : std::vector<noting_resource::call>{})));
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(the_largest_possible_sizes_are_asked_for_as_any_other) {
  for (const bool pass_through : {false, true}) {
    for (const std::size_t bytes : {std::size_t{PTRDIFF_MAX} - 1, std::size_t{PTRDIFF_MAX}}) {
      for (const std::size_t alignment : alignments) {
        noting_resource upstream;
        fixture f({.pass_through = pass_through}, &upstream);
        BOOST_CHECK_THROW((void)f.allocate(bytes, alignment), std::bad_alloc);
        BOOST_REQUIRE(upstream.asked.size() == 1U);
        BOOST_TEST(upstream.asked.front().bytes >= bytes);
        BOOST_TEST(upstream.asked.front().alignment >= alignment);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(another_exception_than_bad_alloc_passes_for_impossible_sizes_too) {
  noting_resource upstream;
  upstream.says = noting_resource::answer::unusual;
  fixture f({}, &upstream);
  BOOST_CHECK_THROW((void)f.allocate(SIZE_MAX), cistern::test_support::unusual_error);
  BOOST_TEST(f.account.bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(who_can_not_be_asked_for_impossible_sizes_is_not) {
  for (const bool pass_through : {false, true}) {
    for (const std::size_t bytes : impossible_sizes) {
      for (const std::size_t alignment : alignments) {
        noting_resource upstream;
        fixture limited({.max_bytes = SIZE_MAX - 1, .pass_through = pass_through}, &upstream);
        require_refusal_of(limited, bytes, alignment);
        BOOST_TEST(upstream.asked.empty());
        // libstdc++'s aligned form would give a small block for some of these.
        fixture over_new({.pass_through = pass_through}, std::pmr::new_delete_resource());
        require_refusal_of(over_new, bytes, alignment);
      }
    }
    noting_resource upstream;
    fixture f({.pass_through = pass_through}, &upstream);
    require_refusal_of(f, SIZE_MAX, std::size_t{1} << 62);  // rounding up to that leaves no number
    BOOST_TEST(upstream.asked.empty());
  }
}

BOOST_AUTO_TEST_CASE(a_failure_of_upstream_changes_nothing) {
  for (const bool pass_through : {false, true}) {
    checking_resource checked;
    cistern::testing::failing_resource failing(&checked);
    fixture f({.pass_through = pass_through}, &failing);
    const auto failures =
        cistern::testing::fail_every_allocation(failing,
                                                [&] {
                                                  try {
                                                    void* const block = f.allocate(mib);
                                                    f.blocks.deallocate(block, mib, 16);
                                                  } catch (...) {
                                                    BOOST_TEST(f.statistics().oversize.live_blocks == 0U);
                                                    BOOST_TEST(f.account.bytes() == 0U);
                                                    throw;
                                                  }
                                                },
                                                {.mode = cistern::testing::failure_mode::from_then_on});
    BOOST_TEST(failures.failed_runs > 0U);
  }
}

BOOST_AUTO_TEST_CASE(blocks_are_found_and_released) {
  for (const bool pass_through : {false, true}) {
    fixture f({.pass_through = pass_through});
    void* const block = f.allocate(mib, 8192);
    BOOST_TEST(reinterpret_cast<std::uintptr_t>(block) % 8192 == 0U);
    const auto found = f.blocks.find(block);
    BOOST_REQUIRE(found.has_value());
    BOOST_TEST(found->alignment == 8192U);
    int elsewhere = 0;
    BOOST_TEST(!f.blocks.find(&elsewhere).has_value());
    BOOST_TEST(f.statistics().in_use_bytes >= mib);
    f.blocks.release();
    BOOST_TEST(f.account.bytes() == 0U);
    BOOST_TEST(!f.blocks.find(block).has_value());
  }
}

BOOST_AUTO_TEST_CASE(accounts_agree_with_upstream) {
  fixture f;
  std::vector<void*> live;
  for (std::size_t i = 1; i < 20; ++i) live.push_back(f.allocate(i * 100'003));
  BOOST_TEST(cistern::test_support::accounts_fault(f.statistics(), f.upstream) == "");
  for (std::size_t i = 1; i < 20; ++i) f.blocks.deallocate(live[i - 1], i * 100'003, 16);
  BOOST_TEST(cistern::test_support::accounts_fault(f.statistics(), f.upstream) == "");
  BOOST_TEST(f.account.bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(threads_share_it) {
  for (const bool pass_through : {false, true}) {
    fixture f({.pass_through = pass_through});
    run_threads(4, [&](std::size_t thread) {
      for (std::size_t i = 0; i < 200; ++i) {
        const std::size_t bytes = 1000 * (thread + 1) + i;
        void* const block = f.allocate(bytes);
        std::memset(block, 1, bytes);
        f.blocks.deallocate(block, bytes, 16);
      }
    });
    BOOST_TEST(f.statistics().oversize.live_blocks == 0U);
    BOOST_TEST(f.statistics().oversize.allocations == 800U);
  }
}
