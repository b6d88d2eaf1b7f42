// script_player: what is played is what the trace had, on one thread and on several, and nothing is lost.
#include "../../src/trace/script_player.hpp"

#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/adaptor/recording_adaptor.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory_resource>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/sanitizers.hpp"
#include "../support/trace_support.hpp"

using cistern::trace_call;
using cistern::trace_event;
using cistern::detail::play;
using cistern::detail::play_result;
using cistern::detail::play_way;
using cistern::detail::replay_script;
using cistern::detail::replay_script_options;
using cistern::testing::checking_resource;
using namespace cistern::test_support;

namespace {

constexpr std::size_t some_calls = sanitized ? 4000 : 20'000;

replay_script script_of(const std::vector<trace_event>& events, const replay_script_options& options = {}) {
  const trace_bytes bytes = written(events);
  cistern::trace_reader reader(cistern::trace_from_memory(bytes));
  return make_replay_script(reader, options);
}

}  // namespace

BOOST_AUTO_TEST_CASE(what_is_live_is_what_was_live_when_it_was_recorded) {
  const auto events = shared_life(3000, 4, 1);
  const replay_script script = script_of(events, {.one_thread = true, .samples = 10'000});
  BOOST_REQUIRE(script.samples.size() == events.size());
  std::vector<std::size_t> live_blocks;
  for (const trace_event& event : events) {
    const std::size_t before = live_blocks.empty() ? 0 : live_blocks.back();
    live_blocks.push_back(event.call == trace_call::allocate ? before + 1 : before - 1);
  }
  for (const play_way way : {play_way::timed, play_way::filling, play_way::clocked}) {
    checking_resource memory;
    std::size_t seen = 0;
    const play_result played = play(
        script, memory, {.way = way, .on_sample = [&](std::size_t number) {
                           BOOST_REQUIRE(number == seen++);
                           BOOST_REQUIRE(memory.outstanding_blocks() == live_blocks[number]);
                           BOOST_REQUIRE(memory.outstanding_bytes() == script.samples[number].asked_bytes);
                         }});
    BOOST_TEST(seen == events.size());
    BOOST_TEST(played.refused == 0u);
    BOOST_TEST(memory.outstanding_blocks() == 0u);
    BOOST_TEST(memory.allocations() == script.allocations);
  }
}

BOOST_AUTO_TEST_CASE(each_thread_makes_the_calls_that_it_made) {
  // Threads that live at the same time from the first event to the last: each is a lane.
  std::vector<trace_event> events;
  for (std::uint64_t thread = 0; thread < 3; ++thread) {
    events.push_back({trace_call::allocate, {}, thread, 1000 + thread, 8, 0x10 + thread});
  }
  for (const trace_event& each : shared_life(2000, 3, 5)) events.push_back(each);
  for (std::uint64_t thread = 0; thread < 3; ++thread) {
    events.push_back({trace_call::deallocate, {}, thread, 1000 + thread, 8, 0x10 + thread});
  }
  const replay_script script = script_of(events);
  BOOST_REQUIRE(script.lanes.size() == 3u);
  trace_bytes again;
  {
    cistern::recording_adaptor recorded(trace_to(again));
    (void)play(script, recorded);
    recorded.close();
  }
  const auto calls_of = [](const std::vector<trace_event>& all, std::uint64_t first_bytes) {
    const auto first = std::find_if(all.begin(), all.end(),
                                    [&](const trace_event& each) { return each.bytes == first_bytes; });
    std::vector<std::pair<trace_call, std::uint64_t>> calls;
    for (const trace_event& each : all) {
      if (each.thread == first->thread) calls.emplace_back(each.call, each.bytes);
    }
    return calls;
  };
  const auto played = events_of(again);
  for (std::uint64_t thread = 0; thread < 3; ++thread) {
    const auto expected = calls_of(events, 1000 + thread);
    auto made = calls_of(played, 1000 + thread);
    BOOST_REQUIRE(made.size() >= expected.size());
    made.resize(expected.size());  // Then it frees what was left.
    BOOST_TEST((made == expected));
  }
}

BOOST_AUTO_TEST_CASE(threads_free_each_others_blocks_after_they_were_allocated) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      const replay_script script = script_of(shared_life(some_calls, 2 + seed, seed));
      BOOST_TEST(script.handed_over > some_calls / 20);
      checking_resource memory;
      cistern::synchronized_pool_resource pool(&memory);
      checking_resource above(&pool);
      const play_result played = play(script, above, {.repetitions = 3, .warm_up = true});
      BOOST_TEST(above.allocations() == 4 * script.allocations);
      BOOST_TEST(above.outstanding_blocks() == 0u);
      BOOST_TEST(played.refused == 0u);
    }
  }
}

namespace {

class most_live_resource final : public std::pmr::memory_resource {
 public:
  [[nodiscard]] std::int64_t most() const { return most_.load(); }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    const std::int64_t now = ++live_;
    std::int64_t before = most_.load();
    while (before < now && !most_.compare_exchange_weak(before, now)) {
    }
    return std::pmr::new_delete_resource()->allocate(bytes, alignment);
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    std::pmr::new_delete_resource()->deallocate(block, bytes, alignment);
    --live_;
  }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }

  std::atomic<std::int64_t> live_{0};
  std::atomic<std::int64_t> most_{0};
};

}  // namespace

