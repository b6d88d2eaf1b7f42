// recording_adaptor: the trace has every call, in an order that could have happened, and disturbs nothing.
#include <cistern/adaptor/recording_adaptor.hpp>
#include <cistern/adaptor/trace_reader.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <memory_resource>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/conformance.hpp"
#include "../support/forking.hpp"
#include "../support/threads.hpp"
#include "../support/trace_support.hpp"
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

using cistern::recording_adaptor;
using cistern::trace_call;
using cistern::trace_event;
using cistern::testing::checking_resource;
using cistern::testing::failing_resource;
using namespace cistern::test_support;

namespace {

struct subject : cistern::testing::conformance_subject {
  static constexpr bool thread_safe = true;
  static auto make(std::pmr::memory_resource* upstream) {
    return std::make_unique<recording_adaptor>([](std::span<const std::byte>) {}, upstream);
  }
};

std::uint64_t address_of(const void* block) {
  return reinterpret_cast<std::uintptr_t>(block);
}

/// A disk that takes so many bytes more, a few at a time and after an interruption each; then every write has
/// `error`, or does nothing where that is 0.
struct small_disk {
  bool in_use = false;
  std::size_t room_bytes = 0;
  int error = 0;
  bool interrupted = false;
};
small_disk disk;
int close_error = 0;  ///< Of the next `close`; the descriptor is gone all the same.

struct trace_path {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("cistern-recording-" + std::to_string(::getpid()));
  trace_path() = default;
  trace_path(const trace_path&) = delete;
  trace_path& operator=(const trace_path&) = delete;
  ~trace_path() { std::filesystem::remove(path); }
};

constexpr std::uint64_t calls_to_record = 80;

void make_calls(recording_adaptor& recorded) {
  for (std::size_t i = 0; i < calls_to_record / 2; ++i)
    recorded.deallocate(recorded.allocate(100 + i), 100 + i);
}

std::error_code code_of(const std::exception_ptr& error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const std::system_error& thrown) {
    return thrown.code();
  }
  return {};
}

/// The events up to where the trace is cut off; whether it is.
struct recorded_part {
  std::vector<trace_event> events;
  bool cut_off = false;
};
recorded_part part_in(const std::filesystem::path& path) {
  recorded_part part;
  cistern::trace_reader reader(cistern::trace_from_file(path));
  try {
    for (trace_event event; reader.next(event);) part.events.push_back(event);
  } catch (const cistern::trace_error& error) {
    if (error.fault() != cistern::trace_fault::truncated) throw;
    part.cut_off = true;
  }
  return part;
}

}  // namespace

// Stands in for the C library's.
extern "C" ssize_t write(int file, const void* from, std::size_t bytes) {
  if (disk.in_use) {
    disk.interrupted = !disk.interrupted;
    if (disk.interrupted || disk.room_bytes == 0) {
      errno = disk.interrupted ? EINTR : disk.error;
      return errno == 0 ? 0 : -1;
    }
    bytes = std::min({bytes, disk.room_bytes, std::size_t{50}});
    disk.room_bytes -= bytes;
  }
  return ::syscall(SYS_write, file, from, bytes);
}

extern "C" int close(int file) {
  const int result = static_cast<int>(::syscall(SYS_close, file));
  if (const int error = std::exchange(close_error, 0); error != 0) return errno = error, -1;
  return result;
}

BOOST_AUTO_TEST_CASE(conforms) {
  require_conformance<subject>();
}

