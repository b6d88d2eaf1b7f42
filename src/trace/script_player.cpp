#include "script_player.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <future>
#include <limits>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include <time.h>

namespace cistern::detail {
namespace {

using play_clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

/// Of two threads that wait for each other, what counts is when they are through; of one alone its own time,
/// which leaves out what else the machine does.
[[nodiscard]] nanoseconds read_clock(bool is_alone) noexcept {
  timespec now{};
  ::clock_gettime(is_alone ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return std::chrono::seconds(now.tv_sec) + nanoseconds(now.tv_nsec);
}

constexpr std::size_t line_bytes = 64;
constexpr unsigned tries_before_yielding = 64;

/// Stands in a slot for a block that was refused.
std::byte refused_block{};

/// Where a block's address is kept. Empty: a block that is handed over isn't there yet.
using block_slot = std::atomic<void*>;
static_assert(sizeof(block_slot) * replay_slots_in_line == line_bytes);

template <class Condition>
void wait_until(const Condition& holds) {
  for (unsigned tries = 0; !holds(); ++tries) {
    if (tries >= tries_before_yielding) std::this_thread::yield();
  }
}

struct timed_way {
  static void write_into(std::byte* block, std::size_t bytes) {
    if (bytes != 0) *block = std::byte{1};
  }
  template <class Call>
  static auto clocked(std::chrono::nanoseconds&, const Call& call) {
    return call();
  }
};

struct filling_way : timed_way {
  static void write_into(std::byte* block, std::size_t bytes) {
    auto* const all = static_cast<volatile std::byte*>(block);
    for (std::size_t i = 0; i < bytes; i += 4096) all[i] = std::byte{1};
    if (bytes != 0) all[bytes - 1] = std::byte{1};
  }
};

struct clocked_way : timed_way {
  template <class Call>
  static auto clocked(std::chrono::nanoseconds& longest, const Call& call) {
    struct until_return {
      std::chrono::nanoseconds& longest;
      play_clock::time_point begun = play_clock::now();
      until_return(const until_return&) = delete;
      until_return& operator=(const until_return&) = delete;
      explicit until_return(std::chrono::nanoseconds& of) : longest(of) {}
      ~until_return() { longest = std::max<std::chrono::nanoseconds>(longest, play_clock::now() - begun); }
    };
    const until_return taken(longest);
    return call();
  }
};

}  // namespace

/// The threads of a replay, and what they share.
class script_player::team {
 public:
  explicit team(const replay_script& script)
      : script_(script),
        memory_(script.lanes.get_allocator().resource()),
        slots_(script.slots, memory_),
        progress_(script.lanes.size(), memory_),
        results_(script.lanes.size(), memory_),
        together_(static_cast<std::ptrdiff_t>(script.lanes.size()), end_of_repetition{&options_}) {}

  [[nodiscard]] play_result play(std::pmr::memory_resource& resource, const play_options& options);

 private:
  /// Slots, the first of which begins a cache line.
  class block_slots {
   public:
    block_slots(std::size_t slots, std::pmr::memory_resource* memory)
        : slots_(slots + replay_slots_in_line, std::pmr::polymorphic_allocator<block_slot>(memory)) {
      void* first = slots_.data();
      std::size_t bytes = slots_.size() * sizeof(block_slot);
      first_ = static_cast<block_slot*>(std::align(line_bytes, slots * sizeof(block_slot), first, bytes));
    }

    [[nodiscard]] block_slot& operator[](std::size_t slot) const noexcept { return first_[slot]; }

   private:
    std::pmr::vector<block_slot> slots_;
    block_slot* first_;
  };

  /// How far a thread is.
  struct alignas(line_bytes) lane_progress {
    std::atomic<std::uint64_t> stage{0};
  };

  /// What a thread of a replay comes to.
  struct alignas(line_bytes) lane_result {
    nanoseconds started{};
    nanoseconds ended{};
    std::uint64_t refused = 0;
    std::chrono::nanoseconds longest_call{};
  };

  struct end_of_repetition {
    const play_options* const* options;
    void operator()() const noexcept {
      if ((*options)->after_repetition) (*options)->after_repetition();
    }
  };

  void run_threads();
  void run_lane(std::size_t lane) noexcept;
  template <class Way>
  void perform_lane(std::size_t lane, lane_result& result);
  template <class Way>
  [[nodiscard]] void* allocate(const replay_step& step, lane_result& result);
  template <class Way>
  void deallocate(const replay_step& step, void* block, lane_result& result);
  [[nodiscard]] static void* take_over(block_slot& kept);
  void keep_pace(std::size_t lane, std::uint64_t stage);
  void perform(std::size_t lane, lane_result& result);

