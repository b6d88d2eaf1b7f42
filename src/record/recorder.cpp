#include "recorder.hpp"

#include <algorithm>
#include <cerrno>
#include <ctime>

#include <unistd.h>

namespace cistern::detail {
namespace {

[[nodiscard]] std::uint64_t nanoseconds_of(clockid_t clock) noexcept {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

}  // namespace

std::uint64_t recorder::now() const noexcept {
  return nanoseconds_of(CLOCK_MONOTONIC) - started_;
}

bool recorder::begin(int descriptor, const recorder_options& options) noexcept {
  process_ = ::getpid();
  started_ = nanoseconds_of(CLOCK_MONOTONIC);
  with_stacks_ = options.with_stacks;
  empty_stripes(0);
  const auto header = encode_header({.started_nanoseconds = nanoseconds_of(CLOCK_REALTIME),
                                     .sample_bytes = options.sample_bytes,
                                     .process = static_cast<std::uint64_t>(process_)});
  if (!file_.begin(descriptor, header, options.max_bytes)) return false;
  fit_stripes();
  recording_.store(true, std::memory_order_release);
  return true;
}

void recorder::write(unsigned stripe_number, trace_record record) noexcept {
  stripe& mine = stripes_[stripe_number % stripes];
  for (;;) {
    {
      const scoped_lock hold(mine.lock);
      if (!recording_.load(std::memory_order_relaxed)) return;
      if (!is_full(mine)) {
        mine.last_time = record.time = std::max(mine.last_time, now());
        std::byte* const end = mine.encoder.put(&mine.buffer[mine.used_bytes], record);
        mine.used_bytes = static_cast<std::size_t>(end - mine.buffer.data());
        ++mine.records;
        return;
      }
    }
    make_room(mine);
  }
}

bool recorder::is_full(const stripe& one) const noexcept {
  return stripe_bytes_ - one.used_bytes < longest_event_bytes;
}

/// With all locks held. An event always has a place: the file says when it has none.
void recorder::fit_stripes() noexcept {
  constexpr std::uint64_t least_bytes = trace_frame_header_bytes + longest_event_bytes;
  stripe_bytes_ = static_cast<std::size_t>(
      std::clamp(file_.room_bytes() / stripes, least_bytes, std::uint64_t{buffer_bytes}));
}

/// Unless another thread has done so already.
void recorder::make_room(stripe& full) noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS {
  const int error = errno;
  lock_all();
  if (is_full(full)) write_round();
  unlock_all();
  errno = error;
}

void recorder::mark_end() noexcept {
  if (!is_recording() || ::getpid() != process_) return;
  const int error = errno;
  lock_all();
  if (recording_.load(std::memory_order_relaxed)) {
    write_round();
    file_.mark_end();
  }
  unlock_all();
  errno = error;
}

void recorder::lock_all() noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS {
  file_lock_.lock();
  for (stripe& each : stripes_) each.lock.lock();
  sites_.lock();
}

void recorder::unlock_all() noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS {
  sites_.unlock();
  for (stripe& each : stripes_) each.lock.unlock();
  file_lock_.unlock();
}

void recorder::forget() noexcept {
  empty_stripes(0);  // What this process records has its own beginning.
  file_.abandon();
  recording_.store(false, std::memory_order_relaxed);
}

/// With all locks held. Nothing that comes is earlier than `last_time`, whatever the clocks of two processors
/// say.
void recorder::empty_stripes(std::uint64_t last_time) noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS {
  for (stripe& each : stripes_) {
    each.encoder = trace_frame_encoder(with_stacks_);
    each.last_time = last_time;
    each.used_bytes = trace_frame_header_bytes;
    each.records = 0;
  }
}

/// With all locks held. What the events are the first to refer to. False if it can't be written.
bool recorder::write_tables() noexcept {
  for (;;) {
    const encoded_table made = sites_.encode_next(std::span(table_frame_).subspan(trace_frame_header_bytes));
    if (made.entries == 0) return true;
    const std::span frame = std::span(table_frame_).first(trace_frame_header_bytes + made.bytes);
    seal_frame(frame, made.kind, made.entries);
    const std::array<record_file::bytes, 1> round{frame};
    if (!file_.append(round, 0)) return false;
  }
}

/// With all locks held.
void recorder::write_round() noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS {
  std::array<stripe*, stripes> filled{};
  std::size_t frames = 0;
  std::uint64_t last_time = 0;
  for (stripe& each : stripes_) {
    last_time = std::max(last_time, each.last_time);
    if (each.records != 0) filled[frames++] = &each;
  }
  const std::uint32_t kind = with_stacks_ ? trace_events_with_stacks_kind : trace_events_kind;
  std::array<record_file::bytes, stripes> round{};
  std::uint64_t records = 0;
  for (std::size_t i = 0; i < frames; ++i) {
    const std::span frame(filled[i]->buffer.data(), filled[i]->used_bytes);
    seal_frame(frame, kind | (i + 1 < frames ? trace_joined_bit : 0), filled[i]->records);
    round[i] = frame;
    records += filled[i]->records;
  }
  // A process that came to be without `fork`'s telling has our memory, or a copy: the file isn't its own.
  const bool is_own = ::getpid() == process_;
  if (frames != 0 && is_own && !(write_tables() && file_.append(std::span(round).first(frames), records))) {
    recording_.store(false, std::memory_order_relaxed);
  }
  empty_stripes(last_time);
  fit_stripes();
}

}  // namespace cistern::detail
