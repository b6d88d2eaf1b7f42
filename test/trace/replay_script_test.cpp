// replay_script: what a script says is what the trace had, in an order that threads can keep.
#include "../../src/trace/replay_script.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/sanitizers.hpp"
#include "../support/trace_support.hpp"

using cistern::trace_call;
using cistern::trace_error;
using cistern::trace_event;
using cistern::trace_fault;
using cistern::detail::make_replay_script;
using cistern::detail::replay_script;
using cistern::detail::replay_script_options;
using cistern::detail::replay_step;
using cistern::detail::replay_step_kind;
using namespace cistern::test_support;

namespace {

trace_event allocated(std::uint64_t thread, std::uint64_t bytes, std::uint64_t address,
                      std::uint64_t alignment = 8) {
  return {trace_call::allocate, {}, thread, bytes, alignment, address};
}

trace_event freed(std::uint64_t thread, std::uint64_t bytes, std::uint64_t address,
                  std::uint64_t alignment = 8) {
  return {trace_call::deallocate, {}, thread, bytes, alignment, address};
}

trace_event reallocated(std::uint64_t thread, std::uint64_t bytes, std::uint64_t address,
                        std::uint64_t old_address) {
  return {.call = trace_call::reallocate,
          .thread = thread,
          .bytes = bytes,
          .alignment = 8,
          .address = address,
          .old_address = old_address};
}

replay_script script_of(std::span<const std::byte> bytes, const replay_script_options& options = {}) {
  cistern::trace_reader reader(cistern::trace_from_memory(bytes));
  return make_replay_script(reader, options);
}

replay_script script_of(const std::vector<trace_event>& events, const replay_script_options& options = {}) {
  return script_of(written(events), options);
}

bool is_allocation(const replay_step& step) {
  return step.kind == replay_step_kind::allocate || step.kind == replay_step_kind::hand_over;
}

bool is_free(const replay_step& step) {
  return step.kind == replay_step_kind::deallocate || step.kind == replay_step_kind::take_over;
}

using request = std::pair<std::uint64_t, unsigned>;

// Performs the lanes in any order that a machine might, as a player has to, and checks what blocks they free.
class simulated_threads {
 public:
  simulated_threads(const replay_script& script, std::uint64_t seed)
      : script_(script), random_(seed), next_(script.lanes.size()), stage_(script.lanes.size()) {}

  // False: nobody can go on, and not all is done.
  [[nodiscard]] bool run() {
    for (;;) {
      std::vector<std::size_t> able;
      bool all_done = true;
      for (std::size_t lane = 0; lane < next_.size(); ++lane) {
        if (next_[lane] == script_.lanes[lane].size()) continue;
        all_done = false;
        if (can_go_on(lane)) able.push_back(lane);
      }
      if (all_done) return true;
      if (able.empty()) return false;
      const std::size_t lane = able[random_() % able.size()];
      // Some run far ahead.
      for (std::size_t i = random_() % 200;
           i > 0 && next_[lane] < script_.lanes[lane].size() && can_go_on(lane); --i) {
        perform(lane);
      }
    }
  }

  [[nodiscard]] std::size_t live() const { return blocks_.size(); }
  [[nodiscard]] std::size_t most_live() const { return most_live_; }
  [[nodiscard]] std::size_t faults() const { return faults_; }

 private:
  [[nodiscard]] bool can_go_on(std::size_t lane) {
    const replay_step& step = script_.lanes[lane][next_[lane]];
    if (step.kind == replay_step_kind::take_over) return blocks_.contains(step.slot);
    if (step.kind != replay_step_kind::pace) return true;
    stage_[lane] = step.bytes;  // It waits in its new stage.
    for (std::size_t other = 0; other < next_.size(); ++other) {
      const bool is_through = next_[other] == script_.lanes[other].size();
      if (!is_through && stage_[other] + 1 < step.bytes) return false;
    }
    return true;
  }

