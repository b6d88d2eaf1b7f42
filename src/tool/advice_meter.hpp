// advice_meter: what measures for advice: the machine, or in tests a model of one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "../trace/replay_script.hpp"

namespace cistern::tool {

/// What is tried: a script on a resource.
struct advice_trial {
  std::string on;           ///< As `cistern-trace replay --on` has it, or "stack": `stack_buffers`.
  bool for_chosen = false;  ///< It serves the script's chosen blocks, and new/delete all others.
  const detail::replay_script* script = nullptr;
  bool cold = false;  ///< A process that begins with no memory plays it once.

  friend bool operator==(const advice_trial&, const advice_trial&) = default;
};

/// What came of it.
struct measured_trial {
  std::vector<double> rounds{};                        ///< Nanoseconds for the script, in order of rounds.
  std::optional<std::uint64_t> peak_resident_bytes{};  ///< Where it was measured.
};

/// Measures trials.
class advice_meter {
 public:
  advice_meter() = default;
  advice_meter(const advice_meter&) = delete;
  advice_meter& operator=(const advice_meter&) = delete;
  virtual ~advice_meter() = default;

  /// All of them side by side, in rounds: there are as many of each. In order.
  [[nodiscard]] virtual std::vector<measured_trial> measure(const std::vector<advice_trial>& trials) = 0;
  /// Nanoseconds for copying so many bytes, in so many pieces.
  [[nodiscard]] virtual double copying(std::uint64_t bytes, std::uint64_t pieces) = 0;
};

}  // namespace cistern::tool
