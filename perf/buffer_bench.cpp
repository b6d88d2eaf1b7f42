// buffer_bench: cistern::buffer beside the growable buffers people use.
#include <cistern/adaptor/statistics_adaptor.hpp>
#include <cistern/buffer.hpp>
#include <cistern/buffer_fmt.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory_resource>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>
#include <boost/asio/streambuf.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <fmt/format.h>

#include "support/benchmark_program.hpp"
#include "support/keep.hpp"
#include "support/register_each.hpp"
#include <sys/socket.h>
#include <unistd.h>

namespace {

using std::string_view;
using resource = std::pmr::memory_resource;
template <class T>
using pmr_allocator = std::pmr::polymorphic_allocator<T>;

// --- the contestants, each with the fastest way it has to do each thing ---

struct cistern_buffer {
  static constexpr string_view name = "cistern";
  explicit cistern_buffer(resource* memory) : b(memory) {}
  void append(string_view text) { b.append(text); }
  void push_back(char c) { b.push_back(c); }
  char read_one() { return *b.read_byte(); }
  string_view read_line() { return b.read_until('\n').view; }
  template <class... Arguments>
  void format(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
    cistern::fmt_print(b, text, std::forward<Arguments>(arguments)...);
  }
  [[nodiscard]] const char* data() const { return b.view().data(); }
  [[nodiscard]] std::size_t size() const { return b.size(); }
  cistern::buffer b;
};

string_view line_in(const char* begin, const char* end) {
  const void* const found =
      begin == end ? nullptr : std::memchr(begin, '\n', static_cast<std::size_t>(end - begin));
  const char* const stop = found != nullptr ? static_cast<const char*>(found) + 1 : end;
  return {begin, static_cast<std::size_t>(stop - begin)};
}

/// What has no read position of its own gets one kept by hand for reading lines: more than it offers.
template <class Container>
struct container {
  explicit container(resource* memory) : b(memory) {}
  void push_back(char c) { b.push_back(c); }
  char read_one() {
    const char c = b[0];
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
  [[nodiscard]] const char* data() const { return b.data(); }
  [[nodiscard]] std::size_t size() const { return b.size(); }
  Container b;
  std::size_t position = 0;
};

struct pmr_string : container<std::pmr::string> {
  static constexpr string_view name = "pmr-string";
  using container::container;
  void append(string_view text) { b.append(text); }
};

struct pmr_vector : container<std::pmr::vector<char>> {
  static constexpr string_view name = "pmr-vector";
  using container::container;
  void append(string_view text) { b.insert(b.end(), text.begin(), text.end()); }
};

struct fmt_buffer : container<fmt::basic_memory_buffer<char, fmt::inline_buffer_size, pmr_allocator<char>>> {
  static constexpr string_view name = "fmt-memory-buffer";
  using container::container;
  void append(string_view text) { b.append(text.data(), text.data() + text.size()); }
  template <class... Arguments>
  void format(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
    fmt::format_to(fmt::appender(b), text, std::forward<Arguments>(arguments)...);
  }
};

/// Asio's dynamic buffers: prepare, commit, consume.
template <class Buffer>
struct dynamic_buffer {
  template <class... Arguments>
  explicit dynamic_buffer(Arguments&&... arguments) : b(std::forward<Arguments>(arguments)...) {}
  void append(string_view text) {
    std::memcpy(b.prepare(text.size()).data(), text.data(), text.size());
    b.commit(text.size());
  }
  string_view read_line() {
    const string_view line = line_in(data(), data() + b.size());
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
  [[nodiscard]] const char* data() const { return static_cast<const char*>(b.data().data()); }
  [[nodiscard]] std::size_t size() const { return b.size(); }
  Buffer b;
};

struct beast_buffer : dynamic_buffer<boost::beast::basic_flat_buffer<pmr_allocator<char>>> {
  static constexpr string_view name = "beast-flat-buffer";
  explicit beast_buffer(resource* memory) : dynamic_buffer(pmr_allocator<char>(memory)) {}
  void push_back(char c) {
    *static_cast<char*>(b.prepare(1).data()) = c;
    b.commit(1);
  }
  char read_one() {
    const char c = *data();
    b.consume(1);
    return c;
  }
};

struct asio_buffer : dynamic_buffer<boost::asio::basic_streambuf<pmr_allocator<char>>> {
  static constexpr string_view name = "asio-streambuf";
  explicit asio_buffer(resource* memory) : dynamic_buffer(SIZE_MAX, pmr_allocator<char>(memory)) {}
  void push_back(char c) { b.sputc(c); }
  char read_one() { return static_cast<char>(b.sbumpc()); }
};

struct string_stream {
  static constexpr string_view name = "ostringstream";
  explicit string_stream(resource* memory) : b(std::ios_base::out, pmr_allocator<char>(memory)) {}
  void append(string_view text) { b.write(text.data(), static_cast<std::streamsize>(text.size())); }
  void push_back(char c) { b.put(c); }
  template <class Number, class Name, class Value>
  void format(string_view, Number&& number, Name&& label, Value&& value) {
    b << number << ' ' << label << ' ' << value << '\n';
  }
  [[nodiscard]] const char* data() const { return b.view().data(); }
  [[nodiscard]] std::size_t size() const { return b.view().size(); }
  std::basic_ostringstream<char, std::char_traits<char>, pmr_allocator<char>> b;
};

template <class Run>
void register_all_buffers(const std::string& name, const Run& run) {
  perf::register_each<cistern_buffer, pmr_string, pmr_vector, fmt_buffer, beast_buffer, asio_buffer,
                      string_stream>("buffer/" + name, run);
}

resource* pool() {
  static cistern::unsynchronized_pool_resource the_pool(nullptr);
  return perf::hide(&the_pool);
}

// --- filling: create, so many operations, destroy ---

/// Does one step.
struct plainly {
  template <class Buffer, class Step>
  void operator()(Buffer&, Step step) const {
    step();
  }
};

/// Does one step and counts what it moves: all that stays in the buffer, if the end of that is elsewhere
/// afterwards.
struct counting {
  template <class Buffer, class Step>
  void operator()(Buffer& b, Step step) {
    const char* const end = b.data() + b.size();
    const std::size_t size = b.size();
    step();
    const std::size_t stayed = std::min(size, b.size());
    if (b.data() + stayed != end) moved_bytes += stayed;
  }
  std::size_t moved_bytes = 0;
};

/// `work(buffer, step)` does so many operations on an empty buffer.
template <class Work>
void fill(const std::string& name, std::int64_t operations, const Work& work) {
  register_all_buffers(name, [=]<class Buffer>(benchmark::State& state) {
    plainly step;
    while (state.KeepRunningBatch(operations)) {
      Buffer b(pool());
      work(b, step);
      perf::keep(b.data());
    }
    cistern::statistics_adaptor memory(pool());
    counting moves;
    Buffer b(&memory);
    work(b, moves);
    state.counters["moved_per_byte"] = static_cast<double>(moves.moved_bytes) / static_cast<double>(b.size());
    state.counters["allocations"] = static_cast<double>(memory.statistics().allocations);
  });
}

/// 40 pieces as a message has them: names, separators, values; `scale` times their usual length.
void build_message(std::size_t scale) {
  constexpr std::array<std::size_t, 8> lengths{2, 9, 3, 14, 1, 22, 5, 8};
  std::vector<std::string> pieces;
  std::size_t total = 0;
  for (std::size_t i = 0; i < 40; ++i) {
    pieces.emplace_back(lengths[i % 8] * scale, static_cast<char>('a' + i % 26));
    total += pieces.back().size();
  }
  constexpr std::size_t whole = 1;
  fill("message/" + std::to_string(total) + 'B', whole, [pieces](auto& b, auto& step) {
    for (const std::string& piece : pieces) step(b, [&] { b.append(piece); });
  });
}

void append_bytes() {
  constexpr std::size_t bytes = 64 * 1024;
  fill("append/1B", bytes, [](auto& b, auto& step) {
    for (std::size_t i = 0; i < bytes; ++i) step(b, [&] { b.push_back(static_cast<char>(i)); });
  });
}

void append_pieces(std::size_t bytes, const std::string& name) {
  const auto count = static_cast<std::int64_t>((std::size_t{1} << 20) / bytes);
  fill("append/" + name, count, [count, piece = std::string(bytes, 'p')](auto& b, auto& step) {
    for (std::int64_t i = 0; i < count; ++i) step(b, [&] { b.append(piece); });
  });
}

void format_records() {
  constexpr std::size_t records = 20;
  fill("format/20-records", records, [](auto& b, auto& step) {
    for (std::size_t i = 0; i < records; ++i) {
      step(b, [&] { b.format("{} {} {}\n", i * 1001, "request.latency", static_cast<double>(i) * 1.25); });
    }
  });
}

// --- reading ---

/// One byte out, one byte in, with 1 MiB in between.
constexpr std::size_t near_full_bytes = std::size_t{1} << 20;

/// Over several times what is in the buffer, as some move it once in a while; less where each byte moves it
/// all.
template <class Buffer>
double moved_per_byte_when_near_full() {
  Buffer b(pool());
  b.append(std::string(near_full_bytes, 'f'));
  counting moves;
  std::size_t bytes = 0;
  for (; bytes < 4 * near_full_bytes && moves.moved_bytes < 256 * near_full_bytes; ++bytes) {
    char c = 0;
    moves(b, [&] { c = b.read_one(); });
    moves(b, [&] { b.push_back(c); });
  }
  return static_cast<double>(moves.moved_bytes) / static_cast<double>(bytes);
}

void near_full() {
  perf::register_each<cistern_buffer, pmr_string, pmr_vector, beast_buffer, asio_buffer>(
      "buffer/near-full/1MiB", []<class Buffer>(benchmark::State& state) {
        Buffer b(pool());
        b.append(std::string(near_full_bytes, 'f'));
        for (auto _ : state) {
          const char c = b.read_one();
          b.push_back(c);
          perf::keep(&b);
        }
        state.counters["moved_per_byte"] = moved_per_byte_when_near_full<Buffer>();
      });
}

constexpr std::size_t lines = 10'000;

/// Lines of up to 80 characters, in many texts: a branch predictor must not know them by heart.
const std::vector<std::string>& texts() {
  static const auto all = [] {
    std::mt19937 random(1);
    std::vector<std::string> made(16);
    for (std::string& text : made) {
      for (std::size_t i = 0; i < lines; ++i) text += std::string(random() % 80, 'l') + '\n';
    }
    return made;
  }();
  return all;
}

void read_lines() {
  const auto read_all = []<class Buffer>(benchmark::State& state) {
    std::size_t next = 0;
    while (state.KeepRunningBatch(lines)) {
      const std::string& text = texts()[next++ % texts().size()];
      Buffer b(pool());
      b.append(text);
      const auto start = std::chrono::steady_clock::now();
      std::size_t total = 0;
      for (std::size_t line = 0; line < lines; ++line) total += b.read_line().size();
      perf::keep_value(total);
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
      state.SetIterationTime(elapsed.count());
      if (total != text.size()) throw std::logic_error("a line was lost");
    }
  };
  perf::register_each<cistern_buffer, pmr_string, pmr_vector, fmt_buffer, beast_buffer, asio_buffer>(
      "buffer/read-lines/10000", read_all, perf::timing::own);
}

// --- echo: a message of 64 KiB arrives in a fresh buffer and leaves it again ---

constexpr std::size_t echo_bytes = 64 * 1024;

struct echo_buffer {
  static constexpr string_view name = "cistern";
  template <class Receive, class Send>
  void operator()(Receive receive, Send send) const {
    cistern::buffer b(pool());
    receive(b.prepare(echo_bytes).data());
    b.commit(echo_bytes);
    send(b.view().data());
  }
};

/// The usual way: on new/delete, resized for each message.
struct echo_vector {
  static constexpr string_view name = "vector-resize";
  template <class Receive, class Send>
  void operator()(Receive receive, Send send) const {
    std::vector<char> v;
    v.resize(echo_bytes);
    receive(v.data());
    send(v.data());
  }
};

void echo_in_memory() {
  perf::register_each<echo_buffer, echo_vector>(
      "buffer/echo-memory/64KiB", []<class Echo>(benchmark::State& state) {
        const std::string in(echo_bytes, 'e');
        std::string out(echo_bytes, '\0');
        for (auto _ : state) {
          Echo()([&](void* to) { std::memcpy(to, in.data(), echo_bytes); },
                 [&](const void* from) { std::memcpy(out.data(), from, echo_bytes); });
          perf::keep(out.data());
        }
      });
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

void echo_by_socket() {
  perf::register_each<echo_buffer, echo_vector>(
      "buffer/echo-socket/64KiB", []<class Echo>(benchmark::State& state) {
        const socket_pair sockets;
        std::string message(echo_bytes, 'e');
        for (auto _ : state) {
          sockets.send(0, message.data());
          Echo()([&](void* to) { sockets.receive(1, to); }, [&](const void* from) { sockets.send(1, from); });
          sockets.receive(0, message.data());
        }
      });
}

void register_all() {
  build_message(1);
  build_message(4);
  append_bytes();
  append_pieces(64, "64B");
  append_pieces(4096, "4KiB");
  format_records();
  near_full();
  read_lines();
  echo_in_memory();
  echo_by_socket();
}

constexpr const char* help =
    R"(cistern::buffer beside the growable buffers people use, each on the same pool where it can take one:
buffer/WORKLOAD/PARAMETER/BUFFER.

Counters, of one more buffer that isn't timed:
  allocations     for the whole of its content
  moved_per_byte  bytes already there that were moved, for each byte that came
)";

}  // namespace

int main(int count, char** values) {
  return perf::run_benchmarks({.name = "buffer_bench", .help = help, .register_all = register_all}, count,
                              values);
}
