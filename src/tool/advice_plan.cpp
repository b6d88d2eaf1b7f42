#include "advice_plan.hpp"

#include <algorithm>
#include <functional>

#include "replay_resource.hpp"

namespace cistern::tool {
namespace {

using detail::site_facts;
using detail::trace_profile;
using site_list = std::vector<std::uint32_t>;

/// What a function may put on its stack.
constexpr std::uint64_t most_local_bytes = std::uint64_t{64} << 10;
/// Sites whose calls are below this part of all are no advice's.
constexpr double least_part = 0.01;
constexpr double most_copied_unseen_bytes = 1 << 20;
/// Sites that are put on a pool together: this many at most, and not more than make up this part of calls.
constexpr std::size_t most_paying_sites = 5;
constexpr double paying_part = 0.8;
/// Below, a pool for some sites is hardly another thing than none.
constexpr double least_paying_part = 0.3;
/// Of what lives at the peak, all that was ever asked for may be so much.
constexpr double one_shot_part = 1.5;
constexpr std::uint64_t many_threads = 8;

[[nodiscard]] double part_of(std::uint64_t part, std::uint64_t whole) noexcept {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

[[nodiscard]] bool is_growing(const site_facts& site, const trace_profile& profile) noexcept {
  return part_of(site.growth.steps, site.allocations) >= 0.25 &&
         (part_of(site.growth.steps, profile.allocations) >= least_part ||
          static_cast<double>(site.growth.copied_bytes) >= most_copied_unseen_bytes);
}

[[nodiscard]] bool is_local(const site_facts& site, const trace_profile& profile) noexcept {
  return part_of(site.locals, site.allocations) >= 0.9 &&
         part_of(site.allocations, profile.allocations) >= least_part &&
         site.largest_bytes <= largest_stack_block_bytes && site.peak_bytes <= most_local_bytes;
}

[[nodiscard]] bool builds_up(std::uint64_t requested_bytes, std::uint64_t peak_bytes) noexcept {
  return peak_bytes > 0 && part_of(requested_bytes, peak_bytes) <= one_shot_part;
}

/// Those that `is_one` holds for, by what `weight` says of them.
[[nodiscard]] site_list sites_of(const trace_profile& profile,
                                 const std::function<bool(std::uint32_t)>& is_one,
                                 const std::function<std::uint64_t(const site_facts&)>& weight) {
  site_list sites;
  for (std::uint32_t site = 0; site < profile.sites.size(); ++site) {
    if (profile.sites[site].allocations != 0 && is_one(site)) sites.push_back(site);
  }
  std::stable_sort(sites.begin(), sites.end(), [&](std::uint32_t a, std::uint32_t b) {
    return weight(profile.sites[a]) > weight(profile.sites[b]);
  });
  return sites;
}

[[nodiscard]] bool has(const site_list& sites, std::uint32_t site) {
  return std::find(sites.begin(), sites.end(), site) != sites.end();
}

/// The fewest that make up most of the calls; none if that is little, or too many for it to be less than all.
[[nodiscard]] site_list paying_sites(const trace_profile& profile, const advice_plan& plan) {
  if (!profile.has_stacks) return {};
  const auto is_left = [&](std::uint32_t site) { return !has(plan.growing, site) && !has(plan.local, site); };
  site_list sites = sites_of(profile, is_left, &site_facts::calls);
  std::uint64_t left_calls = 0;
  for (const std::uint32_t each : sites) left_calls += profile.sites[each].calls();
  std::uint64_t calls = 0;
  std::size_t count = 0;
  while (count < sites.size() && count < most_paying_sites && part_of(calls, left_calls) < paying_part) {
    calls += profile.sites[sites[count++]].calls();
  }
  sites.resize(count);
  if (part_of(calls, profile.calls) < least_paying_part) return {};
  return sites;
}

/// With one thread for all of them.
[[nodiscard]] bool are_of_one_thread(const trace_profile& profile, const site_list& sites) {
  return std::all_of(sites.begin(), sites.end(), [&](std::uint32_t site) {
    return !profile.sites[site].has_threads && profile.sites[site].thread == profile.sites[sites[0]].thread;
  });
}

void plan_for_sites(advice_plan& plan, const trace_profile& profile) {
  if (!plan.growing.empty()) plan.trials.push_back({advice_kind::reserve});
  if (!plan.local.empty()) plan.trials.push_back({advice_kind::small_buffer, "stack"});
  if (plan.paying.empty()) return;
  std::uint64_t requested_bytes = 0;
  std::uint64_t peak_bytes = 0;
  for (const std::uint32_t each : plan.paying) {
    requested_bytes += profile.sites[each].requested_bytes;
    peak_bytes += profile.sites[each].peak_bytes;
  }
  const bool one_thread = are_of_one_thread(profile, plan.paying);
  plan.trials.push_back({advice_kind::pool_for_sites, one_thread ? "cistern-unsync" : "cistern-sync"});
  if (one_thread && builds_up(requested_bytes, peak_bytes)) {
    plan.trials.push_back({advice_kind::monotonic_for_sites, "monotonic"});
  }
}

void plan_for_all(advice_plan& plan, const trace_profile& profile, const trace_advice& rules) {
  const bool one_thread = profile.threads <= 1;
  const std::string pool = one_thread ? "cistern-unsync" : "cistern-sync";
  plan.trials.push_back({advice_kind::pool, pool});
  const std::size_t default_bytes = pool_options().max_idle_bytes;
  const std::size_t idle_bytes = rules.options().max_idle_bytes;
  if (idle_bytes / 2 > default_bytes || idle_bytes < default_bytes / 2) {
    plan.trials.push_back({advice_kind::pool, pool + ":max_idle_bytes=" + std::to_string(idle_bytes)});
  }
  if (profile.threads >= many_threads) {
    plan.trials.push_back({advice_kind::pool, pool + ":thread_cache_bytes=262144"});
  }
  if (one_thread && plan.is_one_shot) plan.trials.push_back({advice_kind::monotonic, "monotonic"});
}

}  // namespace

const char* to_string(advice_kind kind) noexcept {
  switch (kind) {
    case advice_kind::reserve:
      return "reserve";
    case advice_kind::small_buffer:
      return "small_buffer";
    case advice_kind::monotonic_for_sites:
      return "monotonic_for_sites";
    case advice_kind::pool_for_sites:
      return "pool_for_sites";
    case advice_kind::monotonic:
      return "monotonic";
    case advice_kind::pool:
      return "pool";
  }
  return "";
}

advice_plan plan_for(const trace_profile& profile, const trace_advice& rules) {
  advice_plan plan;
  plan.is_one_shot = builds_up(profile.requested_bytes, profile.peak_bytes);
  plan.growing = sites_of(
      profile, [&](std::uint32_t site) { return is_growing(profile.sites[site], profile); },
      [](const site_facts& site) { return site.growth.steps; });
  plan.local = sites_of(
      profile,
      [&](std::uint32_t site) { return !has(plan.growing, site) && is_local(profile.sites[site], profile); },
      [](const site_facts& site) { return site.locals; });
  plan.paying = paying_sites(profile, plan);
  plan_for_sites(plan, profile);
  plan_for_all(plan, profile, rules);
  return plan;
}

}  // namespace cistern::tool
