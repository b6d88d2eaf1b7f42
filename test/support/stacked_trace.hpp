// stacked_trace: traces with stacks, for tests: of what a program with so many functions would do.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../../src/trace/trace_format.hpp"
#include "trace_support.hpp"

namespace cistern::test_support {

/// Calls of a made-up program. Each is made from a function, numbered from 1, at a place in it, and each
/// function is called from one place of main.
class stacked_trace {
 public:
  /// What passes before each call.
  std::uint64_t call_nanoseconds = 300;

  /// Returns the block's address.
  std::uint64_t allocate(std::uint64_t bytes, std::uint64_t function, std::uint64_t thread = 1) {
    const std::uint64_t address = next_address_;
    next_address_ += bytes + 16 - bytes % 16;
    add({.step = detail::trace_step::allocate,
         .thread = thread,
         .bytes = bytes,
         .alignment = 8,
         .address = address},
        function, 1);
    return address;
  }
  void free(std::uint64_t address, std::uint64_t function, std::uint64_t thread = 1) {
    add({.step = detail::trace_step::free, .thread = thread, .address = address}, function, 2);
  }
  std::uint64_t reallocate(std::uint64_t old_address, std::uint64_t bytes, std::uint64_t function,
                           std::uint64_t thread = 1) {
    add({.step = detail::trace_step::begin_reallocate, .thread = thread, .address = old_address}, function,
        1);
    const std::uint64_t address = next_address_;
    next_address_ += bytes + 16 - bytes % 16;
    add({.step = detail::trace_step::end_reallocate,
         .thread = thread,
         .bytes = bytes,
         .alignment = 8,
         .address = address},
        function, 1);
    return address;
  }
  void wait(std::chrono::nanoseconds time) { time_ += static_cast<std::uint64_t>(time.count()); }

  /// `with_stacks`: false leaves them out. `is_whole`: false leaves out the end.
  [[nodiscard]] trace_bytes bytes(bool with_stacks = true, bool is_whole = true) const {
    constexpr std::size_t frame_records = 2000;
    trace_bytes all = trace_header();
    if (with_stacks) append_stacks(all);
    for (std::size_t begin = 0; begin < records_.size(); begin += frame_records) {
      const std::size_t count = std::min(frame_records, records_.size() - begin);
      trace_bytes payload(count * detail::longest_event_bytes);
      detail::trace_frame_encoder encoder(with_stacks);
      std::byte* end = payload.data();
      for (std::size_t i = 0; i < count; ++i) end = encoder.put(end, records_[begin + i]);
      payload.resize(static_cast<std::size_t>(end - payload.data()));
      append_frame(all, static_cast<std::uint32_t>(count),
                   with_stacks ? events_with_stacks_kind : events_kind, payload);
    }
    if (is_whole) append_end_mark(all, records_.size());
    return all;
  }

  /// Of a stack of such a trace.
  [[nodiscard]] static std::uint64_t function_of(std::uint64_t stack) { return (stack + 1) / 2; }

 private:
  static constexpr std::uint64_t functions = 20;

  void add(detail::trace_record record, std::uint64_t function, std::uint64_t place) {
    time_ += call_nanoseconds;
    record.time = time_;
    record.stack = 2 * function - 2 + place;
    records_.push_back(record);
  }

  static void append_varint(trace_bytes& to, std::uint64_t number) {
    std::array<std::byte, detail::longest_varint_bytes> text{};
    std::byte* const end = detail::put_varint(text.data(), number);
    to.insert(to.end(), text.data(), end);
  }

  static void append_stacks(trace_bytes& to) {
    trace_bytes payload;
    for (std::uint64_t function = 1; function <= functions; ++function) {
      for (const std::uint64_t place : {1U, 2U}) {
        append_varint(payload, 2);
        append_varint(payload, 0);
        append_varint(payload, 1000 * function + place);
        append_varint(payload, 0);
        append_varint(payload, 10 * function);
      }
    }
    append_frame(to, 2 * functions, stacks_kind, payload);
  }

  std::vector<detail::trace_record> records_;
  std::uint64_t time_ = 0;
  std::uint64_t next_address_ = 4096;
};

}  // namespace cistern::test_support
