#include "recorded_process.hpp"

#include <cistern/detail/base/environment.hpp>
#include <cistern/detail/base/no_cancellation.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>

#include "../base/signal_hold.hpp"
#include "recorder.hpp"
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming): the C++ library's name
extern "C" int __cxa_atexit(void (*function)(void*), void* argument, void* library) noexcept;

namespace cistern::detail::recorded_process {

constinit byte_sampler process_sampler;
constinit recorded_blocks process_blocks;
constinit thread_local sampling_thread sampled_here;

namespace {

constinit recorder process_recorder;
constinit stack_walker process_walker;
constinit bool is_pausable = false;
constinit std::size_t stack_depth = 0;  ///< Of the stacks that are recorded; 0: none are.

/// Of each thread.
struct recorded_thread {
  bool is_inside = false;  ///< A call, or the recording itself.
  std::uint32_t number = 0;
  unsigned stripe = 0;
  unsigned unlocked_forks = 0;  ///< That are under way.
};
[[gnu::tls_model("initial-exec")]] constinit thread_local recorded_thread here;

constinit std::atomic<bool> was_begun{false};
constinit std::atomic<unsigned> threads_seen{0};

void complain(const char* path) noexcept {
  char text[PATH_MAX + 200];
  const int length = std::snprintf(text, sizeof text, "cistern-record: cannot write %s: %s\n", path,
                                   ::strerrordesc_np(errno));
  // Nobody need read that, nor may there be room where it goes: the program goes on.
  const signal_hold of_pipes(SIGPIPE);
  const signal_hold of_large_files(SIGXFSZ);
  if (::write(STDERR_FILENO, text, std::min<std::size_t>(static_cast<std::size_t>(length), sizeof text - 1)) <
      0) {
    if (errno == EPIPE) of_pipes.take_own();
    if (errno == EFBIG) of_large_files.take_own();
  }
}

[[nodiscard]] int open_new(const char* path) noexcept {
  return ::open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
}

/// The file of a process that isn't the first: PATH.PROCESS, and with a number if that is there already,
/// since the process has become another program.
[[nodiscard]] int open_beside(const char* path, char (&name)[PATH_MAX]) noexcept {
  for (int number = 1; number < 10'000; ++number) {
    const int length = number == 1 ? std::snprintf(name, sizeof name, "%s.%d", path, ::getpid())
                                   : std::snprintf(name, sizeof name, "%s.%d.%d", path, ::getpid(), number);
    if (length >= static_cast<int>(sizeof name)) {
      errno = ENAMETOOLONG;
      return -1;
    }
    const int descriptor = open_new(name);
    if (descriptor >= 0 || errno != EEXIST) return descriptor;
  }
  return -1;
}

/// What is sampled, and whether that may be paused. False if the system has no memory (errno says why).
[[nodiscard]] bool begin_sampling(std::uint64_t sample_bytes, bool is_first) noexcept {
  const bool starts_paused = environment_switches_on("CISTERN_RECORD_PAUSED");
  is_pausable = starts_paused || environment_switches_on("CISTERN_RECORD_PAUSABLE") ||
                environment_number("CISTERN_RECORD_TOGGLE_SIGNAL") != 0;
  if (sample_bytes == 0 && is_pausable) sample_bytes = byte_sampler::every_allocation;
  if (sample_bytes != 0 && !process_blocks.begin()) return false;
  if (is_first && starts_paused) process_sampler.pause();  // The child of a fork is as its parent is.
  process_sampler.begin(sample_bytes);
  return true;
}

/// Also of a process that isn't recorded: else the signal might end it. A handler of the program's own takes
/// this one's place.
void watch_toggle_signal() noexcept {
  const auto number = static_cast<int>(environment_number("CISTERN_RECORD_TOGGLE_SIGNAL"));
  if (number == 0) return;
  struct sigaction action {};
  action.sa_handler = [](int) { process_sampler.toggle(); };
  action.sa_flags = SA_RESTART;
  ::sigaction(number, &action, nullptr);
}

/// `is_first`: whether this may be the process that recording was asked for.
void begin(bool is_first) noexcept {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread, or the program is just being forked.
  const char* const path = std::getenv("CISTERN_RECORD_TO");
  if (path == nullptr) return;
  const no_cancellation until_it_is_open;
  stack_depth = std::min(environment_number("CISTERN_RECORD_STACKS"), call_sites::deepest_stack);
  const std::uint64_t sample_bytes = environment_number("CISTERN_RECORD_SAMPLE_BYTES");
  if ((stack_depth != 0 && !(process_walker.begin() && process_recorder.sites().begin())) ||
      !begin_sampling(sample_bytes, is_first)) {
    return complain(path);
  }
  int descriptor = is_first ? open_new(path) : -1;
  char name[PATH_MAX];
  if (!is_first || (descriptor < 0 && errno == EEXIST)) {
    if (!environment_switches_on("CISTERN_RECORD_CHILDREN")) return;
    descriptor = open_beside(path, name);
  }
  const recorder_options options{.max_bytes = environment_number("CISTERN_RECORD_MAX_BYTES"),
                                 .sample_bytes = sample_bytes,
                                 .with_stacks = stack_depth != 0};
  if (descriptor < 0 || !process_recorder.begin(descriptor, options)) complain(path);
}

// A signal handler that forks may have interrupted this thread while it holds locks, as it does in a fork,
// too. Then nobody waits for any, and the child isn't recorded.

void before_fork() noexcept {
  if (here.is_inside) {
    ++here.unlocked_forks;
    return;
  }
  here.is_inside = true;
  process_recorder.lock_all();
}

void in_parent() noexcept {
  if (here.unlocked_forks != 0) {
    --here.unlocked_forks;
    return;
  }
  process_recorder.unlock_all();
  here.is_inside = false;
}

void in_child() noexcept {
  process_recorder.forget();
  if (here.unlocked_forks != 0) {
    --here.unlocked_forks;
    return;
  }
  process_recorder.unlock_all();
  here = {};
  sampled_here = {};
  here.is_inside = true;
  begin(false);
  here.is_inside = false;
}

/// Else the child of a fork would write to its parent's file, or wait for locks that nobody gives back.
void follow_forks_or_end() noexcept {
  const int error = ::pthread_atfork(before_fork, in_parent, in_child);
  if (error == 0) return;
  process_recorder.mark_end();
  process_recorder.lock_all();
  process_recorder.forget();
  process_recorder.unlock_all();
  errno = error;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): as in `begin`, which has found it.
  complain(std::getenv("CISTERN_RECORD_TO"));
}

/// Once, at the first call that finds an environment, or when the library is loaded, whichever comes first:
/// other libraries' constructors may come before ours.
void begin_once() noexcept {
  if (environ == nullptr || was_begun.exchange(true, std::memory_order_relaxed)) return;
  const int error = errno;
  here.is_inside = true;
  begin(true);
  watch_toggle_signal();
  if (process_recorder.is_recording()) {
    follow_forks_or_end();
    // Not bound to this library: so it comes after all destructors, of all libraries.
    __cxa_atexit([](void*) { may_end(); }, nullptr, nullptr);
  }
  here.is_inside = false;
  errno = error;
}

[[gnu::constructor]] void begin_at_the_latest() {
  begin_once();
}

/// Of the stack that a call came by; 0 if that can't be told.
[[nodiscard]] std::uint32_t stack_number(const walk_start& start) noexcept {
  std::array<std::uintptr_t, call_sites::deepest_stack> places;  // As many as the walk fills.
  const std::size_t depth = process_walker.walk(start, std::span(places).first(stack_depth));
  return process_recorder.sites().number_of(std::span(places).first(depth));
}

[[nodiscard]] std::uintptr_t address_of(const void* block) noexcept {
  return reinterpret_cast<std::uintptr_t>(block);
}

/// Whether what becomes of a block can be recorded. There may be no memory for that: then the block isn't.
[[nodiscard]] bool is_kept(const void* block) noexcept {
  return !process_sampler.is_on() || process_blocks.insert(address_of(block));
}

/// Before somebody else may have the block.
void forget(const void* block) noexcept {
  if (process_sampler.is_on()) process_blocks.erase(address_of(block));
}

}  // namespace

