// trace_support: traces in memory, for tests: written, read, and checked against what they were made of.
#pragma once

#include <cistern/adaptor/trace_reader.hpp>
#include <cistern/adaptor/trace_writer.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <random>
#include <span>
#include <utility>
#include <vector>

namespace cistern::test_support {

using trace_bytes = std::vector<std::byte>;

/// Appends to `bytes`, which must outlive the sink.
[[nodiscard]] inline trace_sink trace_to(trace_bytes& bytes) {
  return [&bytes](std::span<const std::byte> more) { bytes.insert(bytes.end(), more.begin(), more.end()); };
}

[[nodiscard]] inline trace_bytes written(const std::vector<trace_event>& events,
                                         std::size_t buffer_bytes = 65536) {
  trace_bytes bytes;
  trace_writer writer(trace_to(bytes), buffer_bytes);
  for (const trace_event& event : events) writer.write(event);
  writer.close();
  return bytes;
}

/// Reads all events into `events`, so that those before an error are there when it is thrown.
inline void read_into(std::vector<trace_event>& events, std::span<const std::byte> bytes) {
  trace_reader reader(trace_from_memory(bytes));
  for (trace_event event; reader.next(event);) events.push_back(event);
}

[[nodiscard]] inline std::vector<trace_event> events_of(std::span<const std::byte> bytes) {
  std::vector<trace_event> events;
  read_into(events, bytes);
  return events;
}

/// Numbers the blocks as a reader has to.
inline void number_blocks(std::vector<trace_event>& events) {
  std::map<std::uint64_t, std::uint64_t> live;
  std::uint64_t blocks = 0;
  const auto free = [&](std::uint64_t address) -> std::uint64_t {
    const auto found = live.find(address);
    if (found == live.end()) return 0;
    const std::uint64_t number = found->second;
    live.erase(found);
    return number;
  };
  for (trace_event& event : events) {
    event.block = event.old_block = 0;
    if (event.call == trace_call::deallocate) event.block = free(event.address);
    if (event.call == trace_call::reallocate) event.old_block = free(event.old_address);
    if (event.call == trace_call::allocate || event.call == trace_call::reallocate) {
      event.block = live[event.address] = ++blocks;
    }
  }
}

/// Events of all kinds, with numbers of every length.
[[nodiscard]] inline std::vector<trace_event> random_events(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto number = [&] { return random() >> random() % 64; };  // Of every length.
  std::vector<trace_event> events;
  std::uint64_t time = 0;
  std::vector<std::uint64_t> addresses;
  for (std::size_t i = 0; i < count; ++i) {
    trace_event event;
    event.call = static_cast<trace_call>(random() % 4);
    time += random() >> (20 + random() % 44);
    event.time = std::chrono::nanoseconds(time);
    event.thread = random() % 3 == 0 ? number() : random() % 3;
    event.bytes = number();
    event.alignment = random() % 8 == 0 ? number() : std::uint64_t{1} << random() % 64;
    const auto address = [&] {
      addresses.push_back(random() % 2 == 0 || addresses.empty() ? number()
                                                                 : addresses[random() % addresses.size()]);
      return addresses.back();
    };
    if (event.call == trace_call::reallocate) event.old_address = address();
    if (event.call != trace_call::failed_allocate) event.address = address();
    events.push_back(event);
  }
  number_blocks(events);
  return events;
}

/// Blocks of so many threads, which free each other's now and then; some are left live.
[[nodiscard]] inline std::vector<trace_event> shared_life(std::size_t count, std::uint64_t threads,
                                                          std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<trace_event> events;
  std::vector<trace_event> live;
  std::uint64_t address = 0;
  while (events.size() < count) {
    trace_event one;
    if (!live.empty() && random() % 2 == 0) {
      std::swap(live[random() % live.size()], live.back());
      one = live.back();
      live.pop_back();
      one.call = trace_call::deallocate;
      if (random() % 3 == 0) one.thread = random() % threads;
    } else {
      one.thread = random() % threads;
      one.bytes = random() % 500;
      one.alignment = std::uint64_t{1} << random() % 7;
      one.address = address += 1024;
      live.push_back(one);
    }
    events.push_back(one);
  }
  return events;
}

[[nodiscard]] inline trace_bytes bytes_of(std::initializer_list<int> values) {
  trace_bytes bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

/// The checksum of the format, bit by bit.
[[nodiscard]] inline std::uint32_t slow_crc32(std::span<const std::byte> bytes) {
  std::uint32_t crc = 0xFFFFFFFF;
  for (const std::byte each : bytes) {
    crc ^= static_cast<std::uint32_t>(each);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? crc >> 1 ^ 0xEDB88320 : crc >> 1;
  }
  return ~crc;
}

template <class Number>
void append_little_endian(trace_bytes& to, Number number) {
  for (std::size_t i = 0; i < sizeof number; ++i) {
    to.push_back(static_cast<std::byte>(static_cast<std::uint64_t>(number) >> (8 * i)));
  }
}

// Version 2, by the words of the documentation.

[[nodiscard]] inline trace_bytes trace_header(std::uint32_t version = 2, std::uint64_t started = 0) {
  trace_bytes bytes;
  for (const char c : {'c', 'i', 's', 't', 'r', 'a', 'c', 'e'}) bytes.push_back(static_cast<std::byte>(c));
  append_little_endian(bytes, version);
  append_little_endian(bytes, started);
  append_little_endian(bytes, std::uint64_t{0});  // Nothing is sampled.
  append_little_endian(bytes, std::uint64_t{0});  // No process.
  append_little_endian(bytes, slow_crc32(bytes));
  return bytes;
}

/// A frame with a right checksum around whatever it holds.
inline void append_frame(trace_bytes& to, std::uint32_t events, std::uint32_t kind,
                         std::span<const std::byte> payload) {
  trace_bytes frame;
  append_little_endian(frame, static_cast<std::uint32_t>(payload.size()));
  append_little_endian(frame, events);
  append_little_endian(frame, kind);
  trace_bytes summed = frame;
  summed.insert(summed.end(), payload.begin(), payload.end());
  append_little_endian(frame, slow_crc32(summed));
  frame.insert(frame.end(), payload.begin(), payload.end());
  to.insert(to.end(), frame.begin(), frame.end());
}

inline constexpr std::uint32_t events_kind = 1;
inline constexpr std::uint32_t joined_events_kind = 0x101;
inline constexpr std::uint32_t modules_kind = 2;
inline constexpr std::uint32_t stacks_kind = 3;
inline constexpr std::uint32_t events_with_stacks_kind = 4;
inline constexpr std::uint32_t joined_events_with_stacks_kind = 0x104;

inline void append_end_mark(trace_bytes& to, std::uint64_t events, std::uint32_t ending = 0,
                            std::uint32_t error = 0) {
  trace_bytes payload;
  append_little_endian(payload, events);
  append_little_endian(payload, ending);
  append_little_endian(payload, error);
  append_frame(to, 0, 0, payload);
}

/// Version 1, by the words of the documentation.
namespace version_1 {

[[nodiscard]] inline trace_bytes trace_header(std::uint64_t started = 0) {
  trace_bytes bytes;
  for (const char c : {'c', 'i', 's', 't', 'r', 'a', 'c', 'e'}) bytes.push_back(static_cast<std::byte>(c));
  append_little_endian(bytes, std::uint32_t{1});
  append_little_endian(bytes, started);
  append_little_endian(bytes, slow_crc32(bytes));
  return bytes;
}

inline void append_frame(trace_bytes& to, std::uint32_t events, std::span<const std::byte> payload) {
  trace_bytes frame;
  append_little_endian(frame, static_cast<std::uint32_t>(payload.size()));
  append_little_endian(frame, events);
  trace_bytes summed = frame;
  summed.insert(summed.end(), payload.begin(), payload.end());
  append_little_endian(frame, slow_crc32(summed));
  frame.insert(frame.end(), payload.begin(), payload.end());
  to.insert(to.end(), frame.begin(), frame.end());
}

inline void append_end_mark(trace_bytes& to, std::uint64_t events) {
  trace_bytes payload;
  append_little_endian(payload, events);
  append_frame(to, 0, payload);
}

/// A trace of one frame with these bytes in it.
[[nodiscard]] inline trace_bytes framed(std::uint32_t events, std::span<const std::byte> payload) {
  trace_bytes bytes = trace_header();
  append_frame(bytes, events, payload);
  append_end_mark(bytes, events);
  return bytes;
}

}  // namespace version_1

}  // namespace cistern::test_support
