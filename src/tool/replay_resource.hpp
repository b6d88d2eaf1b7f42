// replay_resource: what a trace can be replayed on, by name.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <memory_resource>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cistern::tool {

/// What a pool has taken from upstream.
struct upstream_use {
  std::uint64_t allocations = 0;
  std::uint64_t held_bytes = 0;
};

/// A resource, made for one replay or several.
class replay_resource {
 public:
  replay_resource() = default;
  replay_resource(const replay_resource&) = delete;
  replay_resource& operator=(const replay_resource&) = delete;
  virtual ~replay_resource() = default;

  [[nodiscard]] virtual std::pmr::memory_resource& get() noexcept = 0;
  /// What serves the chosen blocks of a script; null where they are like all others.
  [[nodiscard]] virtual std::pmr::memory_resource* for_chosen() noexcept { return nullptr; }
  /// Called when a replay has freed all blocks; belongs to its time.
  virtual void end_replay() noexcept {}
  /// Gives the system back what can be.
  virtual void trim() = 0;
  /// None where nothing is taken from another resource. May be called while other threads use the resource.
  [[nodiscard]] virtual std::optional<upstream_use> upstream() const { return std::nullopt; }
};

/// One of a list.
struct replay_candidate {
  std::string name;  ///< As it was given, with its options.
  bool is_thread_safe = true;
  bool gives_blocks = true;         ///< False: blocks are nothing but an address.
  bool keeps_freed_blocks = false;  ///< All that is asked for in a replay is held to its end.
  std::function<std::unique_ptr<replay_resource>()> make;
};

/// Of names with commas between them, each with options behind colons:
/// "new,cistern-sync:thread_cache_bytes=1M". Throws `usage_error`, and `std::runtime_error` where a library
/// can't be loaded.
[[nodiscard]] std::vector<replay_candidate> candidates_in(std::string_view list);

/// What serves a script's chosen blocks by the resource of `one`, and all others by new/delete.
[[nodiscard]] replay_candidate for_chosen_blocks(const replay_candidate& one);

/// What a buffer on the stack may be asked for.
inline constexpr std::size_t largest_stack_block_bytes = 4096;

/// What a monotonic buffer on a function's stack does for a block, but for its making. Refuses larger blocks.
[[nodiscard]] replay_candidate stack_buffers();

/// All but monotonic, as far as they are there.
[[nodiscard]] std::vector<replay_candidate> candidates_by_default();

}  // namespace cistern::tool