BOOST_AUTO_TEST_CASE(who_only_allocates_waits_for_who_only_frees) {
  std::vector<trace_event> events;
  for (std::uint64_t i = 0; i < 10 * some_calls; ++i) {
    events.push_back({trace_call::allocate, {}, 1, 32, 8, 16 * (i + 1)});
    events.push_back({trace_call::deallocate, {}, 2, 32, 8, 16 * (i + 1)});
  }
  const replay_script script = script_of(events);
  most_live_resource memory;
  (void)play(script, memory);
  BOOST_TEST(memory.most() <= static_cast<std::int64_t>(script.stage_calls));
}

BOOST_AUTO_TEST_CASE(a_refused_block_is_not_freed) {
  const std::vector<trace_event> events = {{trace_call::allocate, {}, 1, 600, 8, 0x10},
                                           {trace_call::allocate, {}, 1, 600, 8, 0x1000},
                                           {trace_call::allocate, {}, 2, 900, 8, 0x2000},
                                           {trace_call::deallocate, {}, 2, 600, 8, 0x1000},
                                           {trace_call::deallocate, {}, 1, 900, 8, 0x2000}};
  checking_resource checked;
  cistern::limit_adaptor limited(1000, &checked);
  BOOST_TEST(play(script_of(events, {.one_thread = true}), limited, {.repetitions = 2}).refused == 4u);
  cistern::limit_adaptor nothing_left(1, &checked);
  BOOST_TEST(play(script_of(events), nothing_left, {.repetitions = 2}).refused == 6u);
  BOOST_TEST(checked.outstanding_blocks() == 0u);
}

BOOST_AUTO_TEST_CASE(hooks_are_called_when_nobody_is_in_a_call) {
  for (const std::uint64_t threads : {std::uint64_t{1}, std::uint64_t{3}}) {
    checking_resource memory;
    int ready = 0;
    int repetitions = 0;
    (void)play(script_of(shared_life(500, threads, 8)), memory,
               {.repetitions = 4,
                .warm_up = true,
                .on_ready =
                    [&] {
                      ++ready;
                      BOOST_TEST(memory.allocations() == 0u);
                    },
                .after_repetition =
                    [&] {
                      ++repetitions;
                      if (memory.outstanding_blocks() != 0) repetitions += 1000;
                    }});
    BOOST_TEST(ready == 1);
    BOOST_TEST(repetitions == 5);
  }
}

namespace {

// Hands out zeros, and looks at what became of them.
class written_resource final : public std::pmr::memory_resource {
 public:
  std::vector<std::size_t> written;  // Bytes of each block that aren't zero when it is freed.

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    void* const block = std::pmr::new_delete_resource()->allocate(bytes + 1, alignment);
    std::memset(block, 0, bytes + 1);
    return block;
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    const auto* const all = static_cast<const std::byte*>(block);
    written.push_back(static_cast<std::size_t>(
        std::count_if(all, all + bytes + 1, [](std::byte each) { return each != std::byte{}; })));
    std::pmr::new_delete_resource()->deallocate(block, bytes + 1, alignment);
  }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }
};

}  // namespace

BOOST_AUTO_TEST_CASE(blocks_are_written_to_and_no_byte_beyond) {
  std::vector<trace_event> events;
  for (const std::uint64_t bytes : {0U, 1U, 4096U, 10'000U}) {
    events.push_back({trace_call::allocate, {}, 1, bytes, 8, 0x10});
    events.push_back({trace_call::deallocate, {}, 1, bytes, 8, 0x10});
  }
  const replay_script script = script_of(events);
  written_resource first_bytes;
  (void)play(script, first_bytes);
  BOOST_TEST((first_bytes.written == std::vector<std::size_t>{0, 1, 1, 1}));
  written_resource all_pages;
  (void)play(script, all_pages, {.way = play_way::filling});
  BOOST_TEST((all_pages.written == std::vector<std::size_t>{0, 1, 2, 4}));
}

BOOST_AUTO_TEST_CASE(a_script_of_nothing_is_played) {
  checking_resource memory;
  BOOST_TEST(play({}, memory).refused == 0u);
}

BOOST_AUTO_TEST_CASE(chosen_blocks_are_served_by_a_resource_of_their_own) {
  const auto events = shared_life(some_calls / 4, 3, 8);
  const replay_script script = script_of(events, {.use_of = [](const trace_event& event) {
                                           return event.bytes < 250 ? cistern::detail::block_use::chosen
                                                                    : cistern::detail::block_use::kept;
                                         }});
  for (const play_way way : {play_way::timed, play_way::filling, play_way::clocked}) {
    checking_resource all;
    checking_resource chosen;
    (void)play(script, all, {.way = way, .chosen = &chosen});
    BOOST_TEST(chosen.allocations() == script.chosen);
    BOOST_TEST(all.allocations() == script.allocations - script.chosen);
    BOOST_TEST(chosen.outstanding_blocks() + all.outstanding_blocks() == 0u);
    checking_resource only;
    (void)play(script, only, {.way = way});
    BOOST_TEST(only.allocations() == script.allocations);
  }
}
