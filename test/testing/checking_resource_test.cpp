// checking_resource keeps exact accounts and sees each fault it names.
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"

using cistern::testing::checking_resource;
using cistern::testing::collect_into;
using cistern::testing::memory_error;
using cistern::testing::memory_fault;

BOOST_TEST_DONT_PRINT_LOG_VALUE(memory_fault)

namespace {

// Hands out whatever addresses it is told to.
class scripted_resource : public std::pmr::memory_resource {
 public:
  std::vector<void*> answers;
  std::vector<std::size_t> freed_bytes;
  std::vector<std::size_t> freed_alignments;

 private:
  void* do_allocate(std::size_t, std::size_t) override {
    void* const answer = answers.front();
    answers.erase(answers.begin());
    return answer;
  }
  void do_deallocate(void*, std::size_t bytes, std::size_t alignment) override {
    freed_bytes.push_back(bytes);
    freed_alignments.push_back(alignment);
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }
};

struct collecting {
  std::vector<memory_error> errors;
  scripted_resource upstream;
  alignas(64) std::array<std::byte, 256> storage{};
  checking_resource resource{&upstream, collect_into(errors)};
};

}  // namespace

BOOST_AUTO_TEST_CASE(accounts_are_exact) {
  checking_resource resource;
  BOOST_TEST(resource.largest_alignment() == 0u);
  void* const a = resource.allocate(100, 8);
  void* const b = resource.allocate(50, 256);
  BOOST_TEST(resource.outstanding_bytes() == 150u);
  BOOST_TEST(resource.outstanding_blocks() == 2u);
  resource.deallocate(a, 100, 8);
  void* const c = resource.allocate(1, 1);
  BOOST_TEST(resource.outstanding_bytes() == 51u);
  BOOST_TEST(resource.peak_bytes() == 150u);
  BOOST_TEST(resource.allocations() == 3u);
  BOOST_TEST(resource.deallocations() == 1u);
  BOOST_TEST(resource.allocated_bytes() == 151u);
  BOOST_TEST(resource.largest_alignment() == 256u);
  BOOST_TEST(resource.largest_request_bytes() == 100u);
  resource.reset_peak();
  BOOST_TEST(resource.peak_bytes() == 51u);
  resource.deallocate(b, 50, 256);
  resource.deallocate(c, 1, 1);
  BOOST_TEST(resource.outstanding_blocks() == 0u);
  BOOST_TEST(resource.outstanding_bytes() == 0u);
  BOOST_TEST(resource.errors() == 0u);
  BOOST_TEST(!resource.last_error());
}

BOOST_AUTO_TEST_CASE(null_upstream_is_new_delete_and_equality_is_identity) {
  checking_resource one;
  checking_resource other;
  BOOST_TEST(one.upstream_resource() == std::pmr::new_delete_resource());
  BOOST_TEST(one.is_equal(one));
  BOOST_TEST(!one.is_equal(other));
}

BOOST_AUTO_TEST_CASE(blocks_of_no_bytes_are_counted) {
  checking_resource resource;
  void* const a = resource.allocate(0, 1);
  void* const b = resource.allocate(0, 64);
  BOOST_TEST(resource.outstanding_blocks() == 2u);
  BOOST_TEST(resource.outstanding_bytes() == 0u);
  resource.deallocate(a, 0, 1);
  resource.deallocate(b, 0, 64);
}

BOOST_AUTO_TEST_CASE(a_free_of_an_unknown_pointer_is_seen_and_ignored) {
  collecting c;
  int local = 0;
  c.resource.deallocate(&local, sizeof local, alignof(int));
  BOOST_TEST_REQUIRE(c.errors.size() == 1u);
  BOOST_TEST(c.errors[0].fault == memory_fault::unknown_pointer);
  BOOST_TEST(c.errors[0].ptr == &local);
  BOOST_TEST(c.resource.errors() == 1u);
  BOOST_TEST(c.resource.last_error()->fault == memory_fault::unknown_pointer);
  BOOST_TEST(c.upstream.freed_bytes.empty());
}

BOOST_AUTO_TEST_CASE(a_pointer_into_a_live_block_is_told_so) {
  collecting c;
  c.upstream.answers = {c.storage.data()};
  void* const p = c.resource.allocate(64, 8);
  c.resource.deallocate(c.storage.data() + 8, 8, 8);
  BOOST_TEST_REQUIRE(c.errors.size() == 1u);
  BOOST_TEST(c.errors[0].fault == memory_fault::unknown_pointer);
  BOOST_TEST(c.errors[0].text.find("points into the live block") != std::string::npos);
  c.resource.deallocate(p, 64, 8);
}

