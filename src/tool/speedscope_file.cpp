#include "speedscope_file.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "../base/statistics_text.hpp"
#include "frame_names.hpp"

namespace cistern::tool {
namespace {

class speedscope_writer {
 public:
  explicit speedscope_writer(const summed_trace& trace)
      : sums_(trace.sums().by_stack), stacks_(trace.trace().stacks()), names_(stacks_) {}

  [[nodiscard]] std::string write(const std::string& name) && {
    std::vector<std::string> profiles;
    for (const allocation_figure& each : allocation_figures) profiles.push_back(profile(each));
    detail::json_object shared;
    shared.add_raw("frames", detail::json_array(frames_));
    detail::json_object file;
    file.add_raw("$schema", detail::json_quoted("https://www.speedscope.app/file-format-schema.json"));
    file.add_raw("name", detail::json_quoted(name));
    file.add_raw("exporter", detail::json_quoted("cistern-trace " CISTERN_VERSION));
    file.add("activeProfileIndex", first_shown_figure);
    file.add_raw("shared", shared.text());
    file.add_raw("profiles", detail::json_array(profiles));
    return file.text() + '\n';
  }

 private:
  [[nodiscard]] std::string profile(const allocation_figure& weight) {
    std::vector<std::string> samples;
    std::vector<std::string> weights;
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < sums_.size(); ++i) {
      const std::uint64_t value = sums_[i].*weight.value;
      if (value == 0) continue;
      samples.push_back(sample(i));
      weights.push_back(std::to_string(value));
      total += value;
    }
    detail::json_object json;
    json.add_raw("type", detail::json_quoted("sampled"));
    json.add_raw("name", detail::json_quoted(weight.name));
    json.add_raw("unit", detail::json_quoted(weight.is_bytes ? "bytes" : "none"));
    json.add("startValue", 0);
    json.add("endValue", total);
    json.add_raw("samples", detail::json_array(samples));
    json.add_raw("weights", detail::json_array(weights));
    return json.text();
  }

  /// Numbers of frames, the outermost one first.
  [[nodiscard]] std::string sample(std::size_t stack) {
    std::vector<std::string> frames;
    for (const trace_place& place : stacks_.stack(stack)) {
      const frame_name& name = names_.of(place);
      frames.push_back(std::to_string(frame(name.function, name.module)));
    }
    if (frames.empty()) frames.push_back(std::to_string(frame(unknown_place, "")));
    std::reverse(frames.begin(), frames.end());
    return detail::json_array(frames);
  }

  [[nodiscard]] std::size_t frame(const std::string& function, const std::string& module) {
    const auto [found, is_new] = frame_numbers_.try_emplace({function, module}, frames_.size());
    if (is_new) {
      detail::json_object json;
      json.add_raw("name", detail::json_quoted(function));
      if (!module.empty()) json.add_raw("file", detail::json_quoted(module));
      frames_.push_back(json.text());
    }
    return found->second;
  }

  const std::vector<allocation_sums>& sums_;
  const trace_stacks& stacks_;
  frame_names names_;
  std::vector<std::string> frames_;
  std::map<std::pair<std::string, std::string>, std::size_t> frame_numbers_;
};

}  // namespace

std::string as_speedscope(const summed_trace& trace, const std::string& name) {
  return speedscope_writer(trace).write(name);
}

}  // namespace cistern::tool
