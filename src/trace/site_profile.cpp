#include "site_profile.hpp"

#include <cistern/resource_or_new_delete.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <span>
#include <unordered_map>
#include <utility>

namespace cistern::detail {
namespace {

/// A function that frees what it made, after so many calls of its thread at most: later, it is rather that it
/// keeps something from one run to the next.
constexpr std::uint64_t soon_calls = 64;

/// Lives through a trace.
class site_profiler {
 public:
  site_profiler(const trace_reader& trace, const std::function<stack_site(std::uint64_t)>& site_of,
                std::pmr::memory_resource* memory)
      : trace_(trace),
        site_of_(site_of),
        profile_{.sites = std::pmr::vector<site_facts>(memory),
                 .hand_overs = std::pmr::vector<hand_over>(memory),
                 .replaced = std::pmr::vector<bool>(memory),
                 .locals = std::pmr::vector<bool>(memory)},
        growth_(memory),
        stacks_(memory),
        live_(memory),
        threads_(memory),
        handed_over_(memory),
        same_frames_(memory) {}

  void see(const trace_event& event);
  [[nodiscard]] trace_profile finish(std::optional<trace_error> cut) &&;

 private:
  struct block {
    std::uint64_t bytes;
    std::uint64_t thread;
    std::uint64_t stack;
    std::uint64_t thread_call;  // By which its thread made it.
    std::chrono::nanoseconds time;
    std::uint32_t site;
  };
  struct thread_state {
    std::uint64_t calls = 0;
    std::uint64_t newest_block = 0;
  };

  [[nodiscard]] stack_site at(std::uint64_t stack);
  std::uint32_t allocate(const trace_event& event, thread_state& thread);
  void free(std::uint64_t number, const trace_event& event, bool grew);
  void count_free(const block& freed, const trace_event& event);
  [[nodiscard]] bool is_same_frame(std::uint64_t made, std::uint64_t freed);

