// advice_choice: programs whose right advice is known get it first, by a model of what calls take.
#include "../../src/tool/advice_choice.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/stacked_trace.hpp"

using cistern::trace_reader;
using cistern::detail::replay_script;
using cistern::detail::replay_step_kind;
using cistern::detail::stack_site;
using cistern::detail::trace_profile;
using namespace cistern::test_support;
using namespace cistern::tool;
using namespace std::chrono_literals;

namespace {

/// Nanoseconds of a call. A block that another thread frees costs new/delete a lock.
struct call_costs {
  double call;
  double handed_over;
};

/// Counts instead of measuring.
class counting_meter final : public advice_meter {
 public:
  explicit counting_meter(bool all_alike = false) : all_alike_(all_alike) {}

  [[nodiscard]] std::vector<measured_trial> measure(const std::vector<advice_trial>& trials) override {
    constexpr double noise[] = {1.0, 1.02, 0.99, 1.01, 0.98};
    std::vector<measured_trial> measured;
    for (const advice_trial& each : trials) {
      tried.push_back(each.on);
      measured_trial one{.peak_resident_bytes = each.script->peak_bytes};
      for (std::size_t round = 0; round < std::size(noise); ++round) {
        one.rounds.push_back(cost_of(each) * noise[(round + measured.size()) % std::size(noise)]);
      }
      measured.push_back(one);
    }
    return measured;
  }

  [[nodiscard]] double copying(std::uint64_t bytes, std::uint64_t) override {
    return static_cast<double>(bytes) / 10;
  }

  std::vector<std::string> tried;

 private:
  [[nodiscard]] call_costs costs_on(const std::string& name) const {
    const std::string kind = name.substr(0, name.find(':'));
    static const std::map<std::string, call_costs> costs = {
        {"nothing", {2, 2}},        {"new", {20, 60}},     {"cistern-unsync", {8, 8}},
        {"cistern-sync", {12, 14}}, {"monotonic", {3, 3}}, {"stack", {3, 3}}};
    return costs.at(all_alike_ && kind != "nothing" ? "new" : kind);
  }

  [[nodiscard]] double cost_of(const advice_trial& trial) const {
    double cost = 0;
    for (const auto& lane : trial.script->lanes) {
      for (const auto& step : lane) {
        if (step.kind == replay_step_kind::pace || step.kind == replay_step_kind::sample) continue;
        const bool is_others = trial.for_chosen && step.is_chosen == 0;
        const call_costs costs = costs_on(is_others ? "new" : trial.on);
        const bool is_handed =
            step.kind == replay_step_kind::hand_over || step.kind == replay_step_kind::take_over;
        cost += is_handed ? costs.handed_over : costs.call;
      }
    }
    return cost;
  }

  bool all_alike_;
};

/// A verdict, and what it is about.
struct judged {
  trace_profile profile;
  trace_verdict verdict;

