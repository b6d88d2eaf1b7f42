#include "replay_script.hpp"

#include <cistern/resource_or_new_delete.hpp>

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <queue>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>

namespace cistern::detail {
namespace {

/// More than user space has addresses.
constexpr std::uint64_t impossible_bytes = std::uint64_t{1} << 47;
constexpr std::uint64_t touched_page_bytes = 4096;

/// In place of a step: the block is left out.
constexpr std::uint64_t no_step = std::numeric_limits<std::uint64_t>::max();

/// A stage is long beside what it takes to let every thread run once, where there are fewer processors.
[[nodiscard]] std::uint64_t stage_calls_of(std::size_t lanes) noexcept {
  return lanes == 1 ? 0 : std::max<std::uint64_t>(4096, 2048 * lanes);
}

/// Gives slots out by lines, so that each line is one thread's.
class slot_dealer {
 public:
  explicit slot_dealer(std::pmr::memory_resource* memory) : threads_(memory) {}

  void add_thread() { threads_.emplace_back(threads_.get_allocator().resource()); }

  [[nodiscard]] std::uint32_t take(std::uint32_t thread) {
    dealt& of_thread = threads_[thread];
    if (of_thread.free.empty()) return next_of(of_thread.own);
    const std::uint32_t slot = of_thread.free.back();
    of_thread.free.pop_back();
    return slot;
  }
  void give_back(std::uint32_t thread, std::uint32_t slot) { threads_[thread].free.push_back(slot); }

  /// One that nobody had before, nor will have: it is empty until the block is there.
  [[nodiscard]] std::uint32_t take_unshared(std::uint32_t thread) {
    return next_of(threads_[thread].handed_over);
  }

  [[nodiscard]] std::size_t used() const noexcept { return used_; }

 private:
  struct begun_line {
    std::uint32_t next = 0;
    std::uint32_t left = 0;
  };
  struct dealt {
    explicit dealt(std::pmr::memory_resource* memory) : free(memory) {}

    std::pmr::vector<std::uint32_t> free;
    begun_line own;
    begun_line handed_over;
  };

  [[nodiscard]] std::uint32_t next_of(begun_line& from) {
    if (from.left == 0) {
      if (used_ > std::numeric_limits<std::uint32_t>::max() - replay_slots_in_line) {
        throw std::length_error("the trace has too many blocks to be replayed");
      }
      from = {static_cast<std::uint32_t>(used_), replay_slots_in_line};
      used_ += replay_slots_in_line;
    }
    --from.left;
    return from.next++;
  }

  std::pmr::vector<dealt> threads_;
  std::size_t used_ = 0;
};

/// At most so many samples of a trace whose length shows only at its end: every second one is dropped when
/// there are more.
class sample_series {
 public:
  /// Two places are kept for those that don't depend on the distance.
  sample_series(std::size_t most, std::pmr::memory_resource* memory)
      : most_(most > 2 ? most - 2 : 0), kept_(memory) {}

  void see(const replay_sample& now) {
    if (most_ == 0 || now.calls == 0 || now.calls % distance_ != 0) return;
    if (kept_.size() == most_) {
      distance_ *= 2;
      std::erase_if(kept_, [&](const replay_sample& each) { return each.calls % distance_ != 0; });
      if (now.calls % distance_ != 0) return;
    }
    kept_.push_back(now);
  }

  [[nodiscard]] std::pmr::vector<replay_sample> with(const replay_sample& peak,
                                                     const replay_sample& last) && {
    if (most_ == 0) return {};
    kept_.push_back(peak);
    kept_.push_back(last);
    const auto by_calls = [](const replay_sample& a, const replay_sample& b) { return a.calls < b.calls; };
    const auto same_calls = [](const replay_sample& a, const replay_sample& b) { return a.calls == b.calls; };
    std::sort(kept_.begin(), kept_.end(), by_calls);
    kept_.erase(std::unique(kept_.begin(), kept_.end(), same_calls), kept_.end());
    return std::move(kept_);
  }

 private:
  std::size_t most_;
  std::uint64_t distance_ = 1;
  std::pmr::vector<replay_sample> kept_;
};

class script_builder {
 public:
  explicit script_builder(const replay_script_options& options)
      : memory_(resource_or_new_delete(options.memory)),
        options_(options),
        script_{.lanes = std::pmr::vector<std::pmr::vector<replay_step>>(memory_),
                .samples = std::pmr::vector<replay_sample>(memory_)},
        steps_(memory_),
        dealer_(memory_),
        threads_(memory_),
        lives_(memory_),
        live_(memory_),
        samples_(options.samples, memory_) {}

