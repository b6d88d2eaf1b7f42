// Fuzz body: any bytes are a trace, or an error; what was read is written and read again as the same; what a
// trace was made of comes out of it, also up to where it was damaged; a script is what a replay does.
#include <cistern/adaptor/trace_reader.hpp>
#include <cistern/adaptor/trace_replay.hpp>
#include <cistern/adaptor/trace_writer.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <vector>

#include "../../src/trace/script_player.hpp"
#include "../support/program_bytes.hpp"
#include "../support/trace_support.hpp"

namespace {

using cistern::trace_call;
using cistern::trace_event;
using cistern::detail::make_replay_script;
using cistern::detail::replay_script;
using cistern::detail::replay_step_kind;
using namespace cistern::test_support;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "trace_fuzz: %s\n", what);
  std::abort();
}

// Reads what can be read; whether it came to a proper end.
bool read_all(std::span<const std::byte> bytes, std::vector<trace_event>& events) {
  try {
    read_into(events, bytes);
    return true;
  } catch (const cistern::trace_error&) {
    return false;
  }
}

// Whatever could be read is a script, in which every block is freed, or an error.
void check_script(std::span<const std::byte> bytes) {
  try {
    cistern::trace_reader reader(cistern::trace_from_memory(bytes));
    const replay_script script = make_replay_script(reader, {.samples = 10});
    std::uint64_t frees = 0;
    for (const auto& lane : script.lanes) {
      for (const auto& step : lane) {
        frees +=
            step.kind == replay_step_kind::deallocate || step.kind == replay_step_kind::take_over ? 1U : 0U;
      }
    }
    require(frees == script.allocations, "a script leaves blocks live");
  } catch (const cistern::trace_error& error) {
    require(error.offset_bytes() <= bytes.size(), "an error lies behind the trace");
  }
}

// Whatever could be read is written and read again as the same.
void check_round_trip(std::span<const std::byte> bytes) {
  check_script(bytes);
  std::vector<trace_event> events;
  const bool whole = read_all(bytes, events);
  for (trace_event& event : events) event.stack = 0;  // Isn't written.
  auto numbered = events;
  number_blocks(numbered);
  const bool reallocates = std::any_of(events.begin(), events.end(), [](const trace_event& event) {
    return event.call == trace_call::reallocate;
  });
  // Between the two halves of a reallocation others may have had the address; and a trace may end there.
  if ((reallocates || !whole) && events != numbered) return;
  require(events == numbered, "blocks are numbered wrongly");
  require(events_of(written(events)) == events, "what was read isn't what is read again");
}

std::vector<trace_event> made_of(program_bytes& input) {
  std::vector<trace_event> events;
  std::uint64_t time = 0;
  while (!input.empty() && events.size() < 5000) {
    trace_event event;
    const std::uint64_t what = input.byte();
    event.call = static_cast<trace_call>(what % 4);
    time += (what & 4) != 0 ? input.number() >> 20 : 1;
    event.time = std::chrono::nanoseconds(time);
    event.thread = (what & 8) != 0 ? input.number() : 1;
    event.bytes = (what & 16) != 0 ? input.number() : input.byte();
    event.alignment = (what & 32) != 0 ? input.number() : std::uint64_t{1} << what % 64;
    if (event.call == trace_call::reallocate) event.old_address = std::uint64_t{input.byte()} * 16;
    if (event.call != trace_call::failed_allocate) {
      event.address = (what & 64) != 0 ? input.number() : std::uint64_t{input.byte()} * 16;
    }
    events.push_back(event);
  }
  number_blocks(events);
  return events;
}

// A trace made of these events, whole, damaged and cut off.
void check_events(program_bytes& input) {
  const std::uint64_t where = input.number();
  const auto flip = static_cast<std::byte>(1 + input.byte() % 255);
  const std::uint64_t buffer_bytes = std::uint64_t{input.byte()} * 16;
  const auto events = made_of(input);
  trace_bytes bytes = written(events, buffer_bytes);
  require(events_of(bytes) == events, "what is read isn't what was written");

  const auto is_prefix = [&](const std::vector<trace_event>& read) {
    return read.size() <= events.size() && std::equal(read.begin(), read.end(), events.begin());
  };
  const std::size_t position = where % bytes.size();
  std::vector<trace_event> read;
  require(!read_all(std::span(bytes).first(position), read), "a trace that was cut off is read as whole");
  require(is_prefix(read), "a trace that was cut off has other events");
  bytes[position] ^= flip;
  read.clear();
  require(!read_all(bytes, read), "a damaged trace is read as whole");
  require(is_prefix(read), "a damaged trace has other events");
}