BOOST_AUTO_TEST_CASE(every_call_is_in_the_trace_failures_too) {
  trace_bytes bytes;
  failing_resource upstream;
  void* a = nullptr;
  void* b = nullptr;
  {
    recording_adaptor recorded(trace_to(bytes), &upstream);
    BOOST_TEST(recorded.upstream_resource() == &upstream);
    a = recorded.allocate(100, 8);
    b = recorded.allocate(0, 64);
    upstream.fail_nth(1);
    BOOST_CHECK_THROW((void)recorded.allocate(SIZE_MAX / 2, 16), std::bad_alloc);
    recorded.deallocate(a, 100, 8);
    recorded.deallocate(b, 0, 64);
    BOOST_TEST(recorded.recorded() == 5u);
    BOOST_TEST(recorded.unrecorded() == 0u);
  }
  const auto events = events_of(bytes);
  BOOST_REQUIRE(events.size() == 5u);
  const auto is = [&](std::size_t i, trace_call call, std::uint64_t size, std::uint64_t alignment,
                      const void* ptr, std::uint64_t block) {
    BOOST_TEST((events[i].call == call));
    BOOST_TEST(events[i].bytes == size);
    BOOST_TEST(events[i].alignment == alignment);
    BOOST_TEST(events[i].address == address_of(ptr));
    BOOST_TEST(events[i].block == block);
  };
  is(0, trace_call::allocate, 100, 8, a, 1);
  is(1, trace_call::allocate, 0, 64, b, 2);
  is(2, trace_call::failed_allocate, SIZE_MAX / 2, 16, nullptr, 0);
  is(3, trace_call::deallocate, 100, 8, a, 1);
  is(4, trace_call::deallocate, 0, 64, b, 2);
  BOOST_TEST(std::is_sorted(events.begin(), events.end(),
                            [](const auto& one, const auto& next) { return one.time < next.time; }));
  for (const trace_event& event : events) BOOST_TEST(event.thread == events[0].thread);
}

BOOST_AUTO_TEST_CASE(times_may_be_left_out) {
  trace_bytes bytes;
  {
    recording_adaptor recorded(trace_to(bytes), nullptr, {.timestamps = false});
    recorded.deallocate(recorded.allocate(1), 1);
  }
  for (const trace_event& event : events_of(bytes)) BOOST_TEST((event.time == std::chrono::nanoseconds(0)));
}

BOOST_AUTO_TEST_CASE(close_ends_the_trace_and_calls_go_on) {
  trace_bytes bytes;
  recording_adaptor recorded(trace_to(bytes));
  void* const block = recorded.allocate(1);
  recorded.close();
  recorded.close();
  BOOST_TEST(events_of(bytes).size() == 1u);
  const std::size_t closed_bytes = bytes.size();
  recorded.deallocate(block, 1);
  recorded.flush();
  BOOST_TEST(bytes.size() == closed_bytes);
  BOOST_TEST(recorded.recorded() == 1u);
  BOOST_TEST(recorded.unrecorded() == 1u);
}

