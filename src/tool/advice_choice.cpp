#include "advice_choice.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "replay_report.hpp"

namespace cistern::tool {
namespace {

using detail::block_use;
using detail::replay_script;
using detail::replay_script_options;
using detail::trace_profile;

/// What recording takes of each call, and what its stack takes more (docs/recording.md).
constexpr double recorded_call_nanoseconds = 60;
constexpr double recorded_stack_nanoseconds = 60;
/// Where the machine did other work as well, so many times that.
constexpr double most_recording = 4;
/// Advice gains at least so much of the run, where that is known, and of what calls take.
constexpr double least_gain_of_run = 0.02;
constexpr double least_gain_of_calls = 0.05;
/// Nor is it less than what some page faults take, which no process does without.
constexpr double least_gain_nanoseconds = 20'000;
/// Of two that gain about the same, as far as replays can tell, the one that changes less of the program is
/// better.
constexpr double about_the_same = 0.75;
constexpr std::size_t most_advices = 4;
/// Where the system doesn't tell the peak, it is looked for so often.
constexpr std::size_t memory_samples = 64;

/// The time of one round less that of another.
using round_times = std::vector<double>;

[[nodiscard]] spread spread_of(const round_times& rounds, double scale) {
  return {quantile(rounds, 0.25) * scale, quantile(rounds, 0.5) * scale, quantile(rounds, 0.75) * scale};
}

[[nodiscard]] round_times difference(const round_times& from, const round_times& less, double correction) {
  round_times all;
  for (std::size_t i = 0; i < std::min(from.size(), less.size()); ++i) {
    all.push_back(from[i] - less[i] - correction);
  }
  return all;
}

/// All of it that the growth of some sites copied.
[[nodiscard]] detail::growth_facts growth_at(const std::vector<std::uint32_t>& sites,
                                             const trace_profile& profile) {
  detail::growth_facts all;
  for (const std::uint32_t each : sites) {
    all.chains += profile.sites[each].growth.chains;
    all.steps += profile.sites[each].growth.steps;
    all.copied_bytes += profile.sites[each].growth.copied_bytes;
  }
  return all;
}

[[nodiscard]] bool is_marked(const std::pmr::vector<bool>& blocks, std::uint64_t block) {
  return block < blocks.size() && blocks[block];
}

[[nodiscard]] const std::vector<std::uint32_t>& sites_for(advice_kind kind, const advice_plan& plan) {
  static const std::vector<std::uint32_t> all;
  switch (kind) {
    case advice_kind::reserve:
      return plan.growing;
    case advice_kind::small_buffer:
      return plan.local;
    case advice_kind::monotonic_for_sites:
    case advice_kind::pool_for_sites:
      return plan.paying;
    case advice_kind::monotonic:
    case advice_kind::pool:
      break;
  }
  return all;
}

class judgement {
 public:
  judgement(const traced_program& program, const script_maker& make_script, advice_meter& meter)
      : program_(program), make_script_(make_script), meter_(meter) {}

  [[nodiscard]] trace_verdict pronounce() &&;

 private:
  [[nodiscard]] replay_script_options whole() const;
  [[nodiscard]] const replay_script& script_for(advice_kind kind);
  [[nodiscard]] advice_trial trial_of(const planned_trial& planned);
  void measure_calls();
  void measure_run();
  void measure_trials();
  void consider(const planned_trial& planned, const advice_trial& trial, const measured_trial& measured,
                const measured_trial& on_new, double own_call_nanoseconds);
  void choose();

