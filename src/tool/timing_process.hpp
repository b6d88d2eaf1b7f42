// timing_process: a process that replays on one resource when it is told to.
#pragma once

#include <cstddef>
#include <string>

#include "../trace/script_player.hpp"
#include "replay_resource.hpp"
#include <sys/types.h>

namespace cistern::tool {

/// A fork, with all that a resource leaves behind to itself: where a malloc draws its lines and what its heap
/// looks like depends on what was freed before, also by others that take their memory from it.
class timing_process {
 public:
  /// Both must outlive the process. While this is called there may be no other thread. Throws
  /// `std::system_error`.
  timing_process(const replay_candidate& candidate, const detail::replay_script& script);
  timing_process(const timing_process&) = delete;
  timing_process& operator=(const timing_process&) = delete;
  ~timing_process();

  /// Replays on a resource made for it, so often, and maybe once more before. Throws `std::runtime_error` if
  /// the process ends over it.
  [[nodiscard]] detail::play_result play(detail::play_way way, std::size_t repetitions, bool warm_up);

 private:
  std::string name_;
  int socket_ = -1;
  pid_t process_ = 0;
};

}  // namespace cistern::tool
