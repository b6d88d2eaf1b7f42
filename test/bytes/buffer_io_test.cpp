// Input and output of cistern::buffer: streams, POSIX file descriptors and callables, and their failures.
#include <cistern/buffer.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/texts.hpp"
#include "../support/threads.hpp"
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

using cistern::buffer;
using cistern::test_support::letters;
using cistern::testing::checking_resource;

namespace {

/// Both ends of a pipe; each can be closed early.
struct pipe_ends {
  pipe_ends() { BOOST_REQUIRE(::pipe(ends) == 0); }
  ~pipe_ends() { close_read(), close_write(); }
  void close_read() { close(ends[0]); }
  void close_write() { close(ends[1]); }
  static void close(int& end) {
    if (end >= 0) ::close(end);
    end = -1;
  }
  int ends[2];
};

/// Two connected sockets.
struct socket_ends {
  socket_ends() { BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0); }
  ~socket_ends() { ::close(ends[0]), ::close(ends[1]); }
  int ends[2];
};

/// A file that holds `text` and is read from its start.
struct temporary_file {
  explicit temporary_file(const std::string& text) : descriptor(::mkstemp(path)) {
    BOOST_REQUIRE(descriptor >= 0);
    ::unlink(path);
    BOOST_REQUIRE(::write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    ::lseek(descriptor, 0, SEEK_SET);
  }
  ~temporary_file() { ::close(descriptor); }
  char path[28] = "/tmp/cistern_buffer_XXXXXX";
  int descriptor;
};

/// Hands out `text` in pieces and counts the calls.
struct pieces {
  std::string text;
  std::size_t piece_bytes = SIZE_MAX;
  std::size_t smallest_room = SIZE_MAX;
  std::size_t calls = 0;

  std::size_t operator()(std::span<std::byte> room) {
    ++calls;
    smallest_room = std::min(smallest_room, room.size());
    const std::size_t n = text.copy(reinterpret_cast<char*>(room.data()), std::min(piece_bytes, room.size()));
    text.erase(0, n);
    return n;
  }
};

/// A stream buffer that takes a number of characters and no more.
class limited_sink : public std::streambuf {
 public:
  explicit limited_sink(std::size_t room_bytes) : room_bytes_(room_bytes) {}
  std::string taken;
  std::size_t calls = 0;

 protected:
  std::streamsize xsputn(const char* text, std::streamsize n) override {
    ++calls;
    const std::size_t fits = std::min(static_cast<std::size_t>(n), room_bytes_ - taken.size());
    taken.append(text, fits);
    return static_cast<std::streamsize>(fits);
  }

