#include "pprof_profile.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "frame_names.hpp"
#include "protobuf_message.hpp"

namespace cistern::tool {
namespace {

constexpr std::uint64_t page_bytes = 4096;

// Numbers of fields, by message. https://github.com/google/pprof/blob/main/proto/profile.proto
namespace profile_field {
constexpr unsigned sample_type = 1;
constexpr unsigned sample = 2;
constexpr unsigned mapping = 3;
constexpr unsigned location = 4;
constexpr unsigned function = 5;
constexpr unsigned string_table = 6;
constexpr unsigned time_nanos = 9;
constexpr unsigned duration_nanos = 10;
constexpr unsigned default_sample_type = 14;
}  // namespace profile_field

class pprof_writer {
 public:
  explicit pprof_writer(const summed_trace& trace)
      : trace_(trace), stacks_(trace.trace().stacks()), names_(stacks_) {
    static_cast<void>(number_of(""));  // The format's own: the first text is empty.
  }

  [[nodiscard]] std::string write() && {
    for (const allocation_figure& each : allocation_figures) {
      protobuf_message type;
      type.add(1, number_of(each.pprof_type));
      type.add(2, number_of(each.is_bytes ? "bytes" : "count"));
      profile_.add(profile_field::sample_type, type);
    }
    const std::vector<allocation_sums>& by_stack = trace_.sums().by_stack;
    for (std::size_t i = 0; i < by_stack.size(); ++i) {
      if (by_stack[i].calls != 0) add_sample(i, by_stack[i]);
    }
    add_mappings();
    profile_.add(profile_field::time_nanos, started_nanoseconds());
    profile_.add(profile_field::duration_nanos, trace_.sums().end_nanoseconds);
    profile_.add(profile_field::default_sample_type,
                 number_of(allocation_figures[first_shown_figure].pprof_type));
    for (const std::string_view each : texts_) profile_.add(profile_field::string_table, each);
    return profile_.bytes();
  }

 private:
  [[nodiscard]] std::uint64_t number_of(const std::string& text) {
    const auto [found, is_new] = text_numbers_.try_emplace(text, text_numbers_.size());
    if (is_new) texts_.emplace_back(found->first);
    return found->second;
  }

  [[nodiscard]] std::uint64_t started_nanoseconds() const {
    return static_cast<std::uint64_t>(
        std::chrono::nanoseconds(trace_.trace().started().time_since_epoch()).count());
  }

  void add_sample(std::size_t stack, const allocation_sums& sums) {
    std::vector<std::uint64_t> locations;
    for (const trace_place& place : stacks_.stack(stack)) locations.push_back(location_of(place));
    if (locations.empty()) locations.push_back(location_of({}));
    std::array<std::uint64_t, allocation_figures.size()> values{};
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = sums.*allocation_figures[i].value;
    protobuf_message sample;
    sample.add(1, locations);
    sample.add(2, values);
    profile_.add(profile_field::sample, sample);
  }

  [[nodiscard]] std::uint64_t location_of(const trace_place& place) {
    const auto [found, is_new] = locations_.try_emplace({place.module, place.address}, locations_.size() + 1);
    if (is_new) add_location(place, found->second);
    return found->second;
  }

  void add_location(const trace_place& place, std::uint64_t number) {
    std::uint64_t address = place.address;
    if (place.module != 0) {
      address += stacks_.module(place.module).load_address;
      std::uint64_t& end = module_ends_[place.module];
      end = std::max(end, address + 1);
    }
    protobuf_message line;
    line.add(1, function_of(place));
    protobuf_message location;
    location.add(1, number);
    location.add(2, place.module);  // The number of its mapping, too.
    location.add(3, address);
    location.add(4, line);
    profile_.add(profile_field::location, location);
  }

  [[nodiscard]] std::uint64_t function_of(const trace_place& place) {
    const frame_name& name = names_.of(place);
    const auto [found, is_new] = functions_.try_emplace({name.function, name.module}, functions_.size() + 1);
    if (is_new) {
      protobuf_message message;
      message.add(1, found->second);
      message.add(2, number_of(name.function));
      message.add(3, number_of(name.function));
      message.add(4, number_of(name.module));
      profile_.add(profile_field::function, message);
    }
    return found->second;
  }

  /// Of the modules that a stack has a place in. How long each was isn't known, but where its last place
  /// lies.
  void add_mappings() {
    for (const auto& [number, end] : module_ends_) {
      const trace_module module = stacks_.module(number);
      protobuf_message mapping;
      mapping.add(1, number);
      mapping.add(2, module.load_address);
      mapping.add(3, (end + page_bytes - 1) / page_bytes * page_bytes);
      mapping.add(5, number_of(names_.module_path(number)));
      mapping.add(6, number_of(names_.build_id(number)));
      mapping.add(7, std::uint64_t{1});  // Its functions have names already.
      profile_.add(profile_field::mapping, mapping);
    }
  }

  const summed_trace& trace_;
  const trace_stacks& stacks_;
  frame_names names_;
  protobuf_message profile_;
  std::map<std::string, std::uint64_t> text_numbers_;
  std::vector<std::string_view> texts_;  // In their order; the map has them.
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> locations_;
  std::map<std::pair<std::string, std::string>, std::uint64_t> functions_;
  std::map<std::uint64_t, std::uint64_t> module_ends_;
};

}  // namespace

std::string as_pprof(const summed_trace& trace) {
  return pprof_writer(trace).write();
}

}  // namespace cistern::tool
