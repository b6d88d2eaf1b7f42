#include "report_data.hpp"

#include <cistern/adaptor/trace_advice.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <numeric>
#include <sstream>

#include "../base/statistics_text.hpp"
#include "place_names.hpp"
#include "printable_text.hpp"
#include "trace_breakdown.hpp"
#include "trace_input.hpp"

namespace cistern::tool {
namespace {

using detail::json_object;

constexpr std::size_t most_listed_sites = 300;

[[nodiscard]] std::string quoted_text(std::string_view text) {
  return detail::json_quoted(printable(text));
}

/// Lines stay lines.
[[nodiscard]] std::string quoted_lines(std::string_view text) {
  std::string joined;
  for (;;) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    joined += printable(text.substr(0, end));
    if (end == text.size()) return detail::json_quoted(joined);
    joined += '\n';
    text.remove_prefix(end + 1);
  }
}

/// Numbers in a JSON array.
class number_array {
 public:
  template <typename Number>
  number_array& add(Number number) {
    if (!text_.empty()) text_ += ',';
    if constexpr (std::is_same_v<Number, double>) {
      char digits[320];
      text_.append(digits, std::to_chars(digits, std::end(digits), number, std::chars_format::fixed, 0).ptr);
    } else {
      text_ += std::to_string(number);
    }
    return *this;
  }
  [[nodiscard]] std::string text() const { return "[" + text_ + "]"; }

 private:
  std::string text_;
};

[[nodiscard]] std::string as_text(double bytes) {
  const std::string array = number_array().add(bytes).text();
  return array.substr(1, array.size() - 2);
}

[[nodiscard]] std::string quoted_array(const std::vector<std::string>& names) {
  std::vector<std::string> values;
  for (const std::string& each : names) values.push_back(detail::json_quoted(each));
  return detail::json_array(values);
}

/// Where the highest values are, from the highest one down.
[[nodiscard]] std::vector<std::uint32_t> highest(const std::vector<double>& values, std::size_t most) {
  std::vector<std::uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return values[a] > values[b]; });
  order.resize(std::min(order.size(), most));
  return order;
}

/// A name is used as a call site's number: sites are named as places are.
struct named_sites {
  std::vector<std::uint32_t> name_of_site;
  breakdown_plan plan;
};

[[nodiscard]] named_sites plan_for(const trace_survey& survey, place_names& names) {
  named_sites found;
  std::unordered_map<std::uint32_t, std::uint32_t> site_of_name;
  std::vector<double> peak_of_site;
  for (std::uint64_t stack = 0; stack < survey.stacks.size(); ++stack) {
    const std::uint32_t name = names.site_of(stack);
    const auto [site, is_new] =
        site_of_name.try_emplace(name, static_cast<std::uint32_t>(found.name_of_site.size()));
    if (is_new) {
      found.name_of_site.push_back(name);
      peak_of_site.push_back(0);
    }
    peak_of_site[site->second] += survey.stacks[stack].peak_bytes;
    found.plan.site_of_stack.push_back(site->second);
  }
  found.plan.sites = found.name_of_site.size();
  found.plan.top_sites = highest(peak_of_site, most_top_sites);
  found.plan.kept_stacks = stacks_worth_keeping(survey);
  found.plan.kept_threads = threads_worth_keeping(survey);
  return found;
}

[[nodiscard]] std::string trace_json(const trace_reader& trace, const report_input& input,
                                     const trace_survey& survey) {
  json_object json;
  json.add_raw("file", quoted_text(input.name));
  json.add(
      "started_seconds",
      static_cast<std::uint64_t>(std::max<std::int64_t>(
          0, std::chrono::duration_cast<std::chrono::seconds>(trace.started().time_since_epoch()).count())));
  json.add("process", trace.process());
  json.add("sample_bytes", trace.sample_bytes());
  json.add_raw("has_stacks", trace.has_stacks() ? "true" : "false");
  json.add_raw("ending", detail::json_quoted(survey.is_cut_off ? "cut off" : to_string(trace.ending())));
  return json.text();
}