  void perform(std::size_t lane) {
    const replay_step& step = script_.lanes[lane][next_[lane]++];
    const request asked(step.bytes, step.alignment_power);
    if (is_allocation(step)) {
      faults_ += blocks_.emplace(step.slot, asked).second ? 0U : 1U;  // Somebody's block is overwritten.
      most_live_ = std::max(most_live_, blocks_.size());
    } else if (is_free(step)) {
      const auto found = blocks_.find(step.slot);
      faults_ += found != blocks_.end() && found->second == asked ? 0U : 1U;
      if (found != blocks_.end()) blocks_.erase(found);
    }
  }

  const replay_script& script_;
  std::mt19937_64 random_;
  std::vector<std::size_t> next_;
  std::vector<std::uint64_t> stage_;
  std::map<std::uint32_t, request> blocks_;  // By slot.
  std::size_t most_live_ = 0;
  std::size_t faults_ = 0;
};

}  // namespace

BOOST_AUTO_TEST_CASE(blocks_have_slots_and_what_is_left_is_freed_at_the_end) {
  const replay_script script = script_of({allocated(1, 100, 0x10, 64), allocated(1, 24, 0x20),
                                          freed(1, 100, 0x10, 64), allocated(1, 7, 0x30, 1)});
  BOOST_REQUIRE(script.lanes.size() == 1u);
  const auto& steps = script.lanes[0];
  BOOST_REQUIRE(steps.size() == 6u);
  BOOST_TEST((steps[0].kind == replay_step_kind::allocate));
  BOOST_TEST(steps[0].bytes == 100u);
  BOOST_TEST(steps[0].alignment_power == 6u);
  BOOST_TEST(steps[1].slot != steps[0].slot);
  BOOST_TEST((steps[2].kind == replay_step_kind::deallocate));
  BOOST_TEST(steps[2].slot == steps[0].slot);
  BOOST_TEST(steps[2].bytes == 100u);
  BOOST_TEST(steps[2].alignment_power == 6u);
  BOOST_TEST(steps[3].slot == steps[0].slot);  // The one that was used last.
  BOOST_TEST(steps[3].alignment_power == 0u);
  BOOST_TEST((steps[4].kind == replay_step_kind::deallocate));
  BOOST_TEST(steps[4].bytes == 24u);
  BOOST_TEST(steps[5].bytes == 7u);
  BOOST_TEST(script.allocations == 3u);
  BOOST_TEST(script.calls() == 6u);
  BOOST_TEST(script.left_live == 2u);
  BOOST_TEST(script.peak_bytes == 124u);
  BOOST_TEST(script.requested_bytes == 131u);
  BOOST_TEST(script.slots >= 2u);
}

BOOST_AUTO_TEST_CASE(a_reallocation_is_two_steps) {
  const replay_script script =
      script_of({allocated(1, 8, 0x10), reallocated(1, 24, 0x40, 0x10), freed(1, 24, 0x40)});
  const auto& steps = script.lanes.at(0);
  BOOST_REQUIRE(steps.size() == 4u);
  BOOST_TEST(is_allocation(steps[1]));
  BOOST_TEST(steps[1].bytes == 24u);
  BOOST_TEST(is_free(steps[2]));
  BOOST_TEST(steps[2].bytes == 8u);
  BOOST_TEST(steps[2].slot == steps[0].slot);
  BOOST_TEST(steps[3].slot == steps[1].slot);
  BOOST_TEST(script.peak_bytes == 32u);
  BOOST_TEST(script.foreign_frees == 0u);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_replayed_is_counted_and_left_out) {
  const replay_script script = script_of({freed(1, 8, 0x90),
                                          {trace_call::failed_allocate, {}, 1, 50, 8, 0},
                                          reallocated(1, 24, 0x40, 0x80),
                                          reallocated(1, 32, 0x50, 0),
                                          allocated(1, 8, 0x60, 24)});
  BOOST_TEST(script.foreign_frees == 2u);
  BOOST_TEST(script.failed_in_trace == 1u);
  BOOST_TEST(script.allocations == 3u);
  BOOST_TEST(script.lanes.at(0).size() == 6u);
  BOOST_TEST(script.lanes[0][2].alignment_power == 0u);  // No power of two.
}

