// run_command: runs another program with a malloc preloaded, and takes its time and peak memory from outside.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>

namespace malloc_bench {

struct command_cost {
  std::chrono::nanoseconds wall{};
  std::chrono::microseconds user{};
  std::chrono::microseconds system{};
  std::uint64_t peak_rss_bytes =
      0;           ///< of the largest process among the program and the children it waited for
  int status = 0;  ///< exit status, 128 + signal if one ended it
};

/// Runs `command` (found through PATH) with LD_PRELOAD set to `preload`, or without it if that is empty. Its
/// input and output are this program's. Throws std::system_error if it can't be started.
///
/// Linux counts what a process held before exec towards its peak, so the one who starts it must be small:
/// this program is (4 MiB), a script's interpreter isn't.
command_cost run_command(std::span<char*> command, const std::string& preload);

}  // namespace malloc_bench
