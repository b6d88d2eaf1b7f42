// buffer_bench: cistern::buffer beside the growable buffers people use, on the same work, interleaved.
#include <cistern/buffer.hpp>
#include <cistern/buffer_fmt.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <memory_resource>
#include <ostream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/streambuf.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <fmt/format.h>

#include "support/contest.hpp"
#include "support/contest_program.hpp"
#include "support/keep.hpp"
#include "support/measure.hpp"
#include "support/table.hpp"
#include <sys/socket.h>
#include <unistd.h>

namespace {

using perf::contest;
using perf::contest_result;
using std::string_view;
using resource = std::pmr::memory_resource;
template <class T>
using pmr_allocator = std::pmr::polymorphic_allocator<T>;

// --- the contestants, each with the fastest way it has to do each thing ---

struct cistern_buffer {
  static constexpr string_view name = "cistern::buffer";
  explicit cistern_buffer(resource* memory) : b(memory) {}
  void append(string_view text) { b.append(text); }
  void push_back(char c) { b.push_back(c); }
  char read_one() { return *b.read_byte(); }
  string_view read_line() { return b.read_until('\n').view; }
  template <class... Arguments>
  void format(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
    cistern::fmt_print(b, text, std::forward<Arguments>(arguments)...);
  }
  [[nodiscard]] const void* data() const { return b.view().data(); }
  [[nodiscard]] std::size_t size() const { return b.size(); }
  cistern::buffer b;
};

/// What has no read position of its own gets one kept by hand for reading lines: more than it offers.
struct pmr_string {
  static constexpr string_view name = "std::pmr::string";
  explicit pmr_string(resource* memory) : b(memory) {}
  void append(string_view text) { b.append(text); }
  void push_back(char c) { b.push_back(c); }
  char read_one() {
    const char c = b.front();
    b.erase(0, 1);
    return c;
  }
  string_view read_line() {
    const std::size_t end = std::min(b.find('\n', position), b.size() - 1) + 1;
    const std::size_t begin = std::exchange(position, end);
    return string_view(b).substr(begin, end - begin);
  }
  template <class... Arguments>
  void format(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
    fmt::format_to(std::back_inserter(b), text, std::forward<Arguments>(arguments)...);
  }
  [[nodiscard]] const void* data() const { return b.data(); }
  [[nodiscard]] std::size_t size() const { return b.size(); }
  std::pmr::string b;
  std::size_t position = 0;
};

string_view line_in(const char* begin, const char* end) {
  const void* const found =
      begin == end ? nullptr : std::memchr(begin, '\n', static_cast<std::size_t>(end - begin));
  const char* const stop = found != nullptr ? static_cast<const char*>(found) + 1 : end;
  return {begin, static_cast<std::size_t>(stop - begin)};
}

struct pmr_vector {
  static constexpr string_view name = "std::pmr::vector<char>";
  explicit pmr_vector(resource* memory) : b(memory) {}
  void append(string_view text) { b.insert(b.end(), text.begin(), text.end()); }
  void push_back(char c) { b.push_back(c); }
  char read_one() {
    const char c = b.front();
    b.erase(b.begin());
    return c;
  }
  string_view read_line() {
    const string_view line = line_in(b.data() + position, b.data() + b.size());
    position += line.size();
    return line;
  }
  template <class... Arguments>
  void format(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
    fmt::format_to(std::back_inserter(b), text, std::forward<Arguments>(arguments)...);
  }
  [[nodiscard]] const void* data() const { return b.data(); }
  [[nodiscard]] std::size_t size() const { return b.size(); }
  std::pmr::vector<char> b;
  std::size_t position = 0;
};

struct fmt_buffer {
  static constexpr string_view name = "fmt::memory_buffer";
  explicit fmt_buffer(resource* memory) : b(memory) {}
  void append(string_view text) { b.append(text.data(), text.data() + text.size()); }
  void push_back(char c) { b.push_back(c); }
  string_view read_line() {
    const string_view line = line_in(b.data() + position, b.data() + b.size());
    position += line.size();
    return line;
  }
  template <class... Arguments>
  void format(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
    fmt::format_to(fmt::appender(b), text, std::forward<Arguments>(arguments)...);
  }
  [[nodiscard]] const void* data() const { return b.data(); }
  [[nodiscard]] std::size_t size() const { return b.size(); }
  fmt::basic_memory_buffer<char, fmt::inline_buffer_size, pmr_allocator<char>> b;
  std::size_t position = 0;
};

struct beast_buffer {
  static constexpr string_view name = "beast::flat_buffer";
  explicit beast_buffer(resource* memory) : b(pmr_allocator<char>(memory)) {}
  void append(string_view text) {
    std::memcpy(b.prepare(text.size()).data(), text.data(), text.size());
    b.commit(text.size());
  }
  void push_back(char c) {
    *static_cast<char*>(b.prepare(1).data()) = c;
    b.commit(1);
  }
  char read_one() {
    const char c = *static_cast<const char*>(b.data().data());
    b.consume(1);
    return c;
  }
  string_view read_line() {
    const auto* const begin = static_cast<const char*>(b.data().data());
    const string_view line = line_in(begin, begin + b.size());
    b.consume(line.size());
    return line;
  }
  template <class... Arguments>
  void format(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
    constexpr std::size_t guess = 128;  // enough for what is formatted here
    const auto result = fmt::format_to_n(static_cast<char*>(b.prepare(guess).data()), guess, text,
                                         std::forward<Arguments>(arguments)...);
    b.commit(result.size);
  }
  [[nodiscard]] const void* data() const { return b.data().data(); }
  [[nodiscard]] std::size_t size() const { return b.size(); }
  boost::beast::basic_flat_buffer<pmr_allocator<char>> b;
};

struct asio_buffer {
  static constexpr string_view name = "asio::streambuf";
  explicit asio_buffer(resource* memory) : b(SIZE_MAX, pmr_allocator<char>(memory)) {}
  void append(string_view text) {
    std::memcpy(b.prepare(text.size()).data(), text.data(), text.size());
    b.commit(text.size());
  }
  void push_back(char c) { b.sputc(c); }
  char read_one() { return static_cast<char>(b.sbumpc()); }
  string_view read_line() {
    const auto* const begin = static_cast<const char*>(b.data().data());
    const string_view line = line_in(begin, begin + b.size());
    b.consume(line.size());
    return line;
  }
  template <class... Arguments>
  void format(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
    constexpr std::size_t guess = 128;
    const auto result = fmt::format_to_n(static_cast<char*>(b.prepare(guess).data()), guess, text,
                                         std::forward<Arguments>(arguments)...);
    b.commit(result.size);
  }
  [[nodiscard]] const void* data() const { return b.data().data(); }
  [[nodiscard]] std::size_t size() const { return b.size(); }
  boost::asio::basic_streambuf<pmr_allocator<char>> b;
};

struct string_stream {
  static constexpr string_view name = "std::ostringstream";
  explicit string_stream(resource* memory) : b(std::ios_base::out, pmr_allocator<char>(memory)) {}
  void append(string_view text) { b.write(text.data(), static_cast<std::streamsize>(text.size())); }
  void push_back(char c) { b.put(c); }
  template <class Number, class Name, class Value>
  void format(string_view, Number&& number, Name&& label, Value&& value) {
    b << number << ' ' << label << ' ' << value << '\n';
  }
  [[nodiscard]] const void* data() const { return b.view().data(); }
  [[nodiscard]] std::size_t size() const { return b.view().size(); }
  std::basic_ostringstream<char, std::char_traits<char>, pmr_allocator<char>> b;
};

// --- the work ---

using clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

/// Does the work so often; returns the time of the measured part.
template <class Work>
nanoseconds timed(std::size_t repetitions, Work work) {
  const auto start = clock::now();
  for (std::size_t i = 0; i < repetitions; ++i) work();
  return clock::now() - start;
}

resource* pool() {
  static cistern::unsynchronized_pool_resource the_pool(nullptr);
  return perf::hide(&the_pool);
}

template <class Run>
void enter_all(contest& c, Run run) {
  perf::enter<cistern_buffer, pmr_string, pmr_vector, fmt_buffer, beast_buffer, asio_buffer, string_stream>(
      c, run);
}
template <class Run>
void enter_readers(contest& c, Run run) {
  perf::enter<cistern_buffer, pmr_string, pmr_vector, beast_buffer, asio_buffer>(c, run);
}

/// 40 pieces as a message has them: names, separators, values; `scale` times their usual length.
std::vector<std::string> message_pieces(std::size_t scale) {
  constexpr std::array<std::size_t, 8> lengths{2, 9, 3, 14, 1, 22, 5, 8};
  std::vector<std::string> pieces;
  for (std::size_t i = 0; i < 40; ++i)
    pieces.emplace_back(lengths[i % 8] * scale, static_cast<char>('a' + i % 26));
  return pieces;
}

contest build_message(std::size_t scale) {
  const auto pieces = message_pieces(scale);
  std::size_t total = 0;
  for (const auto& piece : pieces) total += piece.size();
  contest c{"message/" + std::to_string(total) + "B", "create, 40 appends, destroy", 1};
  enter_all(c, [pieces]<class Buffer>(std::size_t repetitions) {
    return timed(repetitions, [&] {
      Buffer b(pool());
      for (const std::string& piece : pieces) b.append(piece);
      perf::keep(b.data());
    });
  });
  return c;
}

contest one_byte_appends() {
  constexpr std::size_t bytes = 64 * 1024;
  contest c{"one byte x 64Ki", "one append of one byte", bytes};
  enter_all(c, []<class Buffer>(std::size_t repetitions) {
    return timed(repetitions, [&] {
      Buffer b(pool());
      for (std::size_t i = 0; i < bytes; ++i) b.push_back(static_cast<char>(i));
      perf::keep(b.data());
    });
  });
  return c;
}

contest large_append() {
  contest c{"1 MiB by 4 KiB", "one append of 4 KiB", 256};
  const std::string piece(4096, 'p');
  enter_all(c, [piece]<class Buffer>(std::size_t repetitions) {
    return timed(repetitions, [&] {
      Buffer b(pool());
      for (std::size_t i = 0; i < 256; ++i) b.append(piece);
      perf::keep(b.data());
    });
  });
  return c;
}

contest near_full() {
  contest c{"near-full 1 MiB", "read one byte, write one byte", 1};
  enter_readers(c, []<class Buffer>(std::size_t repetitions) {
    Buffer b(pool());
    b.append(std::string(std::size_t{1} << 20, 'f'));
    return timed(repetitions, [&] {
      const char c1 = b.read_one();
      b.push_back(c1);
      perf::keep(&b);
    });
  });
  return c;
}

contest format_fields() {
  constexpr std::size_t records = 20;
  contest c{"format", "one record of three fields", records};
  enter_all(c, []<class Buffer>(std::size_t repetitions) {
    return timed(repetitions, [&] {
      Buffer b(pool());
      for (std::size_t i = 0; i < records; ++i)
        b.format("{} {} {}\n", i * 1001, "request.latency", static_cast<double>(i) * 1.25);
      perf::keep(b.data());
    });
  });
  return c;
}

contest read_lines() {
  constexpr std::size_t lines = 10'000;
  constexpr std::size_t texts = 16;
  contest c{"10,000 lines", "one line read", lines};
  // Up to 80 characters each, and another text each time: a branch predictor must not know them by heart.
  std::mt19937 random(1);
  std::vector<std::string> all(texts);
  for (std::string& text : all) {
    for (std::size_t i = 0; i < lines; ++i) text += std::string(random() % 80, 'l') + '\n';
  }
  const auto read_all = [all]<class Buffer>(std::size_t repetitions) {
    nanoseconds elapsed{};
    for (std::size_t i = 0; i < repetitions; ++i) {
      const std::string& text = all[i % texts];
      Buffer b(pool());
      b.append(text);
      elapsed += timed(1, [&] {
        std::size_t total = 0;
        for (std::size_t line = 0; line < lines; ++line) total += b.read_line().size();
        perf::keep_value(total);
        if (total != text.size()) throw std::logic_error("a line was lost");
      });
    }
    return elapsed;
  };
  enter_readers(c, read_all);
  enter<fmt_buffer>(c, read_all);
  return c;
}

// Echo: a message of 64 KiB arrives in a fresh buffer and leaves it again. The usual way beside ours: a
// std::vector<char> on new/delete, resized for each message.

constexpr std::size_t echo_bytes = 64 * 1024;

template <class Receive, class Send>
void echo_by_buffer(Receive receive, Send send) {
  cistern::buffer b(pool());
  receive(b.prepare(echo_bytes).data());
  b.commit(echo_bytes);
  send(b.view().data());
}
template <class Receive, class Send>
void echo_by_vector(Receive receive, Send send) {
  std::vector<char> v;
  v.resize(echo_bytes);
  receive(v.data());
  send(v.data());
}

contest echo_in_memory() {
  contest c{"echo 64 KiB, memory", "one message in and out", 1};
  const auto run = [](auto echo) {
    return [echo](std::size_t repetitions) {
      const std::string in(echo_bytes, 'e');
      std::string out(echo_bytes, '\0');
      return timed(repetitions, [&] {
        echo([&](void* to) { std::memcpy(to, in.data(), echo_bytes); },
             [&](const void* from) { std::memcpy(out.data(), from, echo_bytes); });
        perf::keep(out.data());
      });
    };
  };
  c.entries.push_back(
      {"cistern::buffer", run([](auto receive, auto send) { echo_by_buffer(receive, send); })});
  c.entries.push_back(
      {"std::vector<char> + resize", run([](auto receive, auto send) { echo_by_vector(receive, send); })});
  return c;
}

/// A pair of connected sockets that hold a whole message.
class socket_pair {
 public:
  socket_pair() {
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends_) != 0) throw std::runtime_error("no socket pair");
    for (const int end : ends_) {
      const int room = 4 * static_cast<int>(echo_bytes);
      ::setsockopt(end, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    }
  }
  ~socket_pair() {
    for (const int end : ends_) ::close(end);
  }
  socket_pair(const socket_pair&) = delete;
  socket_pair& operator=(const socket_pair&) = delete;

