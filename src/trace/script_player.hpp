// script_player: performs a script on a resource, on as many threads as it has lanes, and takes the time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <memory_resource>

#include "replay_script.hpp"

namespace cistern::detail {

/// What is done beside the calls.
enum class play_way {
  timed,    ///< Next to nothing: the first byte of each block is written.
  filling,  ///< Something is written into every page of a block, as a program does it.
  clocked,  ///< As `timed`, with the clock read in front of every call and behind it.
};

struct play_options {
  play_way way = play_way::timed;
  std::size_t repetitions = 1;
  bool warm_up = false;                         ///< One more repetition before the clock starts.
  std::pmr::memory_resource* chosen = nullptr;  ///< Serves the chosen blocks; null: they are like all others.
  std::function<void()> on_ready{};             ///< When all is there but blocks, before the first call.
  std::function<void()> after_repetition{};     ///< While no thread is in a call; within the time. No throw.
  /// By the thread that made the call, with the number of the sample, while other threads go on. No throw.
  std::function<void(std::size_t sample)> on_sample{};
};

struct play_result {
  /// Of the repetitions, from the first thread's first step to the last one's last; on one thread, what the
  /// processor took.
  std::chrono::nanoseconds elapsed{};
  std::uint64_t refused = 0;                ///< Allocations for which the resource threw `std::bad_alloc`.
  std::chrono::nanoseconds longest_call{};  ///< Where calls are clocked.
};

/// Has a place for the address of each block, and nothing else to do but calls.
class script_player {
 public:
  /// The script must outlive the player, which takes memory from the same resource. Throws `std::bad_alloc`.
  explicit script_player(const replay_script& script);
  script_player(const script_player&) = delete;
  script_player& operator=(const script_player&) = delete;
  ~script_player();

  /// A script of one lane is played on the calling thread, one of several on threads that are started for it.
  /// A refused block is not freed. A resource may throw nothing but `std::bad_alloc`. Throws `std::bad_alloc`
  /// and, where threads can't be started, `std::system_error`; no call was made then.
  [[nodiscard]] play_result play(std::pmr::memory_resource& resource, const play_options& options = {});

 private:
  class team;
  std::unique_ptr<team> team_;
};

/// Plays once, by a player made for it.
[[nodiscard]] inline play_result play(const replay_script& script, std::pmr::memory_resource& resource,
                                      const play_options& options = {}) {
  return script_player(script).play(resource, options);
}

}  // namespace cistern::detail