  const replay_script& script_;
  std::pmr::memory_resource* memory_;                      // Used by no thread but the caller's.
  std::array<std::pmr::memory_resource*, 2> resources_{};  // For chosen blocks the second.
  const play_options* options_ = nullptr;
  block_slots slots_;
  std::pmr::vector<lane_progress> progress_;
  std::pmr::vector<lane_result> results_;
  std::barrier<end_of_repetition> together_;  // Of all threads, at the end of each repetition.
};

template <class Way>
void* script_player::team::allocate(const replay_step& step, lane_result& result) {
  const std::size_t bytes = step.bytes;
  const std::size_t alignment = std::size_t{1} << step.alignment_power;
  std::pmr::memory_resource& from = *resources_[step.is_chosen];
  void* block = nullptr;
  try {
    block = Way::clocked(result.longest_call, [&] { return from.allocate(bytes, alignment); });
  } catch (const std::bad_alloc&) {
    ++result.refused;
    return &refused_block;
  }
  Way::write_into(static_cast<std::byte*>(block), bytes);
  return block;
}

template <class Way>
void script_player::team::deallocate(const replay_step& step, void* block, lane_result& result) {
  if (block == &refused_block) return;
  const std::size_t alignment = std::size_t{1} << step.alignment_power;
  std::pmr::memory_resource& from = *resources_[step.is_chosen];
  Way::clocked(result.longest_call, [&] { from.deallocate(block, step.bytes, alignment); });
}

/// Leaves the slot empty for the next repetition.
void* script_player::team::take_over(block_slot& kept) {
  void* block = nullptr;
  wait_until([&] { return (block = kept.load(std::memory_order_acquire)) != nullptr; });
  kept.store(nullptr, std::memory_order_relaxed);
  return block;
}

/// Waits until all other threads are in the stage before this one or later: else those who only allocate what
/// others free would be through before these have begun, and far more would be live than in the program.
void script_player::team::keep_pace(std::size_t lane, std::uint64_t stage) {
  progress_[lane].stage.store(stage, std::memory_order_relaxed);
  for (const lane_progress& each : progress_) {
    wait_until([&] { return each.stage.load(std::memory_order_relaxed) + 1 >= stage; });
  }
}

template <class Way>
void script_player::team::perform_lane(std::size_t lane, lane_result& result) {
  for (const replay_step& step : script_.lanes[lane]) {
    block_slot& kept = slots_[step.slot];
    switch (step.kind) {
      case replay_step_kind::allocate:
        kept.store(allocate<Way>(step, result), std::memory_order_relaxed);
        break;
      case replay_step_kind::deallocate:
        deallocate<Way>(step, kept.load(std::memory_order_relaxed), result);
        break;
      case replay_step_kind::hand_over:
        kept.store(allocate<Way>(step, result), std::memory_order_release);
        break;
      case replay_step_kind::take_over:
        deallocate<Way>(step, take_over(kept), result);
        break;
      case replay_step_kind::pace:
        keep_pace(lane, step.bytes);
        break;
      case replay_step_kind::sample:
        if (options_->on_sample) options_->on_sample(step.slot);
        break;
    }
  }
}

/// All of a lane once. Nobody waits for one that is through.
void script_player::team::perform(std::size_t lane, lane_result& result) {
  progress_[lane].stage.store(0, std::memory_order_relaxed);
  switch (options_->way) {
    case play_way::timed:
      perform_lane<timed_way>(lane, result);
      break;
    case play_way::filling:
      perform_lane<filling_way>(lane, result);
      break;
    case play_way::clocked:
      perform_lane<clocked_way>(lane, result);
      break;
  }
  constexpr std::uint64_t through = std::numeric_limits<std::uint64_t>::max() - 1;
  progress_[lane].stage.store(through, std::memory_order_relaxed);
  together_.arrive_and_wait();
}

void script_player::team::run_lane(std::size_t lane) noexcept {
  lane_result& result = results_[lane];
  if (options_->warm_up) {
    lane_result unmeasured;
    perform(lane, unmeasured);
  }
  const bool is_alone = script_.lanes.size() == 1;
  result.started = read_clock(is_alone);
  for (std::size_t i = 0; i < options_->repetitions; ++i) perform(lane, result);
  result.ended = read_clock(is_alone);
}

/// Nobody begins before all threads are there: one that can't be started would be waited for without end.
void script_player::team::run_threads() {
  std::promise<bool> all_there;
  const std::shared_future<bool> begin = all_there.get_future().share();
  std::vector<std::thread> threads;
  const auto finish = [&](bool are_there) {
    all_there.set_value(are_there);
    for (std::thread& each : threads) each.join();
  };
  try {
    threads.reserve(script_.lanes.size());
    for (std::size_t lane = 0; lane < script_.lanes.size(); ++lane) {
      threads.emplace_back([this, lane, begin] {
        if (begin.get()) run_lane(lane);
      });
    }
    if (options_->on_ready) options_->on_ready();
  } catch (...) {
    finish(false);
    throw;
  }
  finish(true);
}

play_result script_player::team::play(std::pmr::memory_resource& resource, const play_options& options) {
  if (script_.lanes.empty()) return {};
  resources_ = {&resource, options.chosen != nullptr ? options.chosen : &resource};
  options_ = &options;
  results_.assign(script_.lanes.size(), {});
  if (script_.lanes.size() == 1) {
    if (options.on_ready) options.on_ready();
    run_lane(0);
  } else {
    run_threads();
  }
  const auto by_start = [](const lane_result& a, const lane_result& b) { return a.started < b.started; };
  const auto by_end = [](const lane_result& a, const lane_result& b) { return a.ended < b.ended; };
  play_result all;
  all.elapsed = std::max_element(results_.begin(), results_.end(), by_end)->ended -
                std::min_element(results_.begin(), results_.end(), by_start)->started;
  for (const lane_result& each : results_) {
    all.refused += each.refused;
    all.longest_call = std::max(all.longest_call, each.longest_call);
  }
  return all;
}

script_player::script_player(const replay_script& script) : team_(std::make_unique<team>(script)) {}

script_player::~script_player() = default;

play_result script_player::play(std::pmr::memory_resource& resource, const play_options& options) {
  return team_->play(resource, options);
}

}  // namespace cistern::detail
