// Descriptors under buffers and chains: cancelled threads lose and repeat no byte, broken peers are errors
// and no signals, and who never waits pays for neither.
#include <cistern/buffer.hpp>
#include <cistern/chain.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <ostream>
#include <streambuf>
#include <string>
#include <system_error>
#include <utility>

#include <boost/test/unit_test.hpp>

#include "../support/sanitizers.hpp"
#include "../support/texts.hpp"
#include "../support/threads.hpp"
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

using cistern::buffer;
using cistern::chain;
using cistern::test_support::letters;
using cistern::test_support::require;
using cistern::test_support::sanitized;
using cistern::testing::checking_resource;

// --- system calls, counted and cancelled in the worst place ---

namespace {

std::atomic<int> calls_to_move_bytes;
std::atomic<int> other_calls;
std::atomic<bool> cancelled_after_next_call;
std::atomic<int> refused_flags;  // of preadv2 and pwritev2, as by a kernel that is older than they are

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

// As a C library does whose cancellation is not exact: the thread ends when its bytes have gone already.
ssize_t moved(ssize_t count) {
  ++calls_to_move_bytes;
  if (count > 0 && cancelled_after_next_call.exchange(false)) {
    ::pthread_cancel(::pthread_self());
    ::pthread_testcancel();
  }
  return count;
}

}  // namespace

extern "C" {
ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  return moved(next<decltype(sendmsg)>("sendmsg")(fd, message, flags));
}
ssize_t recv(int fd, void* room, size_t n, int flags) {
  return moved(next<decltype(recv)>("recv")(fd, room, n, flags));
}
ssize_t read(int fd, void* room, size_t n) {
  return moved(next<decltype(read)>("read")(fd, room, n));
}
ssize_t write(int fd, const void* bytes, size_t n) {
  return moved(next<decltype(write)>("write")(fd, bytes, n));
}
ssize_t writev(int fd, const iovec* pieces, int count) {
  return moved(next<decltype(writev)>("writev")(fd, pieces, count));
}
ssize_t pwritev2(int fd, const iovec* pieces, int count, off_t offset, int flags) {
  if ((flags & refused_flags) != 0) return errno = EOPNOTSUPP, -1;
  return moved(next<decltype(pwritev2)>("pwritev2")(fd, pieces, count, offset, flags));
}
ssize_t preadv2(int fd, const iovec* pieces, int count, off_t offset, int flags) {
  if ((flags & refused_flags) != 0) return errno = EOPNOTSUPP, -1;
  return moved(next<decltype(preadv2)>("preadv2")(fd, pieces, count, offset, flags));
}
int poll(pollfd* fds, nfds_t count, int milliseconds) {
  ++other_calls;
  return next<decltype(poll)>("poll")(fds, count, milliseconds);
}
int fstat(int fd, struct stat* status) noexcept {
  ++other_calls;
  return next<int(int, struct stat*)>("fstat")(fd, status);
}
#if !defined(CISTERN_TSAN) && !CISTERN_ASAN  // which call it before they can be called
int getrlimit(__rlimit_resource_t resource, rlimit* limit) noexcept {
  ++other_calls;
  return next<int(__rlimit_resource_t, rlimit*)>("getrlimit")(resource, limit);
}
#endif
int pthread_sigmask(int how, const sigset_t* set, sigset_t* before) noexcept {
  ++other_calls;
  return next<int(int, const sigset_t*, sigset_t*)>("pthread_sigmask")(how, set, before);
}
}

