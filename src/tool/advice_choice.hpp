// advice_choice: from a trace and what replays of it take to a verdict and the best few changes.
#pragma once

#include <cistern/adaptor/trace_advice.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "../trace/replay_script.hpp"
#include "../trace/site_profile.hpp"
#include "advice_meter.hpp"
#include "advice_plan.hpp"

namespace cistern::tool {

/// Of the rounds of a measurement.
struct spread {
  double lower_quartile = 0;
  double median = 0;
  double upper_quartile = 0;
};

/// A change of the program that a replay says gains something.
struct advice {
  planned_trial what;
  std::vector<std::uint32_t> sites{};  ///< Whose blocks it is about; empty: all.
  std::uint64_t blocks = 0;            ///< That it serves, or saves.
  spread gain_nanoseconds{};           ///< Of one run of the program.
  detail::growth_facts growth{};       ///< Where something is reserved: what isn't done any more.
  double copying_nanoseconds = 0;      ///< Of the gain, what copying that takes.
  double part_of_calls = 0;            ///< The median without copying, of what all calls take.
  std::optional<double> part_of_run{};
  std::optional<std::uint64_t> peak_resident_bytes{};
};

/// Why there is no advice.
enum class no_pool_reason : std::uint8_t { none, no_allocations, few_per_cent, within_noise };

/// "no_allocations", "few_per_cent", "within_noise"; "none" where there is advice.
[[nodiscard]] const char* to_string(no_pool_reason reason) noexcept;

struct trace_verdict {
  advice_plan plan;
  std::vector<advice> advices{};  ///< Best first; empty: no pool is needed.
  no_pool_reason reason = no_pool_reason::none;
  spread calls_nanoseconds{};  ///< What all calls of the program take on new/delete.
  /// Of the recorded run, less what recording is known to take; none where no times were taken.
  std::optional<double> run_nanoseconds{};
  std::optional<std::uint64_t> peak_resident_bytes{};  ///< On new/delete.

  /// What calls take of the run.
  [[nodiscard]] std::optional<double> part_of_run() const {
    if (!run_nanoseconds) return std::nullopt;
    return calls_nanoseconds.median / *run_nanoseconds;
  }
};

/// Makes a script of the trace.
using script_maker = std::function<detail::replay_script(const detail::replay_script_options&)>;

/// What is known of the trace.
struct traced_program {
  const detail::trace_profile& profile;
  trace_advice rules{};            ///< What it says by itself.
  std::uint64_t sample_bytes = 0;  ///< As `trace_reader` has it.
  /// The site of a stack, as in the profile.
  std::function<std::uint32_t(std::uint64_t stack)> site_of;
  bool one_thread = false;  ///< Replays are on one thread, whatever was recorded.
};

/// Below this part of the run, calls are no matter, whatever serves them.
inline constexpr double few_per_cent = 0.03;

/// Passes on what the maker and the meter throw.
[[nodiscard]] trace_verdict judge(const traced_program& program, const script_maker& make_script,
                                  advice_meter& meter);

}  // namespace cistern::tool