BOOST_AUTO_TEST_CASE(a_double_free_is_seen_and_does_not_reach_upstream) {
  collecting c;
  c.upstream.answers = {c.storage.data()};
  void* const p = c.resource.allocate(64, 8);
  c.resource.deallocate(p, 64, 8);
  c.resource.deallocate(p, 64, 8);
  BOOST_TEST_REQUIRE(c.errors.size() == 1u);
  BOOST_TEST(c.errors[0].fault == memory_fault::double_free);
  BOOST_TEST(c.upstream.freed_bytes.size() == 1u);
  BOOST_TEST(c.resource.deallocations() == 1u);
}

BOOST_AUTO_TEST_CASE(an_address_may_be_used_again_after_its_free) {
  collecting c;
  c.upstream.answers = {c.storage.data(), c.storage.data()};
  for (int i = 0; i < 2; ++i) c.resource.deallocate(c.resource.allocate(64, 8), 64, 8);
  BOOST_TEST(c.errors.empty());
}

BOOST_AUTO_TEST_CASE(a_wrong_size_is_seen_and_upstream_gets_the_right_one) {
  collecting c;
  c.upstream.answers = {c.storage.data()};
  c.resource.deallocate(c.resource.allocate(64, 8), 63, 8);
  BOOST_TEST_REQUIRE(c.errors.size() == 1u);
  BOOST_TEST(c.errors[0].fault == memory_fault::wrong_size);
  BOOST_TEST(c.errors[0].bytes == 63u);
  BOOST_TEST(c.errors[0].text.find("allocated as") != std::string::npos);
  BOOST_TEST(c.upstream.freed_bytes == std::vector<std::size_t>{64});
  BOOST_TEST(c.resource.outstanding_bytes() == 0u);
}

BOOST_AUTO_TEST_CASE(a_wrong_alignment_is_seen_and_upstream_gets_the_right_one) {
  collecting c;
  c.upstream.answers = {c.storage.data()};
  c.resource.deallocate(c.resource.allocate(64, 32), 64, 16);
  BOOST_TEST_REQUIRE(c.errors.size() == 1u);
  BOOST_TEST(c.errors[0].fault == memory_fault::wrong_alignment);
  BOOST_TEST(c.upstream.freed_alignments == std::vector<std::size_t>{32});
}

BOOST_AUTO_TEST_CASE(a_misaligned_block_from_upstream_is_seen) {
  collecting c;
  c.upstream.answers = {c.storage.data() + 8};
  void* const p = c.resource.allocate(16, 16);
  BOOST_TEST_REQUIRE(c.errors.size() == 1u);
  BOOST_TEST(c.errors[0].fault == memory_fault::misaligned_upstream);
  c.resource.deallocate(p, 16, 16);
  BOOST_TEST(c.errors.size() == 1u);
}

BOOST_AUTO_TEST_CASE(overlapping_blocks_from_upstream_are_seen) {
  const std::ptrdiff_t starts[] = {96, 127, 64, 33};  // A live block stands at [64, 128).
  for (const std::ptrdiff_t start : starts) {
    collecting c;
    c.upstream.answers = {c.storage.data() + 64, c.storage.data() + start};
    void* const p = c.resource.allocate(64, 1);
    BOOST_CHECK_THROW((void)c.resource.allocate(32, 1), std::bad_alloc);
    BOOST_TEST_REQUIRE(c.errors.size() == 1u);
    BOOST_TEST(c.errors[0].fault == memory_fault::overlapping_blocks);
    c.resource.deallocate(p, 64, 1);
  }
}

BOOST_AUTO_TEST_CASE(touching_blocks_are_fine) {
  collecting c;
  c.upstream.answers = {c.storage.data() + 64, c.storage.data() + 128, c.storage.data()};
  std::array<void*, 3> blocks{};
  for (void*& block : blocks) block = c.resource.allocate(64, 1);
  for (void* block : blocks) c.resource.deallocate(block, 64, 1);
  BOOST_TEST(c.errors.empty());
}

BOOST_AUTO_TEST_CASE(a_strange_alignment_is_seen) {
  for (const std::size_t alignment : {std::size_t{0}, std::size_t{3}, std::size_t{24}, SIZE_MAX}) {
    std::vector<memory_error> errors;
    checking_resource resource(nullptr, collect_into(errors));
    volatile std::size_t hidden = alignment;  // The compiler knows that allocate() wants a power of two.
    BOOST_CHECK_THROW((void)resource.allocate(8, hidden), std::bad_alloc);
    BOOST_TEST_REQUIRE(errors.size() == 1u);
    BOOST_TEST(errors[0].fault == memory_fault::bad_request);
  }
}