  [[nodiscard]] std::string first() const {
    if (verdict.advices.empty()) return to_string(verdict.reason);
    const advice& one = verdict.advices.front();
    return std::string(to_string(one.what.kind)) + " " + one.what.on;
  }
};

judged judge_of(const trace_bytes& bytes, advice_meter& meter) {
  const auto site_of = [](std::uint64_t stack) {
    return stack_site{static_cast<std::uint32_t>(stacked_trace::function_of(stack)), 0};
  };
  trace_reader reader(cistern::trace_from_memory(bytes));
  trace_profile profile = cistern::detail::profile_sites(reader, site_of);
  trace_reader again(cistern::trace_from_memory(bytes));
  const auto scripts = [&](const cistern::detail::replay_script_options& options) {
    trace_reader once_more(cistern::trace_from_memory(bytes));
    return cistern::detail::make_replay_script(once_more, options);
  };
  trace_verdict verdict = judge({.profile = profile,
                                 .rules = cistern::advise(again, nullptr, {.up_to_the_cut = true}),
                                 .site_of = [&](std::uint64_t stack) { return site_of(stack).site; }},
                                scripts, meter);
  return {std::move(profile), std::move(verdict)};
}

judged judge_of(const trace_bytes& bytes) {
  counting_meter meter;
  return judge_of(bytes, meter);
}

// Each program has a function 9 that allocates what is no advice's.

stacked_trace temporaries_in_a_loop() {
  stacked_trace program;
  for (int i = 0; i < 5000; ++i) {
    const auto kept = i % 50 == 0 ? program.allocate(200, 9) : 0;
    const auto text = program.allocate(48, 1);
    const auto other = program.allocate(100, 1);
    program.free(other, 1);
    program.free(text, 1);
    if (kept != 0) program.free(kept, 8);
  }
  return program;
}

stacked_trace growing_vectors() {
  stacked_trace program;
  for (int i = 0; i < 300; ++i) {
    std::uint64_t values = program.allocate(16, 2);
    for (std::uint64_t bytes = 32; bytes <= 65536; bytes *= 2) {
      const auto larger = program.allocate(bytes, 2);
      program.free(values, 2);
      values = larger;
    }
    const auto other = program.allocate(100, 9);
    program.free(values, 3);
    program.free(other, 9);
  }
  return program;
}

stacked_trace cache_with_survivors() {
  stacked_trace program;
  std::mt19937 random(1);
  std::vector<std::uint64_t> entries;
  for (int i = 0; i < 20'000; ++i) {
    if (entries.size() < 500) {
      entries.push_back(program.allocate(50 + random() % 400, 4));
    } else {
      std::swap(entries[random() % entries.size()], entries.back());
      program.free(entries.back(), 5);
      entries.pop_back();
    }
    if (i % 100 == 0) program.free(program.allocate(9000, 9), 8);
  }
  for (const auto each : entries) program.free(each, 6);
  return program;
}

stacked_trace messages_handed_over() {
  stacked_trace program;
  std::deque<std::uint64_t> queue;
  for (unsigned i = 0; i < 10'000; ++i) {
    queue.push_back(program.allocate(64 + i % 200, 7, 1));
    if (queue.size() < 50) continue;
    program.free(queue.front(), 8, 2);
    queue.pop_front();
  }
  for (const auto each : queue) program.free(each, 8, 2);
  return program;
}

stacked_trace one_shot() {
  stacked_trace program;
  for (unsigned i = 0; i < 10'000; ++i) (void)program.allocate(16 + i % 100, 1 + i % 2);
  return program;
}

stacked_trace almost_free_of_allocations() {
  stacked_trace program;
  for (int i = 0; i < 1000; ++i) {
    const auto block = program.allocate(100, 1);
    program.wait(100us);
    program.free(block, 1);
  }
  return program;
}

}  // namespace

BOOST_AUTO_TEST_CASE(temporaries_are_for_the_stack) {
  const judged one = judge_of(temporaries_in_a_loop().bytes());
  BOOST_TEST(one.first() == "small_buffer stack");
  BOOST_TEST((one.verdict.advices[0].sites == std::vector<std::uint32_t>{1}));
  BOOST_TEST(one.verdict.advices[0].blocks == 10'000u);
}

BOOST_AUTO_TEST_CASE(vectors_that_grow_are_to_be_reserved) {
  const judged one = judge_of(growing_vectors().bytes());
  BOOST_TEST(one.first() == "reserve new");
  BOOST_TEST((one.verdict.advices[0].sites == std::vector<std::uint32_t>{2}));
  BOOST_TEST(one.verdict.advices[0].blocks == 300u * 12);
}

BOOST_AUTO_TEST_CASE(a_cache_is_for_a_pool_of_its_own) {
  const judged one = judge_of(cache_with_survivors().bytes());
  BOOST_TEST(one.first() == "pool_for_sites cistern-unsync");
  BOOST_TEST((one.verdict.advices[0].sites == std::vector<std::uint32_t>{4}));
}

BOOST_AUTO_TEST_CASE(messages_are_for_a_synchronized_pool) {
  const judged one = judge_of(messages_handed_over().bytes());
  BOOST_TEST(one.first() == "pool_for_sites cistern-sync");
  BOOST_TEST((one.verdict.advices[0].sites == std::vector<std::uint32_t>{7}));
  BOOST_TEST(one.profile.hand_overs.at(0).blocks == 10'000u);
}

BOOST_AUTO_TEST_CASE(what_lives_to_the_end_is_for_a_monotonic_buffer) {
  const judged one = judge_of(one_shot().bytes());
  BOOST_TEST(one.first() == "monotonic_for_sites monotonic");
  BOOST_TEST(one.verdict.plan.is_one_shot);
}

BOOST_AUTO_TEST_CASE(where_hardly_anything_is_allocated_no_pool_is_needed) {
  counting_meter meter;
  const judged one = judge_of(almost_free_of_allocations().bytes(), meter);
  BOOST_TEST(one.first() == "few_per_cent");
  BOOST_TEST(one.verdict.part_of_run().value() < 0.01);
  BOOST_TEST((meter.tried == std::vector<std::string>{"new", "nothing"}));  // No more is worth the time.
}

BOOST_AUTO_TEST_CASE(without_stacks_the_advice_is_for_all_of_the_program) {
  BOOST_TEST(judge_of(temporaries_in_a_loop().bytes(false)).first() == "pool cistern-unsync");
  BOOST_TEST(judge_of(growing_vectors().bytes(false)).first() == "reserve new");
  BOOST_TEST(judge_of(cache_with_survivors().bytes(false)).first() == "pool cistern-unsync");
  BOOST_TEST(judge_of(messages_handed_over().bytes(false)).first() == "pool cistern-sync");
  BOOST_TEST(judge_of(one_shot().bytes(false)).first() == "monotonic monotonic");
  BOOST_TEST(judge_of(almost_free_of_allocations().bytes(false)).first() == "few_per_cent");
}

BOOST_AUTO_TEST_CASE(a_trace_that_was_cut_off_is_judged_as_far_as_it_goes) {
  BOOST_TEST(judge_of(cache_with_survivors().bytes(true, false)).first() == "pool_for_sites cistern-unsync");
}

BOOST_AUTO_TEST_CASE(where_nothing_gains_no_pool_is_needed) {
  counting_meter meter(true);
  BOOST_TEST(judge_of(cache_with_survivors().bytes(), meter).first() == "within_noise");
}

BOOST_AUTO_TEST_CASE(where_nothing_is_allocated_no_pool_is_needed) {
  counting_meter meter;
  BOOST_TEST(judge_of(stacked_trace().bytes(), meter).first() == "no_allocations");
  BOOST_TEST(meter.tried.empty());
}

BOOST_AUTO_TEST_CASE(gains_are_what_the_model_says) {
  const judged one = judge_of(cache_with_survivors().bytes());
  const auto calls = static_cast<double>(one.profile.calls);
  BOOST_TEST(one.verdict.calls_nanoseconds.median == 18 * calls, boost::test_tools::tolerance(0.03));
  const double chosen = static_cast<double>(one.profile.sites[4].calls());
  BOOST_TEST(one.verdict.advices[0].gain_nanoseconds.median == 12 * chosen,
             boost::test_tools::tolerance(0.1));
  // 300 ns pass before each call, of which recording took 120.
  BOOST_TEST(one.verdict.run_nanoseconds.value() == 180 * calls, boost::test_tools::tolerance(0.01));
}

BOOST_AUTO_TEST_CASE(calls_that_recording_may_hide_are_not_few) {
  stacked_trace program;
  program.call_nanoseconds = 1000;  // Of which recording may have taken 120 or 480; calls take 18.
  std::deque<std::uint64_t> blocks;
  for (int i = 0; i < 5000; ++i) {
    blocks.push_back(program.allocate(100, 4));
    if (blocks.size() < 200) continue;
    program.free(blocks.front(), 5);
    blocks.pop_front();
  }
  const judged one = judge_of(program.bytes());
  BOOST_TEST(one.verdict.part_of_run().value() < few_per_cent);
  BOOST_TEST(one.first() == "pool_for_sites cistern-unsync");
}

BOOST_AUTO_TEST_CASE(without_times_gains_are_compared_with_calls) {
  stacked_trace timeless;
  timeless.call_nanoseconds = 0;
  for (int i = 0; i < 1000; ++i) timeless.free(timeless.allocate(20, 1), 2);
  const judged one = judge_of(timeless.bytes());
  BOOST_TEST(!one.verdict.part_of_run().has_value());
  BOOST_TEST(one.first() == "small_buffer stack");
}