[[nodiscard]] std::string totals_json(const trace_survey& survey) {
  json_object json;
  json.add("nanoseconds", survey.end_nanoseconds);
  json.add("allocations", survey.allocations);
  json.add("reallocations", survey.reallocations);
  json.add("deallocations", survey.deallocations);
  json.add("failures", survey.failures);
  json.add("temporaries", survey.all.made.temporaries);
  json.add_raw("bytes", as_text(survey.all.made.bytes));
  json.add_raw("peak_bytes", as_text(survey.all.peak_bytes));
  json.add("peak_nanoseconds", survey.peak_nanoseconds);
  json.add("left_blocks", survey.left_blocks);
  json.add_raw("left_bytes", as_text(survey.all.live_bytes));
  json.add("threads", survey.threads.size());
  json.add("stacks", static_cast<std::uint64_t>(
                         std::count_if(survey.stacks.begin(), survey.stacks.end(),
                                       [](const origin_totals& each) { return each.made.calls != 0; })));
  return json.text();
}

[[nodiscard]] std::string curve_json(const live_curve& curve, const std::vector<std::string>& labels) {
  std::vector<std::string> series;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    number_array values;
    for (const double each : curve.series(i)) values.add(each);
    series.push_back(values.text());
  }
  json_object json;
  json.add("bin_nanoseconds", curve.bin_nanoseconds());
  json.add_raw("labels", quoted_array(labels));
  json.add_raw("series", detail::json_array(series));
  return json.text();
}

[[nodiscard]] std::vector<std::string> size_labels() {
  std::vector<std::string> labels;
  for (const std::uint64_t end : size_band_ends) labels.push_back("up to " + detail::in_binary_units(end));
  labels.push_back("above " + detail::in_binary_units(size_band_ends.back()));
  return labels;
}

[[nodiscard]] std::vector<std::string> site_labels(const named_sites& sites, const place_names& names) {
  std::vector<std::string> labels;
  for (const std::uint32_t site : sites.plan.top_sites)
    labels.push_back(names.names()[sites.name_of_site[site]]);
  labels.emplace_back("all others");
  return labels;
}

[[nodiscard]] std::string sites_json(const trace_breakdown& breakdown, const named_sites& sites,
                                     const place_names& names) {
  std::vector<std::string> listed;
  std::vector<double> peaks;
  for (const origin_totals& each : breakdown.sites) peaks.push_back(each.peak_bytes);
  for (const std::uint32_t each : highest(peaks, most_listed_sites)) {
    const origin_totals& site = breakdown.sites[each];
    if (site.made.calls == 0) continue;
    json_object json;
    json.add_raw("name", detail::json_quoted(names.names()[sites.name_of_site[each]]));
    json.add("calls", site.made.calls);
    json.add("temporaries", site.made.temporaries);
    json.add_raw("bytes", as_text(site.made.bytes));
    json.add_raw("peak_bytes", as_text(site.peak_bytes));
    json.add_raw("left_bytes", as_text(site.live_bytes));
    listed.push_back(json.text());
  }
  return detail::json_array(listed);
}

/// Names that are used, numbered anew.
class used_names {
 public:
  explicit used_names(const place_names& all) : all_(all) {}

  [[nodiscard]] std::size_t number_of(std::uint32_t name) {
    const auto [found, is_new] = numbers_.try_emplace(name, used_.size());
    if (!is_new) return found->second;
    used_.push_back(all_.names()[name]);
    if (all_.is_of_runtime(name)) of_runtime_.add(found->second);
    return found->second;
  }
  [[nodiscard]] const std::vector<std::string>& names() const noexcept { return used_; }
  /// The numbers of those of runtime libraries.
  [[nodiscard]] std::string of_runtime() const { return of_runtime_.text(); }

 private:
  const place_names& all_;
  std::unordered_map<std::uint32_t, std::size_t> numbers_;
  std::vector<std::string> used_;
  number_array of_runtime_;
};

/// Each stack as the numbers of its names, the outermost first; and these names.
void add_stacks(json_object& json, const breakdown_plan& plan, const trace_stacks& stacks,
                place_names& names) {
  used_names used(names);
  std::vector<std::string> listed;
  for (const std::uint64_t number : plan.kept_stacks) {
    number_array frames;
    const auto places = stacks.stack(number);
    if (places.empty()) frames.add(used.number_of(names.number_of(unknown_place)));
    for (auto place = places.rbegin(); place != places.rend(); ++place) {
      frames.add(used.number_of(names.number_of(*place)));
    }
    listed.push_back(frames.text());
  }
  listed.push_back(number_array().add(used.number_of(names.number_of(std::string("(other stacks)")))).text());
  json.add_raw("stacks", detail::json_array(listed));
  json.add_raw("names", quoted_array(used.names()));
  json.add_raw("runtime_names", used.of_runtime());
}

