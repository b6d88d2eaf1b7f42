#include <cistern/adaptor/recording_adaptor.hpp>
#include <cistern/detail/base/give_back.hpp>
#include <cistern/detail/base/no_cancellation.hpp>
#include <cistern/detail/base/possible_size.hpp>
#include <cistern/detail/base/thread_id.hpp>

#include <utility>

#include <pthread.h>

namespace cistern {

recording_adaptor::recording_adaptor(trace_sink sink, std::pmr::memory_resource* upstream,
                                     const recording_options& options)
    : upstream_(resource_or_new_delete(upstream)),
      timestamps_(options.timestamps),
      started_(std::chrono::steady_clock::now()),
      writer_(std::move(sink), options.buffer_bytes) {
  writer_.flush();  // The header: a sink that can't be written to is found out here.
}

recording_adaptor::~recording_adaptor() {
  try {
    close();
  } catch (...) {  // Nobody to tell; `error` was there to be asked.
  }
}

void* recording_adaptor::do_allocate(std::size_t bytes, std::size_t alignment) {
  ::pthread_testcancel();  // what came in while an earlier call was recorded, before there is a block to lose
  void* block = nullptr;
  try {
    detail::expect_possible_size(bytes);
    block = upstream_->allocate(bytes, alignment);
  } catch (...) {
    record(trace_call::failed_allocate, nullptr, bytes, alignment);
    throw;
  }
  record(trace_call::allocate, block, bytes, alignment);
  return block;
}

void recording_adaptor::do_deallocate(void* block, std::size_t bytes, std::size_t alignment) {
  record(trace_call::deallocate, block, bytes, alignment);
  detail::give_back(*upstream_, block, bytes, alignment);
}

void recording_adaptor::record(trace_call call, const void* block, std::size_t bytes,
                               std::size_t alignment) noexcept {
  trace_event event;
  event.call = call;
  event.thread = detail::thread_id();
  event.bytes = bytes;
  event.alignment = alignment;
  event.address = reinterpret_cast<std::uintptr_t>(block);
  const detail::no_cancellation until_it_is_written;  // destructors give memory back, and can't be unwound
  const detail::scoped_lock guard(lock_);
  if (!recording_) {
    ++unrecorded_;
    return;
  }
  try {
    // With the lock held, so that times go up from event to event.
    if (timestamps_) event.time = std::chrono::steady_clock::now() - started_;
    writer_.write(event);
  } catch (...) {
    stop();
    ++unrecorded_;
  }
}

/// The sink threw: what was gathered for it never gets there.
void recording_adaptor::stop() noexcept {
  recording_ = false;
  error_ = std::current_exception();
  lost_ = writer_.gathered_events();
  unrecorded_ += lost_;
}

/// Takes a step of the writer if it still records; passes on what that throws, or has thrown before.
template <class Step>
void recording_adaptor::run(const Step& step) {
  const detail::no_cancellation until_it_is_written;
  const detail::scoped_lock guard(lock_);
  if (error_) std::rethrow_exception(error_);
  if (!recording_) return;
  try {
    step();
  } catch (...) {
    stop();
    throw;
  }
}

void recording_adaptor::flush() {
  run([this]() CISTERN_REQUIRES(lock_) { writer_.flush(); });
}

void recording_adaptor::close() {
  run([this]() CISTERN_REQUIRES(lock_) {
    writer_.close();
    recording_ = false;
  });
}

std::uint64_t recording_adaptor::recorded() const {
  const detail::scoped_lock guard(lock_);
  return writer_.events() - lost_;
}

std::uint64_t recording_adaptor::unrecorded() const {
  const detail::scoped_lock guard(lock_);
  return unrecorded_;
}

std::exception_ptr recording_adaptor::error() const {
  const detail::scoped_lock guard(lock_);
  return error_;
}

}  // namespace cistern
