// replay_memory: what a replay makes a process hold.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "../trace/replay_script.hpp"
#include "replay_resource.hpp"

namespace cistern::tool {

struct memory_point {
  detail::replay_sample at;
  std::uint64_t resident_bytes = 0;               ///< More than before the first call.
  std::optional<std::uint64_t> upstream_bytes{};  ///< Held from upstream, where there is one.
};

struct replay_memory {
  std::uint64_t peak_resident_bytes = 0;  ///< More than before the first call.
  std::uint64_t held_after_trim_bytes = 0;
  std::optional<std::uint64_t> upstream_allocations{};
  std::vector<memory_point> over_time{};
};

/// Replays once in this process, which should have done nothing else, and writes to all of every block.
[[nodiscard]] replay_memory measure_memory(const detail::replay_script& script,
                                           const replay_candidate& candidate);

/// For the process that asked for it.
std::ostream& operator<<(std::ostream& out, const replay_memory& memory);
/// Reads what that has written. Throws `std::runtime_error` if it is something else.
[[nodiscard]] replay_memory memory_from(const std::string& text);

}  // namespace cistern::tool
