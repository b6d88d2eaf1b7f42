#include "trace_survey.hpp"

#include <algorithm>

#include "block_follower.hpp"

namespace cistern::tool {
namespace {

void count_call(trace_survey& found, const trace_event& event) {
  found.end_nanoseconds = std::max(found.end_nanoseconds, static_cast<std::uint64_t>(event.time.count()));
  ++found.threads[event.thread];
  switch (event.call) {
    case trace_call::allocate:
      ++found.allocations;
      break;
    case trace_call::deallocate:
      ++found.deallocations;
      break;
    case trace_call::failed_allocate:
      ++found.failures;
      break;
    case trace_call::reallocate:
      ++found.reallocations;
      break;
  }
}

}  // namespace

trace_survey survey(trace_reader& trace) {
  trace_survey found;
  block_follower blocks;
  const auto ended = [&](const block_end& end) {
    const auto bytes = static_cast<double>(end.block.bytes);
    found.all.end(bytes, end.is_temporary);
    found.stacks[end.block.stack].end(bytes, end.is_temporary);
  };
  const auto begun = [&](const followed_block& block) {
    const auto bytes = static_cast<double>(block.bytes);
    if (found.stacks.size() <= block.stack) found.stacks.resize(block.stack + 1);
    found.stacks[block.stack].begin(bytes);
    const double peak_before = found.all.peak_bytes;
    found.all.begin(bytes);
    if (found.all.peak_bytes > peak_before) found.peak_nanoseconds = block.nanoseconds;
  };
  found.is_cut_off = !for_each_event(trace, [&](const trace_event& event) {
    count_call(found, event);
    blocks.see(event, ended, begun);
  });
  found.left_blocks = blocks.live_blocks();
  return found;
}

}  // namespace cistern::tool