  const trace_reader& trace_;
  const std::function<stack_site(std::uint64_t)>& site_of_;
  trace_profile profile_;
  growth_finder growth_;
  std::pmr::vector<std::optional<stack_site>> stacks_;
  std::pmr::unordered_map<std::uint64_t, block> live_;
  std::pmr::unordered_map<std::uint64_t, thread_state> threads_;
  std::pmr::map<std::pair<std::uint64_t, std::uint64_t>, hand_over> handed_over_;
  std::pmr::map<std::pair<std::uint64_t, std::uint64_t>, bool> same_frames_;  // By both stacks.
  std::uint64_t live_bytes_ = 0;
};

stack_site site_profiler::at(std::uint64_t stack) {
  if (stacks_.size() <= stack) stacks_.resize(stack + 1);
  if (!stacks_[stack]) stacks_[stack] = site_of_(stack);
  return *stacks_[stack];
}

/// Whether the function that is the site of the first stack is, in the same run, in the second: both stacks
/// are the same from the place that called it outward. Which run of it that is, stacks don't say.
bool site_profiler::is_same_frame(std::uint64_t made, std::uint64_t freed) {
  if (made == 0 || freed == 0) return false;
  const auto [found, is_new] = same_frames_.try_emplace({made, freed}, false);
  if (!is_new) return found->second;
  const std::span<const trace_place> inner = trace_.stacks().stack(made);
  const std::span<const trace_place> other = trace_.stacks().stack(freed);
  const std::size_t from = at(made).inner_places + std::size_t{1};
  if (from > inner.size() || inner.size() - from >= other.size()) return false;
  const std::span<const trace_place> callers = inner.subspan(from);
  found->second =
      std::equal(callers.begin(), callers.end(), other.end() - static_cast<std::ptrdiff_t>(callers.size()));
  return found->second;
}

std::uint32_t site_profiler::allocate(const trace_event& event, thread_state& thread) {
  const std::uint32_t site = at(event.stack).site;
  if (profile_.sites.size() <= site) profile_.sites.resize(site + std::size_t{1});
  site_facts& facts = profile_.sites[site];
  if (facts.allocations == 0) {
    facts.stack = event.stack;
    facts.thread = event.thread;
  }
  facts.has_threads |= facts.thread != event.thread;
  ++facts.allocations;
  facts.requested_bytes += event.bytes;
  facts.largest_bytes = std::max(facts.largest_bytes, event.bytes);
  facts.live_bytes += event.bytes;
  facts.peak_bytes = std::max(facts.peak_bytes, facts.live_bytes);
  facts.peak_blocks = std::max(facts.peak_blocks, ++facts.live_blocks);
  ++facts.sizes[static_cast<std::size_t>(std::bit_width(event.bytes))];
  live_.insert_or_assign(event.block,
                         block{event.bytes, event.thread, event.stack, thread.calls, event.time, site});
  thread.newest_block = event.block;
  ++profile_.allocations;
  profile_.requested_bytes += event.bytes;
  live_bytes_ += event.bytes;
  profile_.peak_bytes = std::max(profile_.peak_bytes, live_bytes_);
  const std::uint64_t distance = trace_.sample_bytes();
  const double chance =
      distance == 0 ? 1 : -std::expm1(-static_cast<double>(event.bytes) / static_cast<double>(distance));
  profile_.program_calls += 2 / std::max(chance, 1e-9);  // With its free.
  return site;
}

void site_profiler::count_free(const block& freed, const trace_event& event) {
  site_facts& facts = profile_.sites[freed.site];
  ++facts.frees;
  --facts.live_blocks;
  facts.live_bytes -= freed.bytes;
  live_bytes_ -= freed.bytes;
  const auto lived = static_cast<std::uint64_t>((event.time - freed.time).count());
  ++facts.lifetimes[static_cast<std::size_t>(std::bit_width(lived))];
  if (freed.thread == event.thread) return;
  ++facts.handed_over;
  facts.has_threads = true;
  hand_over& between = handed_over_[{freed.thread, event.thread}];
  between = {freed.thread, event.thread, between.blocks + 1, between.bytes + freed.bytes};
}

/// `grew`: the block has a larger one in its place.
void site_profiler::free(std::uint64_t number, const trace_event& event, bool grew) {
  const auto found = live_.find(number);
  if (found == live_.end()) return;  // From before the trace.
  const block freed = found->second;
  live_.erase(found);
  count_free(freed, event);
  if (grew || freed.thread != event.thread) return;
  const thread_state& thread = threads_[event.thread];
  const bool is_temporary = thread.newest_block == number;
  const bool is_soon = thread.calls - freed.thread_call <= soon_calls;
  if (!is_temporary && !(is_soon && is_same_frame(freed.stack, event.stack))) return;
  site_facts& facts = profile_.sites[freed.site];
  facts.temporaries += is_temporary;
  ++facts.locals;
  if (profile_.locals.size() <= number) profile_.locals.resize(number + 1);
  profile_.locals[number] = true;
}

void site_profiler::see(const trace_event& event) {
  thread_state& thread = threads_[event.thread];
  profile_.duration = event.time;
  if (event.call == trace_call::failed_allocate) return;
  ++thread.calls;
  ++profile_.calls;
  if (event.call == trace_call::deallocate) {
    free(event.block, event, growth_.free(event.block, event.thread, at(event.stack).site));
    return;
  }
  const std::uint32_t site = allocate(event, thread);
  if (event.call == trace_call::allocate) {
    growth_.allocate(event.block, event.bytes, event.thread, site);
    return;
  }
  growth_.reallocate(event.old_block, event.block, event.bytes, event.thread, site,
                     event.address != event.old_address);
  free(event.old_block, event, true);
}

trace_profile site_profiler::finish(std::optional<trace_error> cut) && {
  for (std::uint32_t site = 0; site < profile_.sites.size(); ++site) {
    site_facts& facts = profile_.sites[site];
    facts.growth = growth_.at(site);
    profile_.left_live += facts.live_blocks;
  }
  profile_.replaced = growth_.replaced();
  for (const auto& [threads, between] : handed_over_) profile_.hand_overs.push_back(between);
  std::sort(profile_.hand_overs.begin(), profile_.hand_overs.end(),
            [](const hand_over& a, const hand_over& b) { return a.blocks > b.blocks; });
  profile_.threads = threads_.size();
  profile_.has_stacks = trace_.has_stacks();
  profile_.program_calls -= static_cast<double>(profile_.left_live);
  profile_.cut = std::move(cut);
  return std::move(profile_);
}

}  // namespace

trace_profile profile_sites(trace_reader& trace, const std::function<stack_site(std::uint64_t)>& site_of,
                            std::pmr::memory_resource* memory) {
  site_profiler profiler(trace, site_of, resource_or_new_delete(memory));
  std::optional<trace_error> cut;
  try {
    for (trace_event event; trace.next(event);) profiler.see(event);
  } catch (const trace_error& error) {
    if (error.fault() != trace_fault::truncated || trace.events() == 0) throw;
    cut = error;
  }
  return std::move(profiler).finish(std::move(cut));
}

}  // namespace cistern::detail