// Modules, stacks, and events that refer to them, a third of the bytes each: what is read of them fits
// together.
void check_stacks(std::span<const std::byte> bytes) {
  if (bytes.size() < 3) return;
  const auto count = [&](std::size_t i) { return static_cast<std::uint32_t>(bytes[i]); };
  const auto third = (bytes.size() - 3) / 3;
  const auto part = [&](std::size_t i) { return bytes.subspan(3 + i * third, third); };
  trace_bytes trace = trace_header();
  if (count(0) != 0) append_frame(trace, count(0), modules_kind, part(0));
  if (count(1) != 0) append_frame(trace, count(1), stacks_kind, part(1));
  if (count(2) != 0) append_frame(trace, count(2), events_with_stacks_kind, part(2));
  append_end_mark(trace, count(2));
  cistern::trace_reader reader(cistern::trace_from_memory(trace));
  try {
    for (trace_event event; reader.next(event);) {
      require(event.stack <= reader.stacks().stacks(), "an event refers to no stack");
    }
    require(reader.stacks().stacks() == count(1), "there are other stacks than were written");
  } catch (const cistern::trace_error&) {
  }
  for (std::size_t i = 1; i <= reader.stacks().stacks(); ++i) {
    require(!reader.stacks().stack(i).empty(), "a stack of no places");
    for (const cistern::trace_place& place : reader.stacks().stack(i)) {
      require(place.module <= reader.stacks().modules(), "a place in no module");
      if (place.module != 0) (void)reader.stacks().module(place.module).path.size();
    }
  }
  check_round_trip(trace);
}

// Events of sizes that any machine has, on a resource that sees every mistake of the replay.
void check_replay(program_bytes& input) {
  auto events = made_of(input);
  for (trace_event& event : events) event.bytes %= 4096;
  for (trace_event& event : events) event.alignment %= 4097;
  const trace_bytes bytes = written(events);
  cistern::testing::checking_resource memory;
  cistern::trace_reader reader(cistern::trace_from_memory(bytes));
  const cistern::replay_report report = replay(reader, &memory);
  require(report.resource_passed(), "the replay blames a resource without fault");
  require(report.allocations == memory.allocations(), "the replay counts wrongly");
  require(report.allocations - report.deallocations == report.left_live, "the replay lost a block");

  cistern::trace_reader again(cistern::trace_from_memory(bytes));
  const replay_script script = make_replay_script(again, {.one_thread = true});
  require(script.allocations == report.allocations && script.left_live == report.left_live &&
              script.foreign_frees == report.foreign_frees && script.peak_bytes == report.peak_live_bytes,
          "a script differs from the replay");
  cistern::testing::checking_resource played;
  require(play(script, played).refused == 0, "a resource without fault refuses a script");
  require(played.allocations() == script.allocations && played.outstanding_blocks() == 0,
          "a script loses blocks");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  program_bytes input(std::span(data, size_bytes));
  if (input.empty()) return 0;
  const unsigned mode = input.byte() % 5U;
  const auto rest = std::as_bytes(std::span(data, size_bytes)).subspan(1);
  if (mode == 0) check_round_trip(rest);
  if (mode == 1) {  // Behind right checksums, or hardly any input would get to the decoding.
    const std::uint32_t events = input.byte();
    const auto payload = rest.subspan(std::min<std::size_t>(rest.size(), 1));
    check_round_trip(version_1::framed(events, payload));
    trace_bytes bytes = trace_header();
    const auto half = payload.size() / 2;
    append_frame(bytes, events / 16, joined_events_kind, payload.first(half));
    append_frame(bytes, events % 16, events_kind, payload.subspan(half));
    append_end_mark(bytes, events / 16 + events % 16);
    check_round_trip(bytes);
  }
  if (mode == 2) check_events(input);
  if (mode == 3) check_replay(input);
  if (mode == 4) check_stacks(rest);
  return 0;
}