/// For each span four numbers for each stack with calls in it: the stack, calls, bytes, temporaries.
[[nodiscard]] std::string spans_json(const trace_breakdown& breakdown) {
  std::vector<std::string> listed;
  for (const auto& span : breakdown.spans) {
    number_array numbers;
    for (std::size_t stack = 0; stack < span.size(); ++stack) {
      const call_totals& each = span[stack];
      if (each.calls != 0) numbers.add(stack).add(each.calls).add(each.bytes).add(each.temporaries);
    }
    listed.push_back(numbers.text());
  }
  return detail::json_array(listed);
}

/// Four numbers for each pair with blocks: both places, blocks, bytes.
template <typename Table>
[[nodiscard]] std::string pairs_json(const Table& table) {
  number_array numbers;
  for (std::size_t row = 0; row < table.size(); ++row) {
    for (std::size_t column = 0; column < table[row].size(); ++column) {
      const block_totals& each = table[row][column];
      if (each.blocks != 0) numbers.add(row).add(column).add(each.blocks).add(each.bytes);
    }
  }
  return numbers.text();
}

[[nodiscard]] std::string threads_json(const trace_survey& survey, const breakdown_plan& plan) {
  std::vector<std::string> labels;
  for (const std::uint64_t each : plan.kept_threads) labels.push_back(std::to_string(each));
  if (survey.threads.size() > plan.kept_threads.size()) {
    labels.push_back(std::to_string(survey.threads.size() - plan.kept_threads.size()) + " others");
  }
  return quoted_array(labels);
}

/// The library's advice, which looks at the trace alone.
[[nodiscard]] std::string advice_text(const std::string& path) {
  trace_reader trace(source_named(path));
  std::ostringstream text;
  text << advise(trace, nullptr, {.up_to_the_cut = true});
  return text.str();
}

/// JSON has '<' in texts only, where it can be written so that no page takes it for a tag.
[[nodiscard]] std::string without_tags(const std::string& json) {
  std::string text;
  text.reserve(json.size());
  for (const char each : json) {
    if (each == '<') {
      text += "\\u003c";
    } else {
      text += each;
    }
  }
  return text;
}

}  // namespace

report_data data_of(const report_input& input) {
  trace_reader first(source_named(input.trace));
  const trace_survey surveyed = survey(first);
  place_names names(first.stacks());
  const named_sites sites = plan_for(surveyed, names);
  trace_reader second(source_named(input.trace));
  const trace_breakdown broken_down = break_down(second, surveyed, sites.plan);

  json_object json;
  json.add_raw("trace", trace_json(first, input, surveyed));
  json.add_raw("totals", totals_json(surveyed));
  json.add_raw("by_size", curve_json(broken_down.by_size, size_labels()));
  json.add_raw("by_site", curve_json(broken_down.by_site, site_labels(sites, names)));
  json.add_raw("sites", sites_json(broken_down, sites, names));
  add_stacks(json, sites.plan, first.stacks(), names);
  json.add("span_nanoseconds", broken_down.span_nanoseconds);
  json.add_raw("spans", spans_json(broken_down));
  json.add_raw("size_and_life", pairs_json(broken_down.size_and_life));
  json.add("never_freed", trace_breakdown::never);
  json.add_raw("threads", threads_json(surveyed, sites.plan));
  json.add_raw("handed_over", pairs_json(broken_down.handed_over));
  json.add_raw("advice_text", quoted_lines(advice_text(input.trace)));
  // As texts: whatever these files have, the page is sound, and says what it makes of them.
  json.add_raw("advice_json", quoted_lines(input.advice_json));
  json.add_raw("replay_json", quoted_lines(input.replay_json));
  return {.json = without_tags(json.text()), .is_cut_off = surveyed.is_cut_off};
}

}  // namespace cistern::tool
