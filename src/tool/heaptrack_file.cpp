#include "heaptrack_file.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <ostream>
#include <unordered_map>
#include <utility>
#include <vector>

#include "frame_names.hpp"
#include "printable_text.hpp"
#include "reading_progress.hpp"
#include "trace_input.hpp"

namespace cistern::tool {
namespace {

/// Everything is numbered from 1, in the order in which it is written; 0 stands for none. Numbers are
/// hexadecimal.
class heaptrack_writer {
 public:
  heaptrack_writer(const trace_stacks& stacks, std::ostream& out)
      : stacks_(stacks), names_(stacks), out_(out) {}

  void begin(const std::string& what) { out_ << "v 10000 1\nX " << printable(what) << '\n'; }

  void add(const trace_event& event) {
    if (event.call == trace_call::failed_allocate) return;
    say_time(event.time);
    if (event.call == trace_call::deallocate) {
      free(event.block);
    } else {
      free(event.old_block);
      const std::uint64_t allocation = allocation_of(event.bytes, event.stack);
      live_[event.block] = allocation;
      out_ << "+ " << in_hexadecimal(allocation) << '\n';
    }
  }

 private:
  void say_time(std::chrono::nanoseconds time) {
    const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(time);
    if (milliseconds == time_) return;
    time_ = milliseconds;
    out_ << "c " << in_hexadecimal(static_cast<std::uint64_t>(time_.count())) << '\n';
  }

  void free(std::uint64_t block) {
    const auto found = live_.find(block);
    if (found == live_.end()) return;
    out_ << "- " << in_hexadecimal(found->second) << '\n';
    live_.erase(found);
  }

  /// What has one size and one stack. These alone are numbered from 0.
  [[nodiscard]] std::uint64_t allocation_of(std::uint64_t bytes, std::uint64_t stack) {
    const std::uint64_t node = node_of(stack);
    const auto [found, is_new] = allocations_.try_emplace({bytes, node}, allocations_.size());
    if (is_new) out_ << "a " << in_hexadecimal(bytes) << ' ' << in_hexadecimal(node) << '\n';
    return found->second;
  }

  /// The innermost node of a stack, each of which has its caller for a parent.
  [[nodiscard]] std::uint64_t node_of(std::uint64_t stack) {
    if (stack >= nodes_of_stacks_.size()) nodes_of_stacks_.resize(stack + 1);
    std::uint64_t& node = nodes_of_stacks_[stack];
    if (node != 0) return node;
    const auto places = stacks_.stack(stack);
    for (auto place = places.rbegin(); place != places.rend(); ++place)
      node = node_at(place_number(*place), node);
    if (places.empty()) node = node_at(place_number({}), 0);
    return node;
  }

  [[nodiscard]] std::uint64_t node_at(std::uint64_t place, std::uint64_t parent) {
    const auto [found, is_new] = nodes_.try_emplace({place, parent}, nodes_.size() + 1);
    if (is_new) out_ << "t " << in_hexadecimal(place) << ' ' << in_hexadecimal(parent) << '\n';
    return found->second;
  }

  [[nodiscard]] std::uint64_t place_number(const trace_place& place) {
    const auto [found, is_new] = places_.try_emplace({place.module, place.address}, places_.size() + 1);
    if (!is_new) return found->second;
    const frame_name& name = names_.of(place);
    const std::uint64_t module = text_number(name.module);
    const std::uint64_t function = text_number(name.function);
    const std::uint64_t load_address = place.module == 0 ? 0 : stacks_.module(place.module).load_address;
    // With neither a file nor a line.
    out_ << "i " << in_hexadecimal(load_address + place.address) << ' ' << in_hexadecimal(module) << ' '
         << in_hexadecimal(function) << " 0 0\n";
    return found->second;
  }

  [[nodiscard]] std::uint64_t text_number(const std::string& text) {
    if (text.empty()) return 0;
    const auto [found, is_new] = texts_.try_emplace(text, texts_.size() + 1);
    if (is_new) out_ << "s " << text << '\n';
    return found->second;
  }

  const trace_stacks& stacks_;
  frame_names names_;
  std::ostream& out_;
  std::chrono::milliseconds time_{0};
  std::map<std::string, std::uint64_t> texts_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> places_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> nodes_;  // By place and parent.
  std::vector<std::uint64_t> nodes_of_stacks_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> allocations_;  // By bytes and node.
  std::unordered_map<std::uint64_t, std::uint64_t> live_;                         // Allocations by block.
};

}  // namespace

void write_heaptrack(trace_reader& trace, const std::string& path, std::ostream& out) {
  reading_progress progress(path, "writing");
  heaptrack_writer writer(trace.stacks(), out);
  writer.begin(path);
  for (trace_event event; next_up_to_cut(trace, event);) {
    writer.add(event);
    progress.at(trace);
  }
}

}  // namespace cistern::tool
