#include "replay_memory.hpp"

#include <algorithm>
#include <istream>
#include <memory>
#include <mutex>
#include <ostream>
#include <sstream>
#include <stdexcept>

#include "../trace/script_player.hpp"
#include "resident_memory.hpp"

namespace cistern::tool {
namespace {

[[nodiscard]] std::uint64_t above(std::uint64_t now, std::uint64_t before) noexcept {
  return now - std::min(now, before);
}

/// A number, or a dash where there is none.
struct or_dash {
  std::optional<std::uint64_t> number{};

  friend std::ostream& operator<<(std::ostream& out, const or_dash& one) {
    return one.number ? out << *one.number : out << '-';
  }
  friend std::istream& operator>>(std::istream& in, or_dash& one) {
    if ((in >> std::ws).peek() != '-') return in >> one.number.emplace();
    in.get();
    one.number.reset();
    return in;
  }
};

}  // namespace

replay_memory measure_memory(const detail::replay_script& script, const replay_candidate& candidate) {
  const std::unique_ptr<replay_resource> resource = candidate.make();
  replay_memory memory;
  for (const detail::replay_sample& each : script.samples) memory.over_time.push_back({.at = each});
  std::uint64_t before_bytes = 0;
  bool is_forgotten = false;
  std::mutex one_at_a_time;
  detail::play_options options{.way = detail::play_way::filling, .chosen = resource->for_chosen()};
  options.on_ready = [&] {
    is_forgotten = forget_peak_resident();
    before_bytes = resident_bytes();
  };
  options.on_sample = [&](std::size_t number) {
    const std::scoped_lock lock(one_at_a_time);
    memory_point& point = memory.over_time[number];
    point.resident_bytes = above(roughly_resident_bytes(), before_bytes);
    if (const auto use = resource->upstream()) point.upstream_bytes = use->held_bytes;
  };
  detail::script_player player(script);
  trim_c_library();  // What reading the trace took for a while.
  const std::uint64_t at_rest_bytes = resident_bytes();
  (void)player.play(resource->get(), options);
  if (is_forgotten) memory.peak_resident_bytes = above(peak_resident_bytes(), before_bytes);
  for (const memory_point& each : memory.over_time) {
    memory.peak_resident_bytes = std::max(memory.peak_resident_bytes, each.resident_bytes);
  }
  resource->end_replay();
  if (const auto use = resource->upstream()) memory.upstream_allocations = use->allocations;
  resource->trim();
  memory.held_after_trim_bytes = above(resident_bytes(), at_rest_bytes);
  return memory;
}

std::ostream& operator<<(std::ostream& out, const replay_memory& memory) {
  out << memory.peak_resident_bytes << ' ' << memory.held_after_trim_bytes << ' '
      << or_dash{memory.upstream_allocations} << ' ' << memory.over_time.size() << '\n';
  for (const memory_point& each : memory.over_time) {
    out << each.at.calls << ' ' << each.at.time.count() << ' ' << each.at.asked_bytes << ' '
        << each.resident_bytes << ' ' << or_dash{each.upstream_bytes} << '\n';
  }
  return out;
}

replay_memory memory_from(const std::string& text) {
  std::istringstream in(text);
  replay_memory memory;
  or_dash allocations;
  std::size_t points = 0;
  in >> memory.peak_resident_bytes >> memory.held_after_trim_bytes >> allocations >> points;
  memory.upstream_allocations = allocations.number;
  for (std::size_t i = 0; i < points && in; ++i) {
    memory_point point;
    std::int64_t time = 0;
    or_dash upstream;
    in >> point.at.calls >> time >> point.at.asked_bytes >> point.resident_bytes >> upstream;
    point.at.time = std::chrono::nanoseconds(time);
    point.upstream_bytes = upstream.number;
    memory.over_time.push_back(point);
  }
  if (!in) throw std::runtime_error("the process that was to measure memory said \"" + text + '"');
  return memory;
}

}  // namespace cistern::tool
