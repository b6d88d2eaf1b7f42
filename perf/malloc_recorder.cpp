// malloc_recorder: a library to preload, which writes what a program asks of malloc to a trace.
//
//   CISTERN_RECORD_TO=perl.trace LD_PRELOAD=libcistern-malloc-recorder.so perl work.pl
//
// Records the one process it is preloaded into: neither its children nor what it becomes by exec. A realloc
// counts as a free and an allocation. What is asked of valloc and pvalloc isn't seen.
#include <cistern/adaptor/trace.hpp>
#include <cistern/adaptor/trace_writer.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <unordered_map>

#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): the C library's names
extern "C" {
void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t count, std::size_t bytes);
void* __libc_realloc(void* block, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);
void __libc_free(void* block);
}

namespace {

/// Set while the recording works: what it allocates itself isn't part of the trace.
[[gnu::tls_model("initial-exec")]] thread_local bool recording_here = false;

class recording {
 public:
  explicit recording(const char* file) : writer_(cistern::trace_to_file(file)) {}

  void allocated(void* block, std::size_t bytes, std::size_t alignment) {
    const std::scoped_lock hold(mutex_);
    const auto address = reinterpret_cast<std::uintptr_t>(block);
    forget(address);  // the C library may have freed it without asking us
    live_.emplace(address, request{bytes, alignment});
    write(cistern::trace_call::allocate, address, {bytes, alignment});
  }

  /// Called before the block is freed, so that in the trace, too, no address is given out twice.
  void freed(void* block) {
    const std::scoped_lock hold(mutex_);
    forget(reinterpret_cast<std::uintptr_t>(block));
  }

  void close() {
    const std::scoped_lock hold(mutex_);
    writer_.close();
  }

 private:
  struct request {
    std::size_t bytes;
    std::size_t alignment;
  };

  void forget(std::uintptr_t address) {
    const auto found = live_.find(address);
    if (found == live_.end()) return;  // from before the recording
    write(cistern::trace_call::deallocate, address, found->second);
    live_.erase(found);
  }

  void write(cistern::trace_call call, std::uintptr_t address, const request& one) {
    writer_.write({.call = call,
                   .time = std::chrono::steady_clock::now() - start_,
                   .thread = static_cast<std::uint64_t>(::gettid()),
                   .bytes = one.bytes,
                   .alignment = one.alignment,
                   .address = address});
  }

  std::mutex mutex_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::unordered_map<std::uintptr_t, request> live_;
  cistern::trace_writer writer_;
};

/// Null: nothing is recorded. Never destroyed: other threads may be in it to the end.
constinit std::atomic<recording*> current = nullptr;

/// Does `step` with the recording, unless it is the recording that calls. What goes wrong ends the recording,
/// not the program.
template <class Step>
void record(Step step) noexcept {
  recording* const open = current.load(std::memory_order_acquire);  // pairs with the store in begin()
  if (open == nullptr || recording_here) return;
  const int error = errno;
  recording_here = true;
  try {
    step(*open);
  } catch (const std::exception& failure) {
    current.store(nullptr);
    std::fprintf(stderr, "malloc_recorder: %s\n", failure.what());
  }
  recording_here = false;
  errno = error;
}

/// What a block of so many bytes may have to be aligned to; malloc's 16 for all would ask too much of pools.
std::size_t natural_alignment(std::size_t bytes) {
  return std::bit_floor(std::clamp<std::size_t>(bytes, 1, alignof(std::max_align_t)));
}

void* recorded(void* block, std::size_t bytes, std::size_t alignment) {
  if (block != nullptr) record([=](recording& open) { open.allocated(block, bytes, alignment); });
  return block;
}

void* recorded(void* block, std::size_t bytes) {
  return recorded(block, bytes, natural_alignment(bytes));
}

[[gnu::constructor]] void begin() {
  const char* file = std::getenv("CISTERN_RECORD_TO");
  if (file == nullptr) return;
  recording_here = true;
  try {
    current.store(new recording(file), std::memory_order_release);
    ::unsetenv("LD_PRELOAD");
    ::pthread_atfork(nullptr, nullptr, [] { current.store(nullptr); });
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "malloc_recorder: %s\n", failure.what());
  }
  recording_here = false;
}

[[gnu::destructor]] void end() {
  record([](recording& open) {
    current.store(nullptr);
    open.close();
  });
}

}  // namespace

extern "C" {

[[gnu::visibility("default")]] void* malloc(std::size_t bytes) {
  return recorded(__libc_malloc(bytes), bytes);
}

[[gnu::visibility("default")]] void free(void* block) {
  if (block != nullptr) record([=](recording& open) { open.freed(block); });
  __libc_free(block);
}

[[gnu::visibility("default")]] void* calloc(std::size_t count, std::size_t bytes) {
  return recorded(__libc_calloc(count, bytes), count * bytes);
}

[[gnu::visibility("default")]] void* realloc(void* block, std::size_t bytes) {
  if (block == nullptr) return malloc(bytes);
  const std::size_t usable = ::malloc_usable_size(block);
  record([=](recording& open) { open.freed(block); });
  void* const moved = __libc_realloc(block, bytes);
  if (moved == nullptr && bytes != 0) return recorded(block, usable), nullptr;  // it is still there
  return recorded(moved, bytes);
}

[[gnu::visibility("default")]] void* reallocarray(void* block, std::size_t count, std::size_t bytes) {
  std::size_t all = 0;
  if (__builtin_mul_overflow(count, bytes, &all)) {
    errno = ENOMEM;
    return nullptr;
  }
  return realloc(block, all);
}

[[gnu::visibility("default")]] void* memalign(std::size_t alignment, std::size_t bytes) {
  return recorded(__libc_memalign(alignment, bytes), bytes, alignment);
}

[[gnu::visibility("default")]] void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  return memalign(alignment, bytes);
}

[[gnu::visibility("default")]] int posix_memalign(void** block, std::size_t alignment, std::size_t bytes) {
  if (!std::has_single_bit(alignment) || alignment % sizeof(void*) != 0) return EINVAL;
  void* const got = memalign(alignment, bytes);
  if (got == nullptr) return ENOMEM;
  *block = got;
  return 0;
}
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