  void read(trace_reader& trace);
  [[nodiscard]] replay_script finish() &&;

 private:
  struct life {
    std::uint64_t first_step;
    std::uint64_t last_step;
  };

  [[nodiscard]] std::uint32_t thread_of(const trace_event& event);
  void add(const trace_event& event, std::uint64_t offset_bytes);
  void allocate(const trace_event& event, std::uint32_t thread, std::uint64_t offset_bytes);
  void free(std::uint64_t block, std::uint32_t thread);
  void free_the_rest();
  [[nodiscard]] std::pmr::vector<std::uint32_t> lanes_of_threads();
  void deal_out();

  std::pmr::memory_resource* memory_;
  const replay_script_options& options_;
  replay_script script_;
  std::pmr::vector<replay_step> steps_;  // Of all threads, in the order of the trace.
  slot_dealer dealer_;
  std::pmr::unordered_map<std::uint64_t, std::uint32_t> threads_;  // By the system's number.
  std::pmr::vector<life> lives_;                                   // By ours.
  std::pmr::unordered_map<std::uint64_t, std::uint64_t> live_;     // Block to the step that allocates it.
  std::uint64_t live_bytes_ = 0;
  std::uint64_t live_first_page_bytes_ = 0;
  replay_sample peak_;
  replay_sample last_;
  sample_series samples_;
};

void script_builder::read(trace_reader& trace) {
  try {
    for (trace_event event; trace.next(event);) add(event, trace.event_offset_bytes());
  } catch (const trace_error& error) {
    if (error.fault() != trace_fault::truncated || steps_.empty()) throw;
    script_.cut = error;
  }
}

std::uint32_t script_builder::thread_of(const trace_event& event) {
  const auto [found, is_new] =
      threads_.try_emplace(event.thread, static_cast<std::uint32_t>(threads_.size()));
  const std::uint32_t thread = options_.one_thread ? 0 : found->second;
  if (thread == lives_.size()) {
    lives_.push_back({steps_.size(), steps_.size()});
    dealer_.add_thread();
  }
  return thread;
}

void script_builder::add(const trace_event& event, std::uint64_t offset_bytes) {
  const std::uint32_t thread = thread_of(event);
  switch (event.call) {
    case trace_call::failed_allocate:
      ++script_.failed_in_trace;
      return;
    case trace_call::allocate:
      allocate(event, thread, offset_bytes);
      break;
    case trace_call::deallocate:
      free(event.block, thread);
      break;
    case trace_call::reallocate:  // As a program does it that has no realloc.
      allocate(event, thread, offset_bytes);
      if (event.old_block != 0 || event.old_address != 0) free(event.old_block, thread);
      break;
  }
  lives_[thread].last_step = steps_.size();
  last_ = {steps_.size(), event.time, live_bytes_};
  samples_.see(last_);
}

void script_builder::allocate(const trace_event& event, std::uint32_t thread, std::uint64_t offset_bytes) {
  const std::uint64_t alignment = std::has_single_bit(event.alignment) ? event.alignment : 1;
  if (event.bytes >= impossible_bytes || alignment >= impossible_bytes) {
    throw trace_error(trace_fault::corrupt,
                      "a block of " + std::to_string(event.bytes) + " bytes aligned to " +
                          std::to_string(alignment) + ", which no program has",
                      offset_bytes);
  }
  const block_use use = options_.use_of ? options_.use_of(event) : block_use::kept;
  live_.emplace(event.block, use == block_use::left_out ? no_step : steps_.size());
  if (use == block_use::left_out) {
    ++script_.left_out;
    return;
  }
  steps_.push_back({.bytes = event.bytes & (impossible_bytes - 1),
                    .is_chosen = use == block_use::chosen,
                    .alignment_power = static_cast<std::uint8_t>(std::countr_zero(alignment)),
                    .kind = replay_step_kind::allocate,
                    .slot = dealer_.take(thread),
                    .thread = thread});
  ++script_.allocations;
  script_.chosen += use == block_use::chosen;
  script_.requested_bytes += event.bytes;
  live_bytes_ += event.bytes;
  live_first_page_bytes_ += std::min(event.bytes, touched_page_bytes);
  script_.peak_first_page_bytes = std::max(script_.peak_first_page_bytes, live_first_page_bytes_);
  if (live_bytes_ <= script_.peak_bytes) return;
  script_.peak_bytes = live_bytes_;
  peak_ = {steps_.size(), event.time, live_bytes_};
}

void script_builder::free(std::uint64_t block, std::uint32_t thread) {
  const auto found = live_.find(block);
  if (found == live_.end()) {
    ++script_.foreign_frees;
    return;
  }
  if (found->second == no_step) {
    live_.erase(found);
    return;
  }
  replay_step& made = steps_[found->second];
  replay_step_kind kind = replay_step_kind::deallocate;
  dealer_.give_back(made.thread, made.slot);
  if (made.thread != thread) {
    made.slot = dealer_.take_unshared(made.thread);
    made.kind = replay_step_kind::hand_over;
    kind = replay_step_kind::take_over;
    ++script_.handed_over;
  }
  live_bytes_ -= made.bytes;
  live_first_page_bytes_ -= std::min<std::uint64_t>(made.bytes, touched_page_bytes);
  replay_step freed = made;
  freed.kind = kind;
  freed.thread = thread;
  steps_.push_back(freed);
  live_.erase(found);
}

/// Each block by the thread that allocated it, in that order.
void script_builder::free_the_rest() {
  std::pmr::vector<std::uint64_t> left(memory_);
  left.reserve(live_.size());
  for (const auto& [block, step] : live_) {
    if (step != no_step) left.push_back(block);
  }
  std::sort(left.begin(), left.end());
  script_.left_live = left.size();
  if (options_.leave_live) {
    script_.never_freed = left.size();
    return;
  }
  for (const std::uint64_t block : left) free(block, steps_[live_.find(block)->second].thread);
}

/// By thread. Threads are numbered as they began.
std::pmr::vector<std::uint32_t> script_builder::lanes_of_threads() {
  using ended_lane = std::pair<std::uint64_t, std::uint32_t>;  // The last step in it.
  std::priority_queue<ended_lane, std::pmr::vector<ended_lane>, std::greater<>> ended(memory_);
  std::pmr::vector<std::uint32_t> lanes(memory_);
  lanes.reserve(lives_.size());
  std::uint32_t used = 0;
  for (const life& each : lives_) {
    const bool is_free = !ended.empty() && ended.top().first <= each.first_step;
    const std::uint32_t lane = is_free ? ended.top().second : used++;
    if (is_free) ended.pop();
    lanes.push_back(lane);
    ended.emplace(each.last_step, lane);
  }
  script_.lanes.resize(used);
  return lanes;
}

/// Puts each step into its lane, with what is no call between them.
void script_builder::deal_out() {
  const std::pmr::vector<std::uint32_t> lane_of = lanes_of_threads();
  script_.stage_calls = stage_calls_of(script_.lanes.size());
  script_.samples = std::move(samples_).with(peak_, last_);
  if (script_.lanes.size() == 1 && script_.samples.empty()) {
    script_.lanes[0] = std::move(steps_);
    return;
  }
  std::pmr::vector<std::uint64_t> stages(script_.lanes.size(), memory_);
  std::uint32_t next_sample = 0;
  for (std::uint64_t done = 0; done < steps_.size();) {
    const replay_step& one = steps_[done];
    const std::uint32_t lane_number = lane_of[one.thread];
    std::pmr::vector<replay_step>& lane = script_.lanes[lane_number];
    const std::uint64_t stage = script_.stage_calls == 0 ? 0 : done / script_.stage_calls;
    if (stage != stages[lane_number]) {
      stages[lane_number] = stage;
      lane.push_back({.bytes = stage & (impossible_bytes - 1),
                      .is_chosen = 0,
                      .alignment_power = 0,
                      .kind = replay_step_kind::pace,
                      .slot = 0,
                      .thread = one.thread});
    }
    lane.push_back(one);
    ++done;
    if (next_sample < script_.samples.size() && script_.samples[next_sample].calls == done) {
      lane.push_back({.bytes = 0,
                      .is_chosen = 0,
                      .alignment_power = 0,
                      .kind = replay_step_kind::sample,
                      .slot = next_sample++,
                      .thread = one.thread});
    }
  }
}

replay_script script_builder::finish() && {
  free_the_rest();
  script_.recorded_threads = threads_.size();
  script_.slots = dealer_.used();
  deal_out();
  return std::move(script_);
}

}  // namespace

replay_script make_replay_script(trace_reader& trace, const replay_script_options& options) {
  script_builder builder(options);
  builder.read(trace);
  return std::move(builder).finish();
}

}  // namespace cistern::detail