std::size_t natural_alignment(std::size_t bytes) noexcept {
  return std::bit_floor(std::clamp<std::size_t>(bytes, 1, alignof(std::max_align_t)));
}

void may_end() noexcept {
  // A signal handler that ends the process may have interrupted this thread while it holds locks.
  if (here.is_inside) return;
  here.is_inside = true;
  process_recorder.mark_end();
  here.is_inside = false;
}

void modules_were_unloaded() noexcept {
  if (!process_recorder.is_recording() || here.is_inside) return;
  here.is_inside = true;
  process_walker.forget();
  process_recorder.sites().doubt_modules();
  here.is_inside = false;
}

bool resume() noexcept {
  process_sampler.resume();
  return is_pausable && process_recorder.is_recording();
}

bool pause() noexcept {
  process_sampler.pause();
  return is_pausable && process_recorder.is_recording();
}

call::call(const void* frame, const void* caller) noexcept : start_{.frame = frame, .caller = caller} {
  bool was_chosen = true;
  if (!was_begun.load(std::memory_order_relaxed) && !here.is_inside) {
    begin_once();
    was_chosen = !process_sampler.is_on();  // It came too early to be a sample, or to be paused.
  }
  counts_ = was_chosen && process_recorder.is_recording() && !here.is_inside;
  if (counts_) here.is_inside = true;
}

call::~call() {
  if (counts_) here.is_inside = false;
}

void call::write(const trace_record& record) const noexcept {
  if (!counts_) return;
  if (here.number == 0) {
    here.number = static_cast<std::uint32_t>(::gettid());
    here.stripe = threads_seen.fetch_add(1, std::memory_order_relaxed);
  }
  trace_record complete = record;
  complete.thread = here.number;
  if (stack_depth != 0 && has_stack(record.step)) complete.stack = stack_number(start_);
  process_recorder.write(here.stripe, complete);
}

void call::allocated(const void* block, std::size_t bytes, std::size_t alignment) const noexcept {
  if (!counts_ || (block != nullptr && !is_kept(block))) return;
  write({.step = block != nullptr ? trace_step::allocate : trace_step::failed_allocate,
         .bytes = bytes,
         .alignment = alignment,
         .address = address_of(block)});
}

void call::frees(const void* block) const noexcept {
  forget(block);
  write({.step = trace_step::free, .address = address_of(block)});
}

void call::frees(const void* block, std::size_t bytes, std::size_t alignment) const noexcept {
  forget(block);
  write(
      {.step = trace_step::deallocate, .bytes = bytes, .alignment = alignment, .address = address_of(block)});
}

void call::reallocates(const void* block) const noexcept {
  forget(block);
  write({.step = trace_step::begin_reallocate, .address = address_of(block)});
}

void call::reallocated(const void* old, const void* block, std::size_t bytes) const noexcept {
  write({.step = block != nullptr ? trace_step::end_reallocate : trace_step::fail_reallocate,
         .bytes = bytes,
         .alignment = natural_alignment(bytes),
         .address = address_of(block)});
  const void* const live = block != nullptr ? block : old;
  if (counts_ && !is_kept(live)) write({.step = trace_step::free, .address = address_of(live)});
}

}  // namespace cistern::detail::recorded_process