BOOST_AUTO_TEST_CASE(a_leak_is_seen_and_then_given_back) {
  std::vector<memory_error> errors;
  checking_resource outer;
  {
    checking_resource resource(&outer, collect_into(errors));
    for (int i = 0; i < 10; ++i) (void)resource.allocate(7, 1);
    BOOST_TEST(errors.empty());
  }
  BOOST_TEST_REQUIRE(errors.size() == 1u);
  BOOST_TEST(errors[0].fault == memory_fault::leak);
  BOOST_TEST(errors[0].bytes == 70u);
  BOOST_TEST(errors[0].text.find("leak: 10 blocks of 70 bytes") == 0u);
  BOOST_TEST(errors[0].text.find("and 2 more") != std::string::npos);
  BOOST_TEST(outer.outstanding_blocks() == 0u);
}

BOOST_AUTO_TEST_CASE(sizes_beyond_reason_fail_without_a_call_of_upstream) {
  collecting c;
  for (const std::size_t bytes : {SIZE_MAX, SIZE_MAX / 2 + 1, (std::size_t{1} << 40) + 1}) {
    volatile std::size_t hidden = bytes;
    BOOST_CHECK_THROW((void)c.resource.allocate(hidden, 1), std::bad_alloc);
  }
  BOOST_TEST(c.resource.failed_allocations() == 3u);
  BOOST_TEST(c.resource.allocations() == 0u);
  BOOST_TEST(c.resource.largest_request_bytes() == SIZE_MAX);
  BOOST_TEST(c.errors.empty());
}

BOOST_AUTO_TEST_CASE(a_failing_upstream_changes_nothing) {
  cistern::testing::failing_resource upstream;
  checking_resource resource(&upstream);
  void* const p = resource.allocate(8, 8);
  upstream.fail_nth(1);
  BOOST_CHECK_THROW((void)resource.allocate(8, 8), std::bad_alloc);
  BOOST_TEST(resource.outstanding_blocks() == 1u);
  BOOST_TEST(resource.failed_allocations() == 1u);
  BOOST_TEST(resource.allocations() == 1u);
  resource.deallocate(p, 8, 8);
}

BOOST_AUTO_TEST_CASE(a_handler_may_throw) {
  checking_resource resource(nullptr,
                             [](const memory_error& error) { throw std::runtime_error(error.text); });
  int local = 0;
  BOOST_CHECK_THROW(resource.deallocate(&local, 4, 4), std::runtime_error);
  BOOST_TEST(resource.errors() == 1u);
}

BOOST_AUTO_TEST_CASE(the_default_handler_aborts_with_the_text) {
  using cistern::test_support::dies_saying;
  BOOST_TEST(dies_saying("checking_resource: leak: 1 blocks of 24 bytes", [] {
    checking_resource resource;
    (void)resource.allocate(24, 8);
  }));
  BOOST_TEST(dies_saying("free with the wrong size", [] {
    checking_resource resource;
    resource.deallocate(resource.allocate(24, 8), 25, 8);
  }));
  BOOST_TEST(dies_saying("double free", [] {
    checking_resource resource;
    void* const p = resource.allocate(24, 8);
    resource.deallocate(p, 24, 8);
    resource.deallocate(p, 24, 8);
  }));
}

BOOST_AUTO_TEST_CASE(every_fault_has_words_of_its_own) {
  std::vector<std::string> words;
  for (int i = 0; i <= static_cast<int>(memory_fault::leak); ++i) {
    words.emplace_back(to_string(static_cast<memory_fault>(i)));
    BOOST_TEST(words.back() != "unknown fault");
  }
  std::sort(words.begin(), words.end());
  BOOST_TEST((std::adjacent_find(words.begin(), words.end()) == words.end()));
}

BOOST_AUTO_TEST_CASE(threads_share_it) {
  constexpr int thread_count = 4;
  constexpr int rounds = 2000;
  checking_resource resource;
  std::vector<std::thread> threads;
  for (int t = 0; t < thread_count; ++t) {
    threads.emplace_back([&resource] {
      for (int i = 0; i < rounds; ++i) resource.deallocate(resource.allocate(32, 8), 32, 8);
    });
  }
  for (std::thread& thread : threads) thread.join();
  BOOST_TEST(resource.allocations() == std::uint64_t{thread_count} * rounds);
  BOOST_TEST(resource.deallocations() == resource.allocations());
  BOOST_TEST(resource.outstanding_bytes() == 0u);
}
