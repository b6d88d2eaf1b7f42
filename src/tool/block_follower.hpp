// block_follower: which block each call of a trace begins and ends, and how the ended ones have lived.
#pragma once

#include <cistern/adaptor/trace.hpp>

#include <cstddef>
#include <cstdint>
#include <unordered_map>

namespace cistern::tool {

/// A block that a trace has seen allocated.
struct followed_block {
  std::uint64_t number = 0;
  std::uint64_t bytes = 0;
  std::uint64_t nanoseconds = 0;  ///< When it was allocated.
  std::uint64_t stack = 0;        ///< From where.
  std::uint64_t thread = 0;       ///< By whom.
};

/// How a block ended.
struct block_end {
  followed_block block;
  std::uint64_t nanoseconds = 0;
  std::uint64_t thread = 0;
  bool is_temporary = false;  ///< Freed before the next allocation of the thread that had allocated it.
};

/// Holds a few words for each live block and each thread. Not thread-safe.
class block_follower {
 public:
  /// Calls `ended(const block_end&)` and `begun(const followed_block&)` for what the event ends and begins,
  /// in this order. A `realloc` does both, and its old block is no temporary. A block that lies where another
  /// one begins has ended.
  template <typename Ended, typename Begun>
  void see(const trace_event& event, Ended ended, Begun begun) {
    switch (event.call) {
      case trace_call::deallocate:
        end(event.address, event.block, event, true, ended);
        return;
      case trace_call::reallocate:
        end(event.old_address, event.old_block, event, false, ended);
        break;
      case trace_call::allocate:
        break;
      case trace_call::failed_allocate:
        return;
    }
    if (const auto found = live_.find(event.address); found != live_.end()) {
      end(event.address, found->second.number, event, false, ended);
    }
    const followed_block block{.number = event.block,
                               .bytes = event.bytes,
                               .nanoseconds = static_cast<std::uint64_t>(event.time.count()),
                               .stack = event.stack,
                               .thread = event.thread};
    live_.emplace(event.address, block);
    latest_[event.thread] = event.block;
    begun(block);
  }

  [[nodiscard]] std::size_t live_blocks() const noexcept { return live_.size(); }

  /// Calls `visit(const followed_block&)` for each block that is live.
  template <typename Visit>
  void for_each_live(Visit visit) const {
    for (const auto& [address, block] : live_) visit(block);
  }

 private:
  template <typename Ended>
  void end(std::uint64_t address, std::uint64_t number, const trace_event& event, bool is_free,
           Ended& ended) {
    const auto found = live_.find(address);
    // Unknown: from before the trace. Another number: while it was reallocated, its address was given out
    // again.
    if (found == live_.end() || found->second.number != number) return;
    const followed_block block = found->second;
    live_.erase(found);
    const bool is_latest = latest_[block.thread] == block.number;
    ended(block_end{.block = block,
                    .nanoseconds = static_cast<std::uint64_t>(event.time.count()),
                    .thread = event.thread,
                    .is_temporary = is_free && is_latest});
  }

  std::unordered_map<std::uint64_t, followed_block> live_;   // By address.
  std::unordered_map<std::uint64_t, std::uint64_t> latest_;  // By thread: the block that it allocated last.
};

}  // namespace cistern::tool