 private:
  std::size_t room_bytes_;
};

struct fixture {
  checking_resource memory;
  buffer b{&memory};
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(input_and_output, fixture)

// --- callables ---

BOOST_AUTO_TEST_CASE(reading_takes_everything_and_counts_it) {
  for (const std::size_t total : {0U, 1U, 511U, 512U, 513U, 100'000U}) {
    for (const std::size_t piece : {1'000U, 7U, 100'000U}) {
      buffer fresh("x", &memory);
      pieces source{letters(total), piece};
      BOOST_TEST(fresh.read_from(source) == total);
      BOOST_TEST((fresh.view() == "x" + letters(total)));
      BOOST_TEST(source.smallest_room >= 512U);
    }
  }
}

BOOST_AUTO_TEST_CASE(each_read_may_use_the_whole_tail) {
  b.reserve_more(100'000);
  const std::size_t capacity = b.capacity();
  pieces source{letters(100'000)};
  BOOST_TEST(b.read_from(source) == 100'000U);
  BOOST_TEST(source.calls == 2U);  // all of it, and the end
  BOOST_TEST(b.capacity() == capacity);
}

BOOST_AUTO_TEST_CASE(input_that_ends_at_capacity_does_not_grow_the_buffer) {
  for (const std::size_t left : {0U, 1U, 100U, 511U}) {  // Go doubles here
    buffer filled(letters(4'096 - left), &memory);
    filled.reserve_more(left);
    BOOST_TEST(filled.capacity() == 4'096U);
    BOOST_TEST(filled.read_from([](std::span<std::byte>) { return std::size_t{0}; }) == 0U);
    BOOST_TEST(filled.capacity() == 4'096U);
    BOOST_TEST(memory.outstanding_blocks() == 1U);
  }
  buffer exact(&memory);
  exact.reserve_more(4'096);
  exact.read_from(pieces{letters(4'096)});
  BOOST_TEST(exact.capacity() == 4'096U);
}

BOOST_AUTO_TEST_CASE(reading_nothing_allocates_nothing_that_stays) {
  BOOST_TEST(b.read_from(pieces{}) == 0U);
  BOOST_TEST(b.capacity() == 0U);
  BOOST_TEST(memory.outstanding_blocks() == 0U);
}

BOOST_AUTO_TEST_CASE(what_a_reader_throws_passes_through_and_loses_nothing) {
  pieces source{letters(5'000), 1'000};
  const auto failing = [&](std::span<std::byte> room) {
    if (source.calls == 3) throw std::runtime_error("broken");
    return source(room);
  };
  BOOST_CHECK_THROW(b.read_from(failing), std::runtime_error);
  const std::size_t taken = 5'000 - source.text.size();
  BOOST_TEST(taken > 1'000U);
  BOOST_TEST(b.view() == letters(5'000).substr(0, taken));
  const std::size_t capacity = b.capacity();
  BOOST_CHECK_THROW(b.read_from([](std::span<std::byte> room) { return room.size() + 1; }), std::logic_error);
  BOOST_TEST(b.size() == taken);
  BOOST_TEST(b.capacity() == capacity);
}

BOOST_AUTO_TEST_CASE(reading_stops_at_max_size_and_keeps_what_fits) {
  b.max_size(1'000);
  pieces source{letters(5'000), 300};
  BOOST_CHECK_THROW(b.read_from(source), std::length_error);
  BOOST_TEST(b.view() == letters(5'000).substr(0, 1'000));
  BOOST_TEST(source.text.size() == 4'000U);  // the rest is still there
}

BOOST_AUTO_TEST_CASE(reading_slides_before_it_grows) {
  b.append(letters(8'192));
  b.consume(8'000);
  const std::size_t capacity = b.capacity();
  b.read_from(pieces{letters(4'000)});
  BOOST_TEST(b.capacity() == capacity);
  BOOST_TEST(b.view() == letters(8'192).substr(8'000) + letters(4'000));
}

BOOST_AUTO_TEST_CASE(writing_is_one_call_and_a_short_write_keeps_the_rest) {
  b.append("0123456789");
  std::size_t calls = 0;
  BOOST_TEST(b.write_to([&](std::span<const std::byte> bytes) { return ++calls, bytes.size(); }) == 10U);
  BOOST_TEST(calls == 1U);
  BOOST_TEST(b.empty());
  BOOST_TEST(b.write_to([&](std::span<const std::byte> bytes) { return ++calls, bytes.size(); }) == 0U);
  BOOST_TEST(calls == 1U);  // nothing to write: no call
  b.append("0123456789");
  BOOST_CHECK_THROW(b.write_to([](std::span<const std::byte>) { return std::size_t{4}; }), std::system_error);
  BOOST_TEST(b.view() == "456789");
  BOOST_CHECK_THROW(
      b.write_to([](std::span<const std::byte>) -> std::size_t { throw std::runtime_error("x"); }),
      std::runtime_error);
  BOOST_CHECK_THROW(b.write_to([](std::span<const std::byte> bytes) { return bytes.size() + 1; }),
                    std::logic_error);
  BOOST_TEST(b.view() == "456789");
}

// A callable that uses the buffer it was called by: reading is fine where it reads into, appending where it
// writes from; the rest is refused before anything is taken twice or overwritten.
BOOST_AUTO_TEST_CASE(callables_that_use_the_buffer_meanwhile) {
  for (const std::size_t room : {0U, 4'000U}) {  // in a larger block, in the buffer's own
    b.reset();
    b.append("before");
    b.reserve_more(room);
    pieces source{letters(2'000)};
    std::size_t calls = 0;
    const auto reads = [&](std::span<std::byte> space) {
      if (++calls == 1) b.consume(3);
      return source(space);
    };
    BOOST_TEST(b.read_from(reads) == 2'000U);
    BOOST_TEST((b.view() == "ore" + letters(2'000)));
    b.reset();
    b.append("before");
    b.reserve_more(room);
    BOOST_CHECK_THROW(b.read_from([&](std::span<std::byte>) { return b.append("x"), std::size_t{1}; }),
                      std::logic_error);
    BOOST_TEST(b.view() == "beforex");
    BOOST_TEST(b.check_invariants());
  }
  b.reset();
  b.append("before");
  b.reserve_more(4'000);
  const auto prepares = [&](std::span<std::byte> space) {
    b.append("x");
    (void)b.prepare(space.size());  // as much as is claimed for the callable, elsewhere
    return std::size_t{1};
  };
  BOOST_CHECK_THROW(b.read_from(prepares), std::logic_error);
  BOOST_TEST(b.view() == "beforex");
  buffer other;
  other.append("other");
  other.reserve_more(8'000);
  const auto swaps = [&](std::span<std::byte>) {
    (void)other.prepare(8'000);
    swap(b, other);
    return std::size_t{1};
  };
  BOOST_CHECK_THROW(b.read_from(swaps), std::logic_error);
  BOOST_TEST(b.view() == "other");
  BOOST_TEST(other.view() == "beforex");
  BOOST_TEST((b.check_invariants() && other.check_invariants()));
  b.clear();
  b.append("0123456789");
  BOOST_TEST(b.write_to([&](std::span<const std::byte> bytes) {
    b.append(letters(10'000));
    return bytes.size();
  }) == 10U);
  BOOST_TEST((b.view() == letters(10'000)));
  BOOST_CHECK_THROW(b.write_to([&](std::span<const std::byte> bytes) { return b.consume(1), bytes.size(); }),
                    std::logic_error);
  BOOST_TEST(b.size() == 9'999U);
}

// --- streams ---

/// A stream buffer whose source breaks after its first characters.
class breaking_source : public std::streambuf {
 public:
  breaking_source() { setg(text_, text_, text_ + 5); }

 protected:
  int_type underflow() override { throw std::runtime_error("broken"); }

 private:
  char text_[6] = "hello";
};

BOOST_AUTO_TEST_CASE(what_a_stream_gave_before_it_threw_is_kept) {
  breaking_source source;
  std::istream in(&source);
  BOOST_CHECK_THROW(b.read_from(in), std::runtime_error);
  BOOST_TEST(b.view() == "hello");
}

BOOST_AUTO_TEST_CASE(a_stream_is_read_to_its_end) {
  std::istringstream in(letters(100'000));
  BOOST_TEST(b.read_from(in) == 100'000U);
  BOOST_TEST((b.view() == letters(100'000)));
  BOOST_TEST(in.eof());
  BOOST_TEST(!in.fail());
  BOOST_TEST(b.read_from(in) == 0U);  // at its end: no error
}

BOOST_AUTO_TEST_CASE(a_stream_that_ends_at_capacity_or_at_max_size) {
  b.reserve_more(4'096);
  b.max_size(4'096);
  std::istringstream in(letters(4'096));
  const auto allocations = memory.allocations();
  BOOST_TEST(b.read_from(in) == 4'096U);  // a stream can tell that nothing follows
  BOOST_TEST(memory.allocations() == allocations);
  std::istringstream more("x");
  BOOST_CHECK_THROW(b.read_from(more), std::length_error);
  BOOST_TEST(more.get() == 'x');
}

BOOST_AUTO_TEST_CASE(a_bad_stream_is_a_system_error_or_an_error_code) {
  std::istringstream in("text");
  in.setstate(std::ios_base::badbit);
  BOOST_CHECK_THROW(b.read_from(in), std::system_error);
  std::error_code error;
  BOOST_TEST(b.read_from(in, error) == 0U);
  BOOST_TEST((error == std::errc::io_error));
  std::istringstream good("text");
  b.read_from(good, error);
  BOOST_TEST(!error);
  BOOST_TEST(b.view() == "text");
}

BOOST_AUTO_TEST_CASE(writing_to_a_stream) {
  b.append(letters(10'000));
  b.consume(5);
  std::ostringstream out;
  BOOST_TEST(b.write_to(out) == 9'995U);
  BOOST_TEST((out.str() == letters(10'000).substr(5)));
  BOOST_TEST(b.empty());
}

BOOST_AUTO_TEST_CASE(a_short_write_to_a_stream_is_an_error_and_the_rest_is_kept) {
  limited_sink sink(4);
  std::ostream out(&sink);
  b.append("0123456789");
  BOOST_CHECK_THROW(b.write_to(out), std::system_error);
  BOOST_TEST(sink.taken == "0123");
  BOOST_TEST(sink.calls == 1U);
  BOOST_TEST(b.view() == "456789");
  BOOST_TEST(out.bad());
  std::error_code error;
  BOOST_TEST(b.write_to(out, error) == 0U);
  BOOST_TEST((error == std::errc::io_error));
  BOOST_TEST(b.view() == "456789");
}

// --- file descriptors ---

BOOST_AUTO_TEST_CASE(files_there_and_back) {
  char path[] = "/tmp/cistern_buffer_XXXXXX";
  const int file = ::mkstemp(path);
  BOOST_REQUIRE(file >= 0);
  b.append(letters(300'000));
  BOOST_TEST(b.write_to(file) == 300'000U);
  BOOST_TEST(b.empty());
  ::lseek(file, 0, SEEK_SET);
  BOOST_TEST(b.read_from(file) == 300'000U);
  BOOST_TEST((b.view() == letters(300'000)));
  ::close(file);
  ::unlink(path);
}

// Go's ReadFrom doubles a buffer whose input ends exactly at its capacity. Sockets, files and streams are
// asked whether they have ended before anything is allocated; callables and pipes can't be asked, so a larger
// block is held ready for them and given back: from a pool that had one before, without a call to upstream.
BOOST_AUTO_TEST_CASE(go_quirk_read_from_that_ends_exactly_at_capacity) {
  const std::string text = letters(4'096);
  temporary_file file(text);
  socket_ends sockets;
  pipe_ends pipe;
  BOOST_REQUIRE(::write(sockets.ends[1], text.data(), text.size()) == 4'096);
  BOOST_REQUIRE(::write(pipe.ends[1], text.data(), text.size()) == 4'096);
  ::shutdown(sockets.ends[1], SHUT_WR);
  pipe.close_write();
  std::istringstream stream(text);
  using read_all = std::function<std::size_t(buffer&)>;
  const read_all asked[] = {[&](buffer& in) { return in.read_from(file.descriptor); },
                            [&](buffer& in) { return in.read_from(sockets.ends[0]); },
                            [&](buffer& in) { return in.read_from(stream); }};
  const read_all not_asked[] = {[&](buffer& in) { return in.read_from(pipe.ends[0]); },
                                [&](buffer& in) { return in.read_from(pieces{text}); }};
  const auto reads_all_in_place = [&](std::pmr::memory_resource* resource, const read_all& read) {
    buffer exact(resource);
    exact.reserve_more(4'096);
    const auto allocations = memory.allocations();
    BOOST_TEST(read(exact) == 4'096U);
    BOOST_TEST(exact.capacity() == 4'096U);
    BOOST_TEST((exact.view() == text));
    BOOST_TEST(memory.allocations() == allocations);
  };
  for (const read_all& read : asked) {
    reads_all_in_place(&memory, read);
  }
  cistern::unsynchronized_pool_resource pool(&memory);
  pool.deallocate(pool.allocate(8'192), 8'192);
  for (const read_all& read : not_asked) {
    reads_all_in_place(&pool, read);
  }
}

BOOST_AUTO_TEST_CASE(input_that_ends_exactly_at_max_size_is_no_error_where_its_end_shows) {
  temporary_file file(letters(1'000));
  b.max_size(1'000);
  BOOST_TEST(b.read_from(file.descriptor) == 1'000U);
  BOOST_TEST(b.read_from(file.descriptor) == 0U);
  ::lseek(file.descriptor, 999, SEEK_SET);
  BOOST_CHECK_THROW(b.read_from(file.descriptor), std::length_error);
  BOOST_TEST(::lseek(file.descriptor, 0, SEEK_CUR) == 999);  // the byte is still in the file
  BOOST_TEST((b.view() == letters(1'000)));
}

BOOST_AUTO_TEST_CASE(partial_writes_to_a_pipe_are_continued) {
  pipe_ends pipe;
  const std::string text = letters(1'000'000);  // more than a pipe holds
  std::string got;
  std::thread reader([&] {
    buffer in(nullptr);
    in.read_from(pipe.ends[0]);
    got = in.view();
  });
  b.append(text);
  BOOST_TEST(b.write_to(pipe.ends[1]) == text.size());
  pipe.close_write();
  reader.join();
  BOOST_TEST((got == text));
}

BOOST_AUTO_TEST_CASE(descriptor_errors_carry_their_code) {
  b.append("text");
  std::error_code error;
  BOOST_TEST(b.write_to(-1, error) == 0U);
  BOOST_TEST((error == std::errc::bad_file_descriptor));
  BOOST_TEST(b.read_from(-1, error) == 0U);
  BOOST_TEST((error == std::errc::bad_file_descriptor));
  try {
    b.write_to(-1);
    BOOST_ERROR("no exception");
  } catch (const std::system_error& thrown) {
    BOOST_TEST((thrown.code() == std::errc::bad_file_descriptor));
  }
  BOOST_CHECK_THROW(b.read_from(-1), std::system_error);
  BOOST_TEST(b.view() == "text");
}

BOOST_AUTO_TEST_CASE(what_was_transferred_before_an_error_stays_transferred) {
  pipe_ends pipe;
  ::fcntl(pipe.ends[0], F_SETFL, O_NONBLOCK);
  ::fcntl(pipe.ends[1], F_SETFL, O_NONBLOCK);
  const std::string text = letters(1'000'000);
  b.append(text);
  std::error_code error;
  const std::size_t written = b.write_to(pipe.ends[1], error);
  BOOST_TEST((error == std::errc::resource_unavailable_try_again));
  BOOST_TEST(written > 0U);
  BOOST_TEST((b.view() == text.substr(written)));
  buffer in(&memory);
  BOOST_TEST(in.read_from(pipe.ends[0], error) == written);
  BOOST_TEST((error == std::errc::resource_unavailable_try_again));
  BOOST_TEST((in.view() == text.substr(0, written)));
  BOOST_CHECK_THROW(in.read_from(pipe.ends[0]), std::system_error);
}

BOOST_AUTO_TEST_CASE(a_closed_pipe_is_an_error_not_a_signal_once_ignored) {
  struct sigaction ignore {};
  struct sigaction before {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, &before);
  pipe_ends pipe;
  pipe.close_read();
  b.append("text");
  std::error_code error;
  b.write_to(pipe.ends[1], error);
  BOOST_TEST((error == std::errc::broken_pipe));
  BOOST_TEST(b.view() == "text");
  ::sigaction(SIGPIPE, &before, nullptr);
}

BOOST_AUTO_TEST_CASE(interrupted_calls_are_repeated) {
  static std::atomic<int> interruptions;
  interruptions = 0;
  struct sigaction interrupt {};
  struct sigaction before {};
  interrupt.sa_handler = [](int) { ++interruptions; };  // no SA_RESTART
  ::sigaction(SIGUSR1, &interrupt, &before);
  pipe_ends in;
  pipe_ends out;
  const pthread_t self = ::pthread_self();
  std::string echoed;
  std::thread disturber([&] {
    // The main thread is blocked in read until the first byte comes, then in write until the pipe is drained;
    // signals that come outside of these calls prove nothing, so they are sent until enough have been
    // handled.
    while (interruptions < 50) ::pthread_kill(self, SIGUSR1), std::this_thread::yield();
    const char byte = 'x';
    cistern::test_support::require(::write(in.ends[1], &byte, 1) == 1, "one byte is written");
    in.close_write();
    while (interruptions < 100) ::pthread_kill(self, SIGUSR1), std::this_thread::yield();
    buffer drained(nullptr);
    drained.read_from(out.ends[0]);
    echoed = drained.view();
  });
  BOOST_TEST(b.read_from(in.ends[0]) == 1U);
  const std::string text = letters(500'000);
  b.append(text);
  BOOST_TEST(b.write_to(out.ends[1]) == text.size() + 1);
  out.close_write();
  disturber.join();
  BOOST_TEST((echoed == "x" + text));
  ::sigaction(SIGUSR1, &before, nullptr);
}

BOOST_AUTO_TEST_SUITE_END()
