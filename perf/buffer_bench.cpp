// buffer_bench: cistern::buffer beside the growable buffers people use, on the same work, interleaved.
#include <cistern/buffer.hpp>
#include <cistern/buffer_fmt.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory_resource>
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

#include "support/keep.hpp"
#include "support/measure.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"
#include "support/table.hpp"
#include <sys/socket.h>
#include <unistd.h>

namespace {

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
using runner = std::function<nanoseconds(std::size_t repetitions)>;

struct entry {
  string_view name;
  runner run;
};

struct contest {
  std::string name;
  std::string operation;
  std::size_t operations;  ///< Per repetition.
  std::vector<entry> entries;
};

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

template <class... Buffers, class Run>
void enter(contest& c, Run run) {
  (c.entries.push_back({Buffers::name, [run](std::size_t n) { return run.template operator()<Buffers>(n); }}),
   ...);
}

template <class Run>
void enter_all(contest& c, Run run) {
  enter<cistern_buffer, pmr_string, pmr_vector, fmt_buffer, beast_buffer, asio_buffer, string_stream>(c, run);
}
template <class Run>
void enter_readers(contest& c, Run run) {
  enter<cistern_buffer, pmr_string, pmr_vector, beast_buffer, asio_buffer>(c, run);
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
  contest c{"message/" + std::to_string(total) + "B", "create, 40 appends, destroy", 1, {}};
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
  contest c{"one byte x 64Ki", "one append of one byte", bytes, {}};
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
  contest c{"1 MiB by 4 KiB", "one append of 4 KiB", 256, {}};
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
  contest c{"near-full 1 MiB", "read one byte, write one byte", 1, {}};
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
  contest c{"format", "one record of three fields", records, {}};
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
  contest c{"10,000 lines", "one line read", lines, {}};
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
  contest c{"echo 64 KiB, memory", "one message in and out", 1, {}};
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
  contest c{"echo 64 KiB, socket", "one message in and out", 1, {}};
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

// --- measuring ---

struct outcome {
  std::string name;
  std::string operation;
  std::vector<string_view> names;
  std::vector<std::vector<double>> rounds;  ///< Per contestant: nanoseconds per operation.

  /// Median over the rounds of its time divided by ours in the same round: how many times faster we are.
  [[nodiscard]] double ratio(std::size_t index) const {
    std::vector<double> ratios;
    for (std::size_t r = 0; r < rounds[index].size(); ++r) ratios.push_back(rounds[index][r] / rounds[0][r]);
    return perf::median(ratios);
  }
};

struct plan {
  std::size_t rounds = 11;
  nanoseconds run_time = std::chrono::milliseconds(20);
};

std::size_t calibrate(const runner& run, nanoseconds run_time) {
  for (std::size_t repetitions = 1;; repetitions *= 4) {
    const auto elapsed = std::max(run(repetitions), nanoseconds(1));
    if (elapsed * 8 >= run_time || repetitions > (std::size_t{1} << 40)) {
      const double wanted = static_cast<double>(repetitions) * static_cast<double>(run_time.count()) /
                            static_cast<double>(elapsed.count());
      return std::max<std::size_t>(1, static_cast<std::size_t>(wanted));
    }
  }
}

outcome measure(const contest& c, const plan& how) {
  outcome result{c.name, c.operation, {}, {}};
  std::vector<std::size_t> repetitions;
  for (const entry& each : c.entries) {
    result.names.push_back(each.name);
    repetitions.push_back(calibrate(each.run, how.run_time));
  }
  const std::size_t count = c.entries.size();
  result.rounds.resize(count);
  for (std::size_t round = 0; round < how.rounds; ++round) {
    for (std::size_t position = 0; position < count; ++position) {
      // Rotated each round, and backwards every other one: nobody always follows the same neighbour.
      const std::size_t turned = (position + round) % count;
      const std::size_t index = round % 2 == 0 ? turned : count - 1 - turned;
      const auto elapsed = c.entries[index].run(repetitions[index]);
      result.rounds[index].push_back(static_cast<double>(elapsed.count()) /
                                     static_cast<double>(repetitions[index] * c.operations));
    }
  }
  return result;
}

void print(std::ostream& out, const outcome& one) {
  perf::table rows({one.name + ": " + one.operation, "ns", "cistern::buffer is faster by"});
  double best = INFINITY;
  for (std::size_t i = 0; i < one.names.size(); ++i) {
    rows.add({std::string(one.names[i]), perf::significant(perf::median(one.rounds[i])),
              i == 0 ? "" : perf::two_decimals(one.ratio(i))});
    if (i != 0) best = std::min(best, one.ratio(i));
  }
  rows.print(out);
  out << "against the best of them: " << perf::two_decimals(best) << "\n\n";
}

void write_csv(std::ostream& out, const std::vector<outcome>& all) {
  out << "workload,operation,contestant,round,nanoseconds\n";
  for (const outcome& one : all) {
    for (std::size_t i = 0; i < one.names.size(); ++i) {
      for (std::size_t round = 0; round < one.rounds[i].size(); ++round) {
        out << '"' << one.name << "\",\"" << one.operation << "\",\"" << one.names[i] << "\"," << round + 1
            << ',' << one.rounds[i][round] << '\n';
      }
    }
  }
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

/// A mistake on the command line: message on stderr, exit status 2.
struct usage_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct options {
  plan how;
  std::string filter;
  std::string csv_file;
  bool help = false;
};

std::size_t rounds_in(const std::string& text) {
  const bool digits =
      !text.empty() && text.size() <= 4 && text.find_first_not_of("0123456789") == std::string::npos;
  const std::size_t value = digits ? std::stoul(text) : 0;
  if (value == 0 || value > 1000)
    throw usage_error("--rounds needs a number from 1 to 1000, not \"" + text + '"');
  return value;
}

options parse(const std::vector<std::string>& arguments) {
  options result;
  auto next = arguments.begin();
  while (next != arguments.end()) {
    const std::string option = *next++;
    const auto value = [&] {
      if (next == arguments.end()) throw usage_error(option + " needs a value");
      return *next++;
    };
    if (option == "--filter") {
      result.filter = value();
    } else if (option == "--rounds") {
      result.how.rounds = rounds_in(value());
    } else if (option == "--quick") {
      result.how = {3, std::chrono::milliseconds(3)};
    } else if (option == "--csv") {
      result.csv_file = value();
    } else if (option == "--help" || option == "-h") {
      result.help = true;
    } else {
      throw usage_error("unknown option " + option);
    }
  }
  return result;
}

std::vector<contest> all_contests() {
  return {build_message(1), build_message(4), one_byte_appends(), large_append(),  near_full(),
          format_fields(),  read_lines(),     echo_in_memory(),   echo_by_socket()};
}

int run(const options& asked) {
  std::ofstream csv;
  if (!asked.csv_file.empty()) {
    csv.open(asked.csv_file);
    if (!csv) throw std::runtime_error("cannot write " + asked.csv_file);
  }
  for (const std::string& line : perf::environment()) std::cout << line << '\n';
  std::cout << perf::build_warning() << '\n';
  std::vector<outcome> all;
  perf::progress progress;
  for (const contest& each : all_contests()) {
    if (each.name.find(asked.filter) == std::string::npos) continue;
    progress.stage(each.name);
    all.push_back(measure(each, asked.how));
    progress.clear();
    print(std::cout, all.back());
    std::cout.flush();
  }
  if (all.empty()) throw usage_error("no workload's name contains \"" + asked.filter + '"');
  if (csv.is_open()) {
    write_csv(csv, all);
    if (!csv.flush()) throw std::runtime_error("cannot write " + asked.csv_file);
  }
  return 0;
}

}  // namespace

int main(int count, char** arguments) try {
  const options asked = parse(std::vector<std::string>(arguments + 1, arguments + count));
  if (asked.help) {
    std::cout << usage;
    return 0;
  }
  return run(asked);
} catch (const usage_error& error) {
  std::cerr << "buffer_bench: " << error.what() << '\n' << usage;
  return 2;
} catch (const std::exception& error) {
  std::cerr << "buffer_bench: " << error.what() << '\n';
  return 1;
}