BOOST_AUTO_TEST_CASE(a_block_that_another_thread_frees_has_a_slot_for_itself) {
  const replay_script script = script_of({allocated(1, 8, 0x10), allocated(2, 9, 0x20), freed(2, 8, 0x10),
                                          allocated(1, 10, 0x30), freed(2, 9, 0x20), freed(1, 10, 0x30)});
  BOOST_REQUIRE(script.lanes.size() == 2u);
  const auto& first = script.lanes[0];
  const auto& second = script.lanes[1];
  BOOST_REQUIRE(first.size() == 3u);
  BOOST_REQUIRE(second.size() == 3u);
  BOOST_TEST((first[0].kind == replay_step_kind::hand_over));
  BOOST_TEST((second[1].kind == replay_step_kind::take_over));
  BOOST_TEST(second[1].slot == first[0].slot);
  BOOST_TEST(second[1].bytes == 8u);
  BOOST_TEST((first[1].kind == replay_step_kind::allocate));
  BOOST_TEST(first[1].slot != first[0].slot);
  // Threads don't write to the same line.
  BOOST_TEST(first[1].slot / cistern::detail::replay_slots_in_line !=
             second[0].slot / cistern::detail::replay_slots_in_line);
  BOOST_TEST(script.handed_over == 1u);
  BOOST_TEST(script.recorded_threads == 2u);
}

BOOST_AUTO_TEST_CASE(on_one_thread_all_is_in_the_order_of_the_trace) {
  const auto events = shared_life(3000, 5, 1);
  const replay_script script = script_of(events, {.one_thread = true});
  BOOST_REQUIRE(script.lanes.size() == 1u);
  BOOST_TEST(script.handed_over == 0u);
  BOOST_TEST(script.recorded_threads == 5u);
  BOOST_REQUIRE(script.lanes[0].size() >= events.size());
  for (std::size_t i = 0; i < events.size(); ++i) {
    BOOST_REQUIRE(is_allocation(script.lanes[0][i]) == (events[i].call == trace_call::allocate));
    BOOST_REQUIRE(script.lanes[0][i].bytes == events[i].bytes);
  }
}

BOOST_AUTO_TEST_CASE(threads_that_follow_each_other_share_a_lane) {
  const replay_script script =
      script_of({allocated(1, 1, 0x10), allocated(2, 2, 0x20), freed(1, 1, 0x10), allocated(3, 3, 0x30),
                 freed(3, 3, 0x30), freed(2, 2, 0x20), allocated(4, 4, 0x40), freed(4, 4, 0x40)});
  BOOST_REQUIRE(script.lanes.size() == 2u);
  BOOST_TEST(script.recorded_threads == 4u);
  BOOST_TEST(script.lanes[0].size() + script.lanes[1].size() == 8u);
}

