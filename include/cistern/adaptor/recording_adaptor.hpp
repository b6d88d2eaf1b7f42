// recording_adaptor: writes every call to a compact binary trace, to be read, replayed or looked into later.
#pragma once

#include <cistern/adaptor/trace.hpp>
#include <cistern/adaptor/trace_writer.hpp>
#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/detail/base/mutex.hpp>
#include <cistern/resource_or_new_delete.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory_resource>

namespace cistern {

/// Tuning of a `recording_adaptor`.
struct recording_options {
  /// Bytes that are gathered before the sink is called; from 256 B to 256 KiB.
  std::size_t buffer_bytes = std::size_t{64} << 10;
  /// Take the time of each call. Off: all times are 0, and a call costs the reading of a clock less.
  bool timestamps = true;
};

/// Passes every call on and records it: what was called, when, by which thread, size, alignment and address;
/// failed allocations too.
///
/// A deallocation is recorded before upstream is called and an allocation after, under one lock for the
/// encoding (upstream is called outside of it), so that the trace is in an order that could have happened: an
/// address is never given out again before it is freed.
///
/// A recording never disturbs the program: where the sink throws, recording stops, the calls go on, and
/// `error()` says why. The sink is called with the lock held, from any call: it must not use this adaptor. A
/// thread isn't cancelled (`pthread_cancel`) while it is in the sink, but at its next allocation at the
/// latest; the sink must not end it.
///
/// Thread-safe if upstream is. O(1) beside upstream's cost and the sink's. Memory of its own: one buffer,
/// from new/delete. Equality is identity. After `fork`, only one of the two processes may go on with it.
class recording_adaptor : public std::pmr::memory_resource {
 public:
  /// Records to `sink` (see `trace_to_file`); `upstream` null means new/delete. Throws `std::bad_alloc`, and
  /// what the sink throws for the trace's header. Precondition: `sink` is not empty.
  explicit recording_adaptor(trace_sink sink,
                             std::pmr::memory_resource* upstream CISTERN_LIFETIMEBOUND = nullptr,
                             const recording_options& options = {});
  recording_adaptor(const recording_adaptor&) = delete;
  recording_adaptor& operator=(const recording_adaptor&) = delete;
  /// Closes the trace. What the sink throws is lost here: call `close` to see it.
  ~recording_adaptor() override;

  [[nodiscard]] std::pmr::memory_resource* upstream_resource() const noexcept { return upstream_; }

  /// Hands to the sink what was gathered. Throws what it threw, now or before. Thread-safe.
  void flush();
  /// Ends the trace: calls that come later are passed on without being recorded. Throws what the sink threw,
  /// now or before. Thread-safe.
  void close();

  /// Calls that are part of the trace: after an error, of what is there up to where it is cut off.
  [[nodiscard]] std::uint64_t recorded() const;
  /// Calls that came after the recording had stopped, by `close` or by an error, or that the sink didn't
  /// take.
  [[nodiscard]] std::uint64_t unrecorded() const;
  /// What the sink threw; null if nothing.
  [[nodiscard]] std::exception_ptr error() const;

 protected:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

 private:
  void record(trace_call call, const void* block, std::size_t bytes, std::size_t alignment) noexcept;
  template <class Step>
  void run(const Step& step);
  void stop() noexcept CISTERN_REQUIRES(lock_);

  std::pmr::memory_resource* upstream_;
  const bool timestamps_;
  const std::chrono::steady_clock::time_point started_;
  mutable detail::mutex lock_;
  detail::held_at_fork<detail::mutex> fork_guard_{lock_};
  trace_writer writer_ CISTERN_GUARDED_BY(lock_);
  bool recording_ CISTERN_GUARDED_BY(lock_) = true;
  std::uint64_t unrecorded_ CISTERN_GUARDED_BY(lock_) = 0;
  std::uint64_t lost_ CISTERN_GUARDED_BY(lock_) = 0;
  std::exception_ptr error_ CISTERN_GUARDED_BY(lock_);
};

}  // namespace cistern
