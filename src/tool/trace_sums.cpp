#include "trace_sums.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include "reading_progress.hpp"
#include "trace_input.hpp"

namespace cistern::tool {
namespace {

constexpr std::uint64_t most_block_bytes = std::uint64_t{1} << 47;  // All that a process can address.

/// Sums by groups, each of which knows what was live at the last peak: when it is touched for the first time
/// after one, nothing has changed in it since.
class grouped_sums {
 public:
  [[nodiscard]] allocation_sums& touch(std::size_t group, std::uint64_t peaks) {
    if (group >= sums_.size()) {
      sums_.resize(group + 1);
      touched_after_.resize(group + 1);
    }
    allocation_sums& sums = sums_[group];
    if (touched_after_[group] != peaks) {
      sums.peak_blocks = sums.live_blocks;
      sums.peak_bytes = sums.live_bytes;
      touched_after_[group] = peaks;
    }
    return sums;
  }
  [[nodiscard]] std::vector<allocation_sums> finish(std::uint64_t peaks) && {
    for (std::size_t i = 0; i < sums_.size(); ++i) static_cast<void>(touch(i, peaks));
    return std::move(sums_);
  }

 private:
  std::vector<allocation_sums> sums_;
  std::vector<std::uint64_t> touched_after_;  // So many peaks.
};

class summer {
 public:
  void add(const trace_event& event, std::uint64_t offset_bytes) {
    sums_.end_nanoseconds = static_cast<std::uint64_t>(event.time.count());
    switch (event.call) {
      case trace_call::failed_allocate:
        ++sums_.failures;
        return;
      case trace_call::deallocate:
        ++sums_.deallocations;
        free(event.block);
        return;
      case trace_call::reallocate:
        free(event.old_block);
        break;
      case trace_call::allocate:
        break;
    }
    allocate(event, offset_bytes);
  }
  [[nodiscard]] trace_sums finish() && {
    sums_.by_stack = std::move(by_stack_).finish(peaks_);
    sums_.by_size = std::move(by_size_).finish(peaks_);
    return std::move(sums_);
  }

 private:
  struct block {
    std::uint64_t bytes;
    std::uint64_t stack;
  };

  /// Calls `change` with all sums that a block belongs to.
  template <class Change>
  void for_all_of(const block& of, Change change) {
    change(sums_.all);
    change(by_stack_.touch(of.stack, peaks_));
    change(by_size_.touch(size_power(of.bytes), peaks_));
  }

  void allocate(const trace_event& event, std::uint64_t offset_bytes) {
    if (event.bytes >= most_block_bytes) {
      throw trace_error(trace_fault::corrupt,
                        "a block of " + std::to_string(event.bytes) + " bytes, which no program has",
                        offset_bytes);
    }
    const block of = live_.insert_or_assign(event.block, block{event.bytes, event.stack}).first->second;
    for_all_of(of, [&of](allocation_sums& sums) {
      ++sums.calls;
      sums.bytes += of.bytes;
      ++sums.live_blocks;
      sums.live_bytes += of.bytes;
    });
    if (sums_.all.live_bytes <= sums_.all.peak_bytes) return;
    ++peaks_;
    sums_.all.peak_bytes = sums_.all.live_bytes;
    sums_.all.peak_blocks = sums_.all.live_blocks;
    sums_.peak_nanoseconds = sums_.end_nanoseconds;
  }

  /// Nothing for a block from before the trace.
  void free(std::uint64_t number) {
    const auto found = live_.find(number);
    if (found == live_.end()) return;
    const block of = found->second;
    live_.erase(found);
    for_all_of(of, [&of](allocation_sums& sums) {
      --sums.live_blocks;
      sums.live_bytes -= of.bytes;
    });
  }

  trace_sums sums_;
  grouped_sums by_stack_;
  grouped_sums by_size_;
  std::uint64_t peaks_ = 0;
  std::unordered_map<std::uint64_t, block> live_;  // By number.
};

}  // namespace

allocation_sums& allocation_sums::operator+=(const allocation_sums& more) noexcept {
  calls += more.calls;
  bytes += more.bytes;
  live_blocks += more.live_blocks;
  live_bytes += more.live_bytes;
  peak_blocks += more.peak_blocks;
  peak_bytes += more.peak_bytes;
  return *this;
}

std::size_t size_power(std::uint64_t bytes) noexcept {
  return bytes < 2 ? 0 : static_cast<std::size_t>(std::bit_width(bytes - 1));
}

summed_trace::summed_trace(const std::string& path) : summed_trace(source_named(path), path) {}

summed_trace::summed_trace(trace_source source, const std::string& path) try : trace_(std::move(source)) {
  reading_progress progress(path, "reading " + path);
  summer all;
  for (trace_event event; next_up_to_cut(trace_, event);) {
    all.add(event, trace_.event_offset_bytes());
    progress.at(trace_);
  }
  sums_ = std::move(all).finish();
} catch (const trace_error& error) {
  throw std::runtime_error(fault_in(path, error));
}

}  // namespace cistern::tool