  void send(int end, const void* bytes) const {
    transfer([&](std::size_t done) {
      return ::write(ends_[end], static_cast<const char*>(bytes) + done, echo_bytes - done);
    });
  }
  void receive(int end, void* bytes) const {
    transfer([&](std::size_t done) {
      return ::read(ends_[end], static_cast<char*>(bytes) + done, echo_bytes - done);
    });
  }

 private:
  template <class Call>
  static void transfer(Call call) {
    for (std::size_t done = 0; done < echo_bytes;) {
      const ssize_t n = call(done);
      if (n <= 0) throw std::runtime_error("the socket pair failed");
      done += static_cast<std::size_t>(n);
    }
  }
  int ends_[2];
};

contest echo_by_socket() {
  contest c{"echo 64 KiB, socket", "one message in and out", 1};
  const auto run = [](auto echo) {
    return [echo](std::size_t repetitions) {
      const socket_pair sockets;
      std::string message(echo_bytes, 'e');
      return timed(repetitions, [&] {
        sockets.send(0, message.data());
        echo([&](void* to) { sockets.receive(1, to); }, [&](const void* from) { sockets.send(1, from); });
        sockets.receive(0, message.data());
      });
    };
  };
  c.entries.push_back(
      {"cistern::buffer", run([](auto receive, auto send) { echo_by_buffer(receive, send); })});
  c.entries.push_back(
      {"std::vector<char> + resize", run([](auto receive, auto send) { echo_by_vector(receive, send); })});
  return c;
}

