// replay_meter: measures for advice by replaying, as cistern-trace replay does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "advice_meter.hpp"
#include "progress_line.hpp"

namespace cistern::tool {

/// Each trial has a process of its own, for its times and for its memory. While it measures there may be no
/// other thread.
class replay_meter final : public advice_meter {
 public:
  /// `most_bytes`: trials that would take more aren't measured for memory.
  replay_meter(std::size_t rounds, std::uint64_t most_bytes) : rounds_(rounds), most_bytes_(most_bytes) {}

  [[nodiscard]] std::vector<measured_trial> measure(const std::vector<advice_trial>& trials) override;
  [[nodiscard]] double copying(std::uint64_t bytes, std::uint64_t pieces) override;

 private:
  void measure_memory_of(const std::vector<advice_trial>& trials, std::vector<measured_trial>& measured,
                         progress_line& progress) const;

  std::size_t rounds_;
  std::uint64_t most_bytes_;
};

}  // namespace cistern::tool
