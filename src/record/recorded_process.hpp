// recorded_process: what is recorded of the process that this library is in: from where to where, in which
// threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../trace/trace_format.hpp"
#include "byte_sampler.hpp"
#include "recorded_blocks.hpp"
#include "stack_walk.hpp"

namespace cistern::detail::recorded_process {

extern constinit byte_sampler process_sampler;
extern constinit recorded_blocks process_blocks;
[[gnu::tls_model("initial-exec")]] extern constinit thread_local sampling_thread sampled_here;

/// Whether an allocation that this thread is about to make isn't recorded: it is none of those sampled, or
/// recording is paused.
[[nodiscard]] inline bool passes_by(std::size_t bytes) noexcept {
  return process_sampler.passes_by(sampled_here, bytes);
}
/// In two steps, as those of `byte_sampler`.
[[nodiscard]] inline bool passes_by_quickly(std::size_t bytes) noexcept {
  return byte_sampler::passes_by_quickly(sampled_here, bytes);
}
[[nodiscard]] inline bool takes(std::size_t bytes) noexcept {
  return process_sampler.takes(sampled_here, bytes);
}
/// Likewise of what happens to a block: what becomes of one that was recorded is, paused or not. So each
/// block in the trace has its end there.
[[nodiscard]] inline bool passes_by(const void* block) noexcept {
  return process_sampler.is_on() && !process_blocks.contains(reinterpret_cast<std::uintptr_t>(block));
}

/// One call of an allocation function, from its begin to its end. What is called inside of it (by the
/// functions behind ours, or by the recording) isn't recorded.
class call {
 public:
  /// In an exported function: its frame, and where it returns to.
  explicit call(const void* frame = __builtin_frame_address(0),
                const void* caller = __builtin_return_address(0)) noexcept;
  ~call();
  call(const call&) = delete;
  call& operator=(const call&) = delete;

  /// `block` null: it failed.
  void allocated(const void* block, std::size_t bytes, std::size_t alignment) const noexcept;
  /// Before the block is freed, so that it isn't given out again before it is free.
  void frees(const void* block) const noexcept;
  void frees(const void* block, std::size_t bytes, std::size_t alignment) const noexcept;
  /// Before the block is reallocated.
  void reallocates(const void* block) const noexcept;
  /// After it was. `block` null: it failed, and `old` is as it was.
  void reallocated(const void* old, const void* block, std::size_t bytes) const noexcept;

 private:
  void write(const trace_record& record) const noexcept;

  walk_start start_;
  bool counts_;
};

/// What a block of so many bytes may have to be aligned to: malloc's 16 for all would ask too much of pools.
[[nodiscard]] std::size_t natural_alignment(std::size_t bytes) noexcept;

// By any thread, or signal handler: one atomic store. False where there is nothing to pause, since the
// process isn't recorded, or in another way.
[[nodiscard]] bool resume() noexcept;
[[nodiscard]] bool pause() noexcept;

/// To be called when modules may have been unloaded.
void modules_were_unloaded() noexcept;

/// To be called before the process ends, or becomes another program.
void may_end() noexcept;

}  // namespace cistern::detail::recorded_process