// --- the report ---

void print(std::ostream& out, const contest_result& one) {
  perf::table rows({one.name + ": " + one.operation, "ns", "cistern::buffer is faster by"});
  double best = INFINITY;
  for (std::size_t i = 0; i < one.names.size(); ++i) {
    rows.add({one.names[i], perf::significant(perf::median(one.rounds[i])),
              i == 0 ? "" : perf::two_decimals(one.ratio(i, 0))});
    if (i != 0) best = std::min(best, one.ratio(i, 0));
  }
  rows.print(out);
  out << "against the best of them: " << perf::two_decimals(best) << "\n\n";
}

// --- the command line ---

constexpr const char* usage =
    R"(Usage: buffer_bench [options]

Runs cistern::buffer and its peers on the same work, interleaved in one process, each on the same pool where it
can take one. Prints nanoseconds per operation (the median of the rounds), and how many times faster
cistern::buffer is (the median of the ratios within each round).

  --filter TEXT  only workloads whose name contains TEXT
  --rounds N     rounds per workload, from 1 to 1000 (default 11)
  --quick        3 short rounds
  --csv FILE     write every round of every contestant
  --help         print this
)";

std::vector<contest> all_contests() {
  return {build_message(1), build_message(4), one_byte_appends(), large_append(),  near_full(),
          format_fields(),  read_lines(),     echo_in_memory(),   echo_by_socket()};
}

}  // namespace

int main(int count, char** values) {
  return perf::run_contests({"buffer_bench", usage, all_contests, print}, count, values);
}