  const traced_program& program_;
  const script_maker& make_script_;
  advice_meter& meter_;
  trace_verdict verdict_;
  std::deque<replay_script> scripts_;  // The first is the whole trace.
  std::map<advice_kind, const replay_script*> edited_;
  double scale_ = 1;                  // From a replay to the program.
  double least_run_nanoseconds_ = 0;  // If recording took as long as it may; 0: not known.
  std::vector<advice> found_;
};

replay_script_options judgement::whole() const {
  const std::vector<std::uint32_t>& paying = verdict_.plan.paying;
  return {.one_thread = program_.one_thread,
          .samples = memory_samples,
          .leave_live = verdict_.plan.is_one_shot,
          .use_of = [this, &paying](const trace_event& event) {
            const std::uint32_t site = program_.site_of(event.stack);
            const bool pays = std::find(paying.begin(), paying.end(), site) != paying.end();
            return pays ? block_use::chosen : block_use::kept;
          }};
}

/// As if the program had been changed already.
const replay_script& judgement::script_for(advice_kind kind) {
  if (kind != advice_kind::reserve && kind != advice_kind::small_buffer) return scripts_.front();
  if (const auto found = edited_.find(kind); found != edited_.end()) return *found->second;
  const std::vector<std::uint32_t>& sites = sites_for(kind, verdict_.plan);
  const bool reserves = kind == advice_kind::reserve;
  const std::pmr::vector<bool>& blocks = reserves ? program_.profile.replaced : program_.profile.locals;
  replay_script_options options = whole();
  options.use_of = [this, &sites, &blocks, reserves](const trace_event& event) {
    const bool is_one = is_marked(blocks, event.block) &&
                        std::find(sites.begin(), sites.end(), program_.site_of(event.stack)) != sites.end();
    return !is_one ? block_use::kept : reserves ? block_use::left_out : block_use::chosen;
  };
  return *(edited_[kind] = &scripts_.emplace_back(make_script_(options)));
}

advice_trial judgement::trial_of(const planned_trial& planned) {
  const bool for_chosen = planned.kind == advice_kind::small_buffer ||
                          planned.kind == advice_kind::pool_for_sites ||
                          planned.kind == advice_kind::monotonic_for_sites;
  return {.on = planned.on,
          .for_chosen = for_chosen,
          .script = &script_for(planned.kind),
          .cold = verdict_.plan.is_one_shot};
}

/// What calls take on new/delete, without what replaying takes.
void judgement::measure_calls() {
  scripts_.push_back(make_script_(whole()));
  const replay_script& script = scripts_.front();
  if (script.calls() == 0) return;
  scale_ = program_.profile.program_calls / static_cast<double>(script.calls());
  const bool cold = verdict_.plan.is_one_shot;
  const std::vector<measured_trial> measured = meter_.measure(
      {{.on = "new", .script = &script, .cold = cold}, {.on = "nothing", .script = &script, .cold = cold}});
  round_times net = difference(measured[0].rounds, measured[1].rounds, 0);
  for (double& each : net) each = std::max(each, 0.0);
  verdict_.calls_nanoseconds = spread_of(net, scale_);
  verdict_.peak_resident_bytes = measured[0].peak_resident_bytes;
}

/// Recording is shared by the threads; no more is taken off than leaves the calls themselves.
void judgement::measure_run() {
  const trace_profile& profile = program_.profile;
  if (profile.duration.count() <= 0) return;
  const double a_call = recorded_call_nanoseconds + (profile.has_stacks ? recorded_stack_nanoseconds : 0);
  const double recording = static_cast<double>(profile.calls) * a_call /
                           static_cast<double>(std::max<std::uint64_t>(profile.threads, 1));
  const auto run = static_cast<double>(profile.duration.count());
  const double least = std::max(verdict_.calls_nanoseconds.median, 1.0);
  verdict_.run_nanoseconds = std::max(run - recording, least);
  least_run_nanoseconds_ = std::max(run - most_recording * recording, least);
}

void judgement::consider(const planned_trial& planned, const advice_trial& trial,
                         const measured_trial& measured, const measured_trial& on_new,
                         double own_call_nanoseconds) {
  const double saved_calls = static_cast<double>(scripts_.front().calls() - trial.script->calls());
  detail::growth_facts growth;
  if (planned.kind == advice_kind::reserve) growth = growth_at(verdict_.plan.growing, program_.profile);
  const double copying = meter_.copying(growth.copied_bytes, growth.steps);
  const round_times gains =
      difference(on_new.rounds, measured.rounds, saved_calls * own_call_nanoseconds - copying);
  advice one{.what = planned,
             .sites = sites_for(planned.kind, verdict_.plan),
             .blocks = trial.script->left_out != 0 ? trial.script->left_out
                       : trial.for_chosen          ? trial.script->chosen
                                                   : trial.script->allocations,
             .gain_nanoseconds = spread_of(gains, scale_),
             .growth = growth,
             .copying_nanoseconds = copying * scale_,
             .peak_resident_bytes = measured.peak_resident_bytes};
  const double calls = verdict_.calls_nanoseconds.median;
  const double gain = one.gain_nanoseconds.median;
  one.part_of_calls = calls > 0 ? (gain - one.copying_nanoseconds) / calls : 0;
  if (verdict_.run_nanoseconds) one.part_of_run = gain / *verdict_.run_nanoseconds;
  const double enough = std::max(
      {least_gain_nanoseconds, least_gain_of_calls * calls, least_gain_of_run * least_run_nanoseconds_});
  const bool is_enough = gain >= enough;
  if (one.gain_nanoseconds.lower_quartile > 0 && is_enough) found_.push_back(std::move(one));
}

void judgement::measure_trials() {
  const replay_script& script = scripts_.front();
  const bool cold = verdict_.plan.is_one_shot;
  std::vector<advice_trial> trials = {{.on = "new", .script = &script, .cold = cold},
                                      {.on = "nothing", .script = &script, .cold = cold}};
  for (const planned_trial& each : verdict_.plan.trials) trials.push_back(trial_of(each));
  const std::vector<measured_trial> measured = meter_.measure(trials);
  const double own = quantile(measured[1].rounds, 0.5) / static_cast<double>(script.calls());
  for (std::size_t i = 2; i < trials.size(); ++i) {
    consider(verdict_.plan.trials[i - 2], trials[i], measured[i], measured[0], own);
  }
}

/// The best first, each kind once.
void judgement::choose() {
  while (!found_.empty() && verdict_.advices.size() < most_advices) {
    const auto gain = [](const advice& each) { return each.gain_nanoseconds.median; };
    const auto most = std::max_element(found_.begin(), found_.end(),
                                       [&](const advice& a, const advice& b) { return gain(a) < gain(b); });
    const double enough = gain(*most) * about_the_same;
    auto best = most;
    for (auto each = found_.begin(); each != found_.end(); ++each) {
      if (gain(*each) >= enough && each->what.kind < best->what.kind) best = each;
    }
    const advice_kind kind = best->what.kind;
    verdict_.advices.push_back(*best);
    std::erase_if(found_, [&](const advice& each) { return each.what.kind == kind; });
  }
}

trace_verdict judgement::pronounce() && {
  verdict_.plan = plan_for(program_.profile, program_.rules);
  if (program_.profile.allocations != 0) measure_calls();
  measure_run();
  if (program_.profile.allocations == 0) {
    verdict_.reason = no_pool_reason::no_allocations;
  } else if (verdict_.calls_nanoseconds.median < few_per_cent * least_run_nanoseconds_) {
    verdict_.reason = no_pool_reason::few_per_cent;
  } else {
    measure_trials();
    choose();
    if (verdict_.advices.empty()) verdict_.reason = no_pool_reason::within_noise;
  }
  return std::move(verdict_);
}

}  // namespace

const char* to_string(no_pool_reason reason) noexcept {
  switch (reason) {
    case no_pool_reason::none:
      return "none";
    case no_pool_reason::no_allocations:
      return "no_allocations";
    case no_pool_reason::few_per_cent:
      return "few_per_cent";
    case no_pool_reason::within_noise:
      return "within_noise";
  }
  return "";
}

trace_verdict judge(const traced_program& program, const script_maker& make_script, advice_meter& meter) {
  return judgement(program, make_script, meter).pronounce();
}

}  // namespace cistern::tool
