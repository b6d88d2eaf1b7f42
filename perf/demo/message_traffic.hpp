// message_traffic: the demo's second job: messages come in bursts, are held a while and dropped; then it is
// quiet.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory_resource>
#include <vector>

namespace demo {

/// The timetable, in ticks. In each burst messages are received up to `last_receipt`; those that were held
/// go at `drop`. Each thread does the same amount.
struct timetable {
  static constexpr std::chrono::milliseconds tick{5};
  static constexpr std::size_t threads = 4;
  static constexpr std::size_t bursts = 3;
  static constexpr std::size_t burst_ticks = 40;
  static constexpr std::size_t last_receipt = 24;  ///< Counted from the burst's start, as are the next two.
  static constexpr std::size_t drop = 32;
  static constexpr std::size_t brief_ticks = 4;  ///< How long the half of the messages lives that isn't held.
  static constexpr std::size_t quiet_ticks = 240;
  static constexpr std::size_t burst_bytes = std::size_t{64} << 20U;
  static constexpr std::size_t ticks_per_sample = 5;

  static constexpr std::size_t all_bursts_ticks = bursts * burst_ticks;
  static constexpr std::size_t all_ticks = all_bursts_ticks + quiet_ticks;

  [[nodiscard]] static constexpr double seconds(std::size_t ticks) {
    return std::chrono::duration<double>(tick * ticks).count();
  }
};

struct traffic_sample {
  std::size_t live_bytes = 0;  ///< In messages that were held at that time.
  std::size_t held_bytes = 0;  ///< What the job had added to the memory of the process.
};

struct traffic_result {
  double processor_seconds = 0;  ///< Of all threads, in the program and in the system.
  std::uint64_t checksum = 0;    ///< Over all messages as they were when they were dropped.
  std::uint64_t messages = 0;
  std::vector<traffic_sample> samples;  ///< One each `ticks_per_sample`.
};

/// Does the job once, with every message from `resource`, which must be thread-safe. Each thread receives
/// messages of 1 to 256 KiB (small ones are as frequent in each doubling as large ones) in each tick and
/// hands them to its neighbour, which drops them. In the quiet phase some messages of up to 4 KiB still come.
///
/// Samples are taken by `held_bytes()`.
[[nodiscard]] traffic_result run_traffic(std::pmr::memory_resource* resource,
                                         const std::function<std::size_t()>& held_bytes);

}  // namespace demo