BOOST_AUTO_TEST_CASE(flush_makes_what_happened_so_far_readable) {
  trace_bytes bytes;
  recording_adaptor recorded(trace_to(bytes));
  BOOST_TEST(bytes.size() == 40u);  // The header: the sink was tried.
  recorded.deallocate(recorded.allocate(1), 1);
  BOOST_TEST(bytes.size() == 40u);
  recorded.flush();
  std::vector<trace_event> events;
  try {
    read_into(events, bytes);
    BOOST_ERROR("an end mark before the end");
  } catch (const cistern::trace_error& error) {
    BOOST_TEST((error.fault() == cistern::trace_fault::truncated));
  }
  BOOST_TEST(events.size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_sink_that_fails_ends_the_recording_and_nothing_else) {
  checking_resource upstream;
  int room = 3;
  recording_adaptor recorded(
      [&](std::span<const std::byte>) {
        if (room-- == 0) throw std::runtime_error("disk full");
      },
      &upstream, {.buffer_bytes = 256});
  BOOST_TEST((recorded.error() == nullptr));
  for (int i = 0; i < 1000; ++i) recorded.deallocate(recorded.allocate(10), 10);
  BOOST_TEST((recorded.error() != nullptr));
  BOOST_TEST(recorded.recorded() > 0u);
  BOOST_TEST(recorded.recorded() + recorded.unrecorded() == 2000u);
  BOOST_CHECK_THROW(recorded.flush(), std::runtime_error);
  BOOST_CHECK_THROW(recorded.close(), std::runtime_error);
  BOOST_TEST(upstream.outstanding_blocks() == 0u);
}

BOOST_AUTO_TEST_CASE(a_thread_cancelled_in_the_sink_loses_no_event_and_no_block) {
  checking_resource upstream;
  trace_bytes bytes;
  bool cancelled = false;
  recording_adaptor recorded(
      [&](std::span<const std::byte> more) {
        if (!bytes.empty() && !std::exchange(cancelled, true)) ::pthread_cancel(::pthread_self());
        ::pthread_testcancel();  // as any write is one
        bytes.insert(bytes.end(), more.begin(), more.end());
      },
      &upstream, {.buffer_bytes = 256});
  pthread_t thread;
  const auto work = [](void* adaptor) -> void* {
    auto& to = *static_cast<recording_adaptor*>(adaptor);
    for (int i = 0; i < 10'000; ++i) to.deallocate(to.allocate(10), 10);
    return nullptr;
  };
  BOOST_REQUIRE(::pthread_create(&thread, nullptr, work, &recorded) == 0);
  void* result = nullptr;
  ::pthread_join(thread, &result);
  BOOST_TEST(result == PTHREAD_CANCELED);
  BOOST_TEST((recorded.error() == nullptr));
  BOOST_TEST(upstream.outstanding_blocks() == 0u);
  recorded.deallocate(recorded.allocate(10), 10);
  recorded.close();
  BOOST_TEST(recorded.unrecorded() == 0u);
  BOOST_TEST(events_of(bytes).size() == recorded.recorded());
}

BOOST_AUTO_TEST_CASE(a_sink_that_fails_at_once_is_an_error_of_the_constructor) {
  BOOST_CHECK_THROW(recording_adaptor([](std::span<const std::byte>) { throw std::runtime_error("no"); }),
                    std::runtime_error);
}

BOOST_AUTO_TEST_CASE(wherever_the_disk_is_full_what_came_before_is_there) {
  const trace_path file;
  constexpr std::array errors{ENOSPC, EIO, EBADF, 0};
  constexpr std::size_t header_bytes = 40;
  std::uint64_t all_recorded = 0;
  bool all_fits = false;
  for (std::size_t room_bytes = 0; !all_fits; ++room_bytes) {
    checking_resource upstream;
    const int error = errors[room_bytes % errors.size()];
    disk = {true, room_bytes, error};
    std::optional<recording_adaptor> recorded;
    std::exception_ptr thrown;
    try {
      recorded.emplace(cistern::trace_to_file(file.path), &upstream,
                       cistern::recording_options{.buffer_bytes = 256, .timestamps = false});
      make_calls(*recorded);
      recorded->close();
    } catch (const std::system_error&) {
      thrown = std::current_exception();
    }
    disk = {};
    BOOST_REQUIRE(recorded.has_value() == (room_bytes >= header_bytes));
    if (thrown) BOOST_REQUIRE(code_of(thrown).value() == (error != 0 ? error : EIO));
    if (!recorded) continue;
    BOOST_REQUIRE((code_of(recorded->error()) == code_of(thrown)));
    BOOST_REQUIRE(upstream.outstanding_blocks() == 0u);
    const recorded_part part = part_in(file.path);
    all_fits = !thrown;
    BOOST_REQUIRE(part.cut_off == !all_fits);
    BOOST_REQUIRE(part.events.size() == recorded->recorded());
    BOOST_REQUIRE(recorded->recorded() + recorded->unrecorded() == calls_to_record);
    all_recorded = recorded->recorded();
  }
  BOOST_TEST(all_recorded == calls_to_record);
}

namespace {

/// What goes wrong in a child that records to what `open` gives after `refuse`, where writes have `error`.
std::string refused_write_fault(const std::function<cistern::trace_sink()>& open,
                                const std::function<void()>& refuse, int error) {
  return fork_fault([&] {
    const auto must = [](bool condition, int status) {
      if (!condition) ::_exit(status);
    };
    recording_adaptor recorded(open(), nullptr, {.buffer_bytes = 256});
    refuse();
    constexpr unsigned rounds = 4;
    for (unsigned round = 0; round < rounds; ++round) make_calls(recorded);
    must(code_of(recorded.error()).value() == error, 1);
    must(recorded.recorded() + recorded.unrecorded() == rounds * calls_to_record, 2);
    must(recorded.unrecorded() != 0, 3);
    sigset_t none_blocked;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &none_blocked);
    must(!sigismember(&none_blocked, SIGPIPE) && !sigismember(&none_blocked, SIGXFSZ), 4);
  });
}

}  // namespace

// On a server, or where there is a quota, that may be the first to hear of bytes that got nowhere.
BOOST_AUTO_TEST_CASE(what_only_the_close_of_the_file_says_is_an_error) {
  const trace_path file;
  for (const int error : {0, EIO, EDQUOT, EINTR}) {
    recording_adaptor recorded(cistern::trace_to_file(file.path));
    make_calls(recorded);
    close_error = error;
    const bool is_lost = error == EIO || error == EDQUOT;
    try {
      recorded.close();
      BOOST_TEST(!is_lost);
    } catch (const std::system_error& thrown) {
      BOOST_TEST(is_lost);
      BOOST_TEST(thrown.code().value() == error);
      BOOST_TEST(std::string(thrown.what()).find(file.path.string()) != std::string::npos);
    }
    BOOST_TEST(close_error == 0);
    BOOST_TEST(code_of(recorded.error()).value() == (is_lost ? error : 0));
    BOOST_TEST(part_in(file.path).events.size() == calls_to_record);
  }
}

// Else the signals would end the program that is recorded.
BOOST_AUTO_TEST_CASE(a_file_that_may_not_grow_ends_the_recording_and_nothing_else) {
  const trace_path file;
  const auto limit_size = [] {
    const rlimit limit{400, 400};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(10);
  };
  const auto open = [&] { return cistern::trace_to_file(file.path); };
  BOOST_TEST(refused_write_fault(open, limit_size, EFBIG) == "");
  const recorded_part part = part_in(file.path);
  BOOST_TEST(part.cut_off);
  BOOST_TEST(!part.events.empty());
}

BOOST_AUTO_TEST_CASE(a_pipe_that_nobody_reads_ends_the_recording_and_nothing_else) {
  std::array<int, 2> ends{};
  const auto open = [&] {
    if (::pipe(ends.data()) != 0) ::_exit(10);
    return cistern::trace_to_file("/dev/fd/" + std::to_string(ends[1]));
  };
  BOOST_TEST(refused_write_fault(
                 open, [&] { ::close(ends[0]); }, EPIPE) == "");
}

// Blocks that wander between threads, and addresses that are given out again and again: the trace must never
// have an address allocated while it is live, or freed while it isn't.
BOOST_AUTO_TEST_CASE(the_order_of_many_threads_calls_could_have_happened) {
  trace_bytes bytes;
  checking_resource upstream;
  constexpr std::size_t threads = 4;
  constexpr std::size_t rounds = 2'000;
  {
    recording_adaptor recorded(trace_to(bytes), &upstream, {.buffer_bytes = 1000});
    std::vector<std::vector<void*>> made(threads);
    run_threads(threads, [&](std::size_t index) {
      for (std::size_t i = 0; i < rounds; ++i) {
        recorded.deallocate(recorded.allocate(32), 32);
        made[index].push_back(recorded.allocate(16 + index));
      }
    });
    run_threads(threads, [&](std::size_t index) {
      const std::size_t other = (index + 1) % threads;
      for (void* const block : made[other]) recorded.deallocate(block, 16 + other);
    });
  }
  std::map<std::uint64_t, trace_event> live;
  std::set<std::uint64_t> seen_threads;
  std::uint64_t events = 0;
  for (const trace_event& event : events_of(bytes)) {
    ++events;
    seen_threads.insert(event.thread);
    if (event.call == trace_call::allocate) {
      BOOST_REQUIRE(live.emplace(event.address, event).second);
    } else {
      const auto found = live.find(event.address);
      BOOST_REQUIRE(found != live.end());
      BOOST_REQUIRE(found->second.bytes == event.bytes);
      BOOST_REQUIRE(found->second.block == event.block);
      live.erase(found);
    }
  }
  BOOST_TEST(live.empty());
  BOOST_TEST(events == threads * rounds * 4);
  BOOST_TEST(seen_threads.size() >= threads);
}