namespace {

/// Two ends of something that bytes go through, from 1 to 0.
struct ends {
  enum class kind { socket, pipe };
  explicit ends(kind k) {
    ::alarm(120);  // what hangs must fail
    require((k == kind::socket ? ::socketpair(AF_UNIX, SOCK_STREAM, 0, fd) : ::pipe(fd)) == 0, "two ends");
  }
  ends(const ends&) = delete;
  ~ends() { close(0), close(1); }
  void close(int i) {
    if (fd[i] >= 0) ::close(std::exchange(fd[i], -1));
  }
  int fd[2];
};
constexpr ends::kind kinds[] = {ends::kind::socket, ends::kind::pipe};

/// A thread that may be cancelled.
class cancellable {
 public:
  explicit cancellable(std::function<void()> work) : work_(std::move(work)) {
    require(::pthread_create(
                &thread_, nullptr,
                [](void* self) -> void* {
                  static_cast<cancellable*>(self)->work_();
                  return nullptr;
                },
                this) == 0,
            "a thread");
  }
  void cancel() { ::pthread_cancel(thread_); }
  /// Whether it was cancelled rather than done.
  bool join() {
    void* result = nullptr;
    ::pthread_join(thread_, &result);
    return result == PTHREAD_CANCELED;
  }

 private:
  std::function<void()> work_;
  pthread_t thread_{};
};

/// Reads what is there, and to the end once the other end is closed, without the code under test.
std::string drain(int fd) {
  ::fcntl(fd, F_SETFL, O_NONBLOCK);
  std::string text;
  std::array<char, 4'096> part;
  for (ssize_t n = 0; (n = ::read(fd, part.data(), part.size())) > 0;) {
    text.append(part.data(), static_cast<std::size_t>(n));
  }
  return text;
}

std::string text_of(const buffer& b) {
  return std::string(b.view());
}
std::string text_of(const chain& c) {
  return text_of(c.flatten());
}

struct fixture {
  checking_resource memory;
};

/// Writes 500 kB, cancelled by `cancel` when not all of it can have gone, and demands that each byte either
/// went or is still there.
template <class Source>
void check_cancelled_write(ends::kind kind, const std::function<void(cancellable&)>& cancel) {
  checking_resource memory;
  ends e(kind);
  const std::string text = letters(500'000);
  Source source(&memory);
  source.append(text);
  cancellable writer([&] { source.write_to(e.fd[1]); });
  cancel(writer);
  BOOST_TEST(writer.join());
  BOOST_TEST(source.check_invariants());
  BOOST_TEST((drain(e.fd[0]) + text_of(source) == text));
}

void check_cancelled_read() {
  checking_resource memory;
  for (const ends::kind kind : kinds) {
    for (const bool in_the_call : {false, true}) {
      ends e(kind);
      buffer b(&memory);
      b.append("before ");
      const std::string text = letters(3'000);
      BOOST_REQUIRE(::write(e.fd[1], text.data(), text.size()) == 3'000);
      cancelled_after_next_call = in_the_call;
      cancellable reader([&] { b.read_from(e.fd[0]); });
      if (!in_the_call) reader.cancel();
      BOOST_TEST(reader.join());
      BOOST_TEST(b.check_invariants());
      BOOST_TEST((text_of(b) + drain(e.fd[0]) == "before " + text));
    }
  }
}

void check_closed_peer() {
  checking_resource memory;
  static std::atomic<int> signals;
  signals = 0;
  struct sigaction count {};
  struct sigaction before {};
  count.sa_handler = [](int) { ++signals; };
  ::sigaction(SIGPIPE, &count, &before);
  for (const ends::kind kind : kinds) {
    ends e(kind);
    e.close(0);
    buffer b("text", &memory);
    chain c(&memory);
    c.append("text");
    std::error_code error;
    BOOST_TEST(b.write_to(e.fd[1], error) == 0U);
    BOOST_TEST((error == std::errc::broken_pipe));
    BOOST_TEST(c.write_to(e.fd[1], error) == 0U);
    BOOST_TEST((error == std::errc::broken_pipe));
    BOOST_CHECK_THROW(b.write_to(e.fd[1]), std::system_error);
    BOOST_CHECK_THROW(c.write_to(e.fd[1]), std::system_error);
    BOOST_TEST(b.view() == "text");
    BOOST_TEST(c.size() == 4U);
  }
  BOOST_TEST(signals == 0);
  ::raise(SIGPIPE);  // not blocked any more, and nothing else is
  BOOST_TEST(signals == 1);
  ::sigaction(SIGPIPE, &before, nullptr);
}

void check_foreign_sigpipe() {
  checking_resource memory;
  sigset_t sigpipe;
  sigset_t before;
  sigemptyset(&sigpipe);
  sigaddset(&sigpipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &sigpipe, &before);
  const auto is_pending = [] {
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGPIPE) == 1;
  };
  for (const ends::kind kind : kinds) {
    for (const bool pending : {false, true}) {
      ends e(kind);
      e.close(0);
      if (pending) ::raise(SIGPIPE);
      buffer b("text", &memory);
      std::error_code error;
      b.write_to(e.fd[1], error);
      BOOST_TEST((error == std::errc::broken_pipe));
      BOOST_TEST(is_pending() == pending);
      sigset_t now;
      ::pthread_sigmask(SIG_BLOCK, nullptr, &now);
      BOOST_TEST(sigismember(&now, SIGPIPE) == 1);
      const timespec at_once{};
      ::sigtimedwait(&sigpipe, nullptr, &at_once);
    }
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(descriptors, fixture)

// --- cancelled threads ---

BOOST_AUTO_TEST_CASE(a_cancelled_write_repeats_and_loses_nothing) {
  for (const ends::kind kind : kinds) {
    for (int yields = 0; yields < 10; ++yields) {
      const auto cancel = [&](cancellable& writer) {
        for (int i = 0; i < yields * 20; ++i)
          ::sched_yield();  // at many moments; most find the writer waiting
        writer.cancel();
      };
      check_cancelled_write<buffer>(kind, cancel);
      check_cancelled_write<chain>(kind, cancel);
    }
    const auto in_the_call = [](cancellable&) {};
    cancelled_after_next_call = true;
    check_cancelled_write<buffer>(kind, in_the_call);
    cancelled_after_next_call = true;
    check_cancelled_write<chain>(kind, in_the_call);
  }
}

BOOST_AUTO_TEST_CASE(a_cancelled_read_loses_nothing) {
  check_cancelled_read();
}

BOOST_AUTO_TEST_CASE(a_request_from_before_ends_the_thread_before_a_byte_goes) {
  for (const ends::kind kind : kinds) {
    ends e(kind);
    buffer b("text", &memory);
    cancellable writer([&] {
      ::pthread_cancel(::pthread_self());
      b.write_to(e.fd[1]);
    });
    BOOST_TEST(writer.join());
    BOOST_TEST(b.view() == "text");
    BOOST_TEST(drain(e.fd[0]).empty());
  }
}

BOOST_AUTO_TEST_CASE(a_stream_that_is_written_to_is_counted_first) {
  ends e(ends::kind::pipe);
  struct sink : std::streambuf {
    explicit sink(int to) : fd(to) {}
    int_type overflow(int_type) override { return traits_type::eof(); }
    std::streamsize xsputn(const char* text, std::streamsize n) override {
      return ::write(fd, text, static_cast<std::size_t>(n));
    }
    int fd;
  };
  sink to(e.fd[1]);
  std::ostream out(&to);
  buffer b("text", &memory);
  cancelled_after_next_call = true;
  cancellable writer([&] {
    b.write_to(out);
    ::pthread_testcancel();
  });
  BOOST_TEST(writer.join());
  BOOST_TEST(text_of(b) + drain(e.fd[0]) == "text");
}

// Callables are the user's: whatever ends the thread in one passes through.
BOOST_AUTO_TEST_CASE(a_thread_may_end_in_a_callable) {
  buffer b("text", &memory);
  cancellable reader(
      [&] { b.read_from([](std::span<std::byte>) -> std::size_t { ::pthread_exit(PTHREAD_CANCELED); }); });
  BOOST_TEST(reader.join());
  cancellable writer([&] {
    b.write_to([](std::span<const std::byte>) -> std::size_t { ::pthread_exit(PTHREAD_CANCELED); });
  });
  BOOST_TEST(writer.join());
  BOOST_TEST(b.view() == "text");
  BOOST_TEST(b.check_invariants());
}

// --- descriptors that don't wait, or not for ever ---

BOOST_AUTO_TEST_CASE(limits_on_waiting_are_kept) {
  ends e(ends::kind::socket);
  const timeval limit{0, 1'000};
  ::setsockopt(e.fd[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(e.fd[1], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  buffer b(&memory);
  std::error_code error;
  BOOST_TEST(b.read_from(e.fd[0], error) == 0U);
  BOOST_TEST((error == std::errc::resource_unavailable_try_again));
  b.append(letters(500'000));
  const std::size_t written = b.write_to(e.fd[1], error);
  BOOST_TEST((error == std::errc::resource_unavailable_try_again));
  BOOST_TEST((drain(e.fd[0]) == letters(500'000).substr(0, written)));
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_an_error_and_the_rest_is_kept) {
  const int full = ::open("/dev/full", O_WRONLY);
  BOOST_REQUIRE(full >= 0);
  buffer b("text", &memory);
  chain c(&memory);
  c.append("text");
  std::error_code error;
  BOOST_TEST(b.write_to(full, error) == 0U);
  BOOST_TEST((error == std::errc::no_space_on_device));
  BOOST_TEST(c.write_to(full, error) == 0U);
  BOOST_TEST((error == std::errc::no_space_on_device));
  BOOST_TEST(b.view() == "text");
  BOOST_TEST(c.size() == 4U);
  ::close(full);
}

namespace {

/// A file that takes so many bytes more, as long as it is there.
class bounded_file {
 public:
  explicit bounded_file(std::size_t room_bytes) {
    char path[] = "/tmp/cistern_descriptor_XXXXXX";
    number_ = ::mkstemp(path);
    require(number_ >= 0 && ::unlink(path) == 0, "a file");
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{room_bytes, before_.rlim_max};
    require(::setrlimit(RLIMIT_FSIZE, &limit) == 0, "a limit");
  }
  bounded_file(const bounded_file&) = delete;
  ~bounded_file() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::close(number_);
  }
  [[nodiscard]] int number() const { return number_; }
  [[nodiscard]] std::string text() const {
    std::string all(1'000, '\0');
    const ssize_t count = ::pread(number_, all.data(), all.size(), 0);
    return all.substr(0, static_cast<std::size_t>(count));
  }

 private:
  int number_ = -1;
  rlimit before_{};
};

template <class Source>
void check_bounded_file(std::size_t room_bytes) {
  const std::string text = letters(10);
  Source source;
  source.append(text.substr(0, 4));
  source.append(text.substr(4));
  std::error_code first;
  std::error_code second;
  std::string in_file;
  std::size_t written = 0;
  std::size_t written_then = 0;
  {
    const bounded_file file(room_bytes);
    written = source.write_to(file.number(), first);
    written_then = source.write_to(file.number(), second);
    in_file = file.text();
  }
  const std::size_t expected = std::min(room_bytes, text.size());
  BOOST_TEST(written == expected);
  BOOST_TEST(written_then == 0U);
  BOOST_TEST((first == std::errc::file_too_large) == (expected < text.size()));
  BOOST_TEST((second == std::errc::file_too_large) == (expected < text.size()));
  BOOST_TEST(in_file == text.substr(0, expected));
  BOOST_TEST(text_of(source) == text.substr(expected));
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_file_that_may_not_grow_is_an_error_and_no_signal) {
  static std::atomic<int> signals;
  struct sigaction count {};
  struct sigaction before {};
  count.sa_handler = [](int) { ++signals; };
  ::sigaction(SIGXFSZ, &count, &before);
  signals = 0;
  for (std::size_t room = 0; room <= 11; ++room) {
    check_bounded_file<buffer>(room);
    check_bounded_file<chain>(room);
  }
  BOOST_TEST(signals == 0);
  ::raise(SIGXFSZ);  // not blocked any more
  BOOST_TEST(signals == 1);
  ::sigaction(SIGXFSZ, &before, nullptr);
}

// --- broken peers ---

BOOST_AUTO_TEST_CASE(a_closed_peer_is_an_error_and_no_signal) {
  check_closed_peer();
}

BOOST_AUTO_TEST_CASE(a_peer_that_goes_while_a_writer_waits) {
  for (const ends::kind kind : kinds) {
    ends e(kind);
    buffer b(&memory);
    b.append(letters(500'000));
    std::error_code error;
    cancellable writer([&] { b.write_to(e.fd[1], error); });
    for (int i = 0; i < 100; ++i) ::sched_yield();
    e.close(0);
    BOOST_TEST(!writer.join());
    BOOST_TEST((error == std::errc::broken_pipe));
  }
}

// Who blocks SIGPIPE finds pending afterwards what was pending before, no more and no less.
BOOST_AUTO_TEST_CASE(a_sigpipe_of_somebody_else_is_left_alone) {
  check_foreign_sigpipe();
}

// --- what it costs who doesn't wait: system calls, counted ---

BOOST_AUTO_TEST_CASE(ordinary_calls_are_counted) {
  const auto counted = [](const std::function<void()>& work, int expected_moving, int expected_others) {
    calls_to_move_bytes = other_calls = 0;
    work();
    const int moving = calls_to_move_bytes;
    const int others = other_calls;
    BOOST_TEST(moving == expected_moving);
    BOOST_TEST(others == expected_others);
  };
  buffer b(letters(50'000), &memory);
  chain c(&memory);
  c.append(letters(50'000));  // 13 blocks
  ends socket(ends::kind::socket);
  counted([&] { b.write_to(socket.fd[1]); }, 1, 0);  // as with `write` before
  counted([&] { c.write_to(socket.fd[1]); }, 1, 0);
  b.reserve_more(200'000);
  socket.close(1);
  counted([&] { b.read_from(socket.fd[0]); }, 2, 0);  // what there is, and the end
  b.clear();
  b.append(letters(50'000));
  ends pipe(ends::kind::pipe);
  b.write_to(pipe.fd[1]);  // finds out what the kernel can do
  drain(pipe.fd[0]);
  b.append(letters(50'000));
  calls_to_move_bytes = other_calls = 0;
  b.write_to(pipe.fd[1]);
  BOOST_TEST(calls_to_move_bytes == 2);  // for each write_to: no socket; the bytes,
  BOOST_TEST(
      (other_calls == 1 || other_calls == 3));  // what then, and before Linux 6.18 the mask, there and back
  drain(pipe.fd[0]);
  char path[] = "/tmp/cistern_descriptor_XXXXXX";
  const int file = ::mkstemp(path);
  ::unlink(path);
  b.append(letters(50'000));
  counted([&] { b.write_to(file); }, 2, sanitized ? 1 : 2);  // what it is, and whether its size is limited
  ::close(file);
}

// The last, as what the kernel can't do is remembered.
BOOST_AUTO_TEST_CASE(kernels_without_the_newer_flags) {
  for (const int without : {0x100, 0x100 | RWF_NOWAIT}) {  // RWF_NOSIGNAL came later
    refused_flags = without;
    check_closed_peer();
    check_foreign_sigpipe();
    check_cancelled_read();
    ends pipe(ends::kind::pipe);
    const std::string text = letters(500'000);
    cancellable writer([&] {
      chain c;
      c.append(text);
      c.write_to(pipe.fd[1]);
      pipe.close(1);
    });
    buffer b(&memory);
    BOOST_TEST(b.read_from(pipe.fd[0]) == text.size());
    BOOST_TEST(!writer.join());
    BOOST_TEST((b.view() == text));
  }
  refused_flags = 0;
}

BOOST_AUTO_TEST_SUITE_END()