BOOST_AUTO_TEST_CASE(in_whatever_order_threads_run_each_frees_what_it_is_to_and_none_waits_for_ever) {
  for (std::uint64_t seed = 1; seed <= (sanitized ? 3u : 10u); ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      const replay_script script = script_of(shared_life(30'000, 1 + seed % 6, seed));
      simulated_threads threads(script, seed);
      BOOST_TEST(threads.run());
      BOOST_TEST(threads.faults() == 0u);
      BOOST_TEST(threads.live() == 0u);
    }
  }
}

BOOST_AUTO_TEST_CASE(who_allocates_does_not_run_away_from_who_frees) {
  std::vector<trace_event> events;
  for (std::uint64_t i = 0; i < 40'000; ++i) {
    events.push_back(allocated(1, 100, 0x1000 + 16 * i));
    events.push_back(freed(2, 100, 0x1000 + 16 * i));
  }
  const replay_script script = script_of(events);
  BOOST_REQUIRE(script.lanes.size() == 2u);
  BOOST_TEST(script.stage_calls > 0u);
  simulated_threads threads(script, 3);
  BOOST_TEST(threads.run());
  BOOST_TEST(threads.faults() == 0u);
  BOOST_TEST(threads.most_live() <= script.stage_calls);  // Half of two stages allocate.
}

BOOST_AUTO_TEST_CASE(the_script_has_every_call_of_the_trace) {
  const auto events = shared_life(20'000, 4, 7);
  const replay_script script = script_of(events);
  std::map<request, std::pair<std::size_t, std::size_t>> counts;  // Allocations and frees.
  for (const auto& lane : script.lanes) {
    for (const replay_step& step : lane) {
      auto& [allocations, frees] = counts[{step.bytes, step.alignment_power}];
      allocations += is_allocation(step) ? 1U : 0U;
      frees += is_free(step) ? 1U : 0U;
    }
  }
  for (const trace_event& event : events) {
    if (event.call != trace_call::allocate) continue;
    auto& [allocations, frees] =
        counts[{event.bytes, static_cast<unsigned>(std::countr_zero(event.alignment))}];
    --allocations;
    --frees;
  }
  for (const auto& [asked, numbers] : counts) {
    BOOST_REQUIRE(numbers.first == 0u);
    BOOST_REQUIRE(numbers.second == 0u);
  }
}

BOOST_AUTO_TEST_CASE(samples_are_few_and_have_the_peak_and_the_end) {
  auto events = shared_life(5000, 3, 9);
  std::uint64_t time = 0;
  for (trace_event& event : events) event.time = std::chrono::nanoseconds(time += 10);
  const replay_script script = script_of(events, {.samples = 100});
  BOOST_TEST(script.samples.size() <= 100u);
  BOOST_TEST(script.samples.size() >= 50u);
  std::uint64_t live_bytes = 0;
  std::uint64_t calls = 0;
  std::size_t next = 0;
  for (const trace_event& event : events) {
    live_bytes += event.call == trace_call::allocate ? event.bytes : 0 - event.bytes;
    ++calls;
    if (next == script.samples.size() || script.samples[next].calls != calls) continue;
    BOOST_TEST(script.samples[next].asked_bytes == live_bytes);
    BOOST_TEST(script.samples[next].time.count() == event.time.count());
    ++next;
  }
  BOOST_TEST(next == script.samples.size());
  BOOST_TEST(script.samples.back().calls == events.size());
  const auto is_peak = [&](const auto& sample) { return sample.asked_bytes == script.peak_bytes; };
  BOOST_TEST(std::any_of(script.samples.begin(), script.samples.end(), is_peak));
  std::multiset<std::uint32_t> steps;
  for (const auto& lane : script.lanes) {
    for (const replay_step& step : lane) {
      if (step.kind == replay_step_kind::sample) steps.insert(step.slot);
    }
  }
  BOOST_TEST(steps.size() == script.samples.size());
  BOOST_TEST(script_of(events).samples.empty());
}

BOOST_AUTO_TEST_CASE(a_trace_that_was_cut_off_is_taken_as_far_as_it_goes) {
  const auto events = shared_life(100, 2, 2);
  trace_bytes bytes = written(events, 64);
  const replay_script whole = script_of(bytes);
  BOOST_TEST(!whole.cut.has_value());
  bytes.resize(bytes.size() - 1);
  const replay_script cut = script_of(bytes);
  BOOST_REQUIRE(cut.cut.has_value());
  BOOST_TEST((cut.cut->fault() == trace_fault::truncated));
  BOOST_TEST(cut.allocations == whole.allocations);
  bytes.resize(bytes.size() / 2);
  BOOST_TEST(script_of(bytes).allocations < whole.allocations);
  BOOST_CHECK_THROW((void)script_of(trace_header()), trace_error);  // There is nothing in it.
}

BOOST_AUTO_TEST_CASE(blocks_that_no_program_has_are_an_error_that_says_where) {
  for (const auto& [bytes, alignment] : {std::pair<std::uint64_t, std::uint64_t>{INT64_MAX, 1},
                                         {UINT64_MAX, 1},
                                         {1ULL << 47, 8},
                                         {8, 1ULL << 62}}) {
    const trace_bytes first = written({allocated(1, 8, 0x10)});
    trace_bytes trace = written({allocated(1, 8, 0x10), allocated(1, bytes, 0x1000, alignment)});
    try {
      (void)script_of(trace);
      BOOST_ERROR("a script of a block of " << bytes << " bytes aligned to " << alignment);
    } catch (const trace_error& error) {
      BOOST_TEST((error.fault() == trace_fault::corrupt));
      // Behind the header, the head of the frame, and the first event: 1 + 1 + 1 + 1 + 1 bytes.
      BOOST_TEST(error.offset_bytes() == 40u + 16u + 5u);
      BOOST_TEST(std::string(error.what())
                     .find(std::to_string(bytes) + " bytes aligned to " + std::to_string(alignment)) !=
                 std::string::npos);
    }
  }
  // As large as addresses go: it is for the resource to refuse that.
  BOOST_TEST(script_of({allocated(1, (1ULL << 47) - 1, 0x10)}).peak_bytes == (1ULL << 47) - 1);
  BOOST_TEST(script_of({allocated(1, (1ULL << 47) - 1, 0x10)}).peak_first_page_bytes == 4096u);
}

BOOST_AUTO_TEST_CASE(whatever_the_bytes_are_there_is_a_script_or_an_error) {
  const trace_bytes whole = written(shared_life(60, 3, 4), 128);
  for (std::size_t at = 0; at < whole.size(); ++at) {
    trace_bytes damaged = whole;
    damaged[at] ^= std::byte{0x55};
    try {
      BOOST_TEST(script_of(damaged).cut.has_value());  // A frame has become too long for what there is.
    } catch (const trace_error& error) {
      BOOST_TEST(error.offset_bytes() <= damaged.size());
    }
    const std::span<const std::byte> part = std::span(whole).first(at);
    try {
      BOOST_TEST(script_of(part).cut.has_value());
    } catch (const trace_error& error) {
      BOOST_TEST(error.offset_bytes() <= at);
    }
  }
  // Behind a right checksum.
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    auto events = random_events(50, seed);
    for (trace_event& event : events) {
      if (seed % 8 == 0) break;
      event.bytes %= 4096;
      event.alignment %= 4097;
    }
    const trace_bytes odd = written(events);
    try {
      const replay_script script = script_of(odd);
      simulated_threads threads(script, seed);
      BOOST_TEST(threads.run());
      BOOST_TEST(threads.faults() == 0u);
    } catch (const trace_error& error) {
      BOOST_TEST(error.offset_bytes() < odd.size());
    }
  }
}

BOOST_AUTO_TEST_CASE(blocks_are_chosen_and_left_out_with_their_frees) {
  using cistern::detail::block_use;
  for (const bool leave_live : {false, true}) {
    const auto events = shared_life(2000, 3, 5);
    const trace_bytes bytes = written(events);
    cistern::trace_reader reader(cistern::trace_from_memory(bytes));
    const replay_script script =
        make_replay_script(reader, {.leave_live = leave_live, .use_of = [](const trace_event& event) {
                                      return event.block % 3 == 0   ? block_use::left_out
                                             : event.block % 3 == 1 ? block_use::chosen
                                                                    : block_use::kept;
                                    }});
    std::uint64_t allocations = 0;
    for (const trace_event& event : events) allocations += event.call == trace_call::allocate;
    BOOST_TEST(script.left_out == allocations / 3);
    BOOST_TEST(script.allocations == allocations - allocations / 3);
    BOOST_TEST(script.chosen == (allocations + 2) / 3);
    BOOST_TEST(script.foreign_frees == 0u);
    BOOST_TEST((script.never_freed != 0) == leave_live);
    std::uint64_t made = 0;
    std::uint64_t freed = 0;
    std::uint64_t chosen = 0;
    for (const auto& lane : script.lanes) {
      for (const replay_step& step : lane) {
        made += is_allocation(step);
        freed += is_free(step);
        chosen += is_allocation(step) && step.is_chosen != 0;
      }
    }
    BOOST_TEST(made == script.allocations);
    BOOST_TEST(chosen == script.chosen);
    BOOST_TEST(made + freed == script.calls());
  }
}
