// A message server on loopback: a buffer per connection, all from one pool, and a client that checks every
// answer.
//
// A message is its length (four bytes, big-endian) and its bytes. The server answers each with the same bytes
// in reverse. The client opens 1,000 connections, sends several messages on each, checks what comes back and
// closes them all: one round. The first rounds warm the pool up; after that a round asks upstream for
// nothing, though every connection is new and so is its buffer. The program ends with the pool's statistics,
// and with 1 if an answer was wrong or the pool did not settle.
//
//     message_server [connections [messages-per-connection]]
#include <cistern/buffer.hpp>
#include <cistern/buffer_dynamic_view.hpp>
#include <cistern/pool_statistics.hpp>
#include <cistern/synchronized_pool_resource.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio.hpp>

#include <sys/resource.h>

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using cistern::buffer;
using cistern::buffer_dynamic_view;

constexpr std::size_t header_bytes = 4;
constexpr std::size_t usual_message_bytes = 4'000;  // what a connection's buffers hold from the start
constexpr std::size_t largest_message_bytes = std::size_t{1} << 20;  // what is longer is no message of ours

// --- the server ---

/// How many connections are open; waiting for none is waiting for their memory to be back in the pool.
class open_connections {
 public:
  class entry {
   public:
    explicit entry(open_connections& all) : all_(all) { ++all_.count_; }
    ~entry() {
      if (--all_.count_ == 0) all_.count_.notify_all();
    }
    entry(const entry&) = delete;
    entry& operator=(const entry&) = delete;

   private:
    open_connections& all_;
  };

  void wait_for_none() const {
    for (auto count = count_.load(); count != 0; count = count_.load()) count_.wait(count);
  }

 private:
  std::atomic<std::size_t> count_ = 0;
};

/// One connection. Its buffers live as long as it does; their blocks come from the pool and go back to it.
class connection : public std::enable_shared_from_this<connection> {
 public:
  connection(tcp::socket socket, std::pmr::memory_resource* pool, open_connections& all)
      : entry_(all), socket_(std::move(socket)), in_(pool), out_(pool) {
    in_.reserve_more(header_bytes + usual_message_bytes);
    out_.reserve_more(header_bytes + usual_message_bytes);
  }

  /// Waits for what the message at the front of `in_` still lacks. There is room for all of it before it
  /// comes, so a long message moves the buffer to a larger block once.
  void read() {
    in_.reserve_more(missing_bytes());
    asio::async_read(socket_, buffer_dynamic_view(in_), asio::transfer_at_least(missing_bytes()),
                     [self = shared_from_this()](error_code error, std::size_t) {
                       if (!error) self->answer();  // at the end of the input the connection goes
                     });
  }

 private:
  [[nodiscard]] std::optional<std::size_t> announced_bytes() const {
    if (in_.size() < header_bytes) return std::nullopt;
    std::uint32_t length = 0;
    for (const char c : in_.peek(header_bytes)) length = length << 8 | static_cast<unsigned char>(c);
    return length;
  }
  [[nodiscard]] std::size_t missing_bytes() const {
    return header_bytes + announced_bytes().value_or(0) - in_.size();
  }

  void answer() {
    for (auto length = announced_bytes(); length; length = announced_bytes()) {
      if (*length > largest_message_bytes) return;  // drops the connection
      if (in_.size() < header_bytes + *length) break;
      in_.consume(header_bytes);
      const std::string_view message = in_.next(*length);
      out_.put_be(static_cast<std::uint32_t>(message.size()));
      const auto room = out_.prepare(message.size());
      std::reverse_copy(message.begin(), message.end(), reinterpret_cast<char*>(room.data()));
      out_.commit(message.size());
    }
    if (out_.empty()) return read();
    asio::async_write(socket_, buffer_dynamic_view(out_),
                      [self = shared_from_this()](error_code error, std::size_t) {
                        if (!error) self->read();
                      });
  }

  open_connections::entry entry_;  // the first member goes last
  tcp::socket socket_;
  buffer in_;
  buffer out_;
};

/// Accepts connections on loopback and serves them on two threads until it is destroyed.
class server {
 public:
  explicit server(std::pmr::memory_resource* pool)
      : pool_(pool), acceptor_(context_, tcp::endpoint(asio::ip::address_v4::loopback(), 0)) {
    acceptor_.listen(asio::socket_base::max_listen_connections);
    accept();
    for (std::thread& each : threads_) each = std::thread([this] { context_.run(); });
  }
  ~server() {
    context_.stop();
    for (std::thread& each : threads_) each.join();
  }
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  [[nodiscard]] tcp::endpoint endpoint() const { return acceptor_.local_endpoint(); }
  void wait_for_no_connection() const { connections_.wait_for_none(); }

 private:
  void accept() {
    // A strand each: a connection's handlers never run on two threads at once.
    acceptor_.async_accept(asio::make_strand(context_), [this](error_code error, tcp::socket socket) {
      if (error) {
        std::cerr << "accept: " << error.message() << '\n';
        return;
      }
      std::allocate_shared<connection>(std::pmr::polymorphic_allocator<connection>(pool_), std::move(socket),
                                       pool_, connections_)
          ->read();
      accept();
    });
  }

  std::pmr::memory_resource* pool_;
  open_connections connections_;
  asio::io_context context_{2};
  tcp::acceptor acceptor_;
  std::thread threads_[2];
};

// --- the client ---

/// The message number `number` of connection `id`: lengths from 0 to some thousand bytes, now and then 64
/// KiB.
std::string message_of(std::size_t id, std::size_t number) {
  const std::size_t seed = id * 31 + number * 977;
  const std::size_t length = seed % 97 == 0 ? 65'536 : seed * seed % 3'000;
  std::string message(length, '\0');
  for (std::size_t i = 0; i < length; ++i) message[i] = static_cast<char>('a' + (seed + i * 7) % 26);
  return message;
}

/// One connection of the client: sends a message, waits for its answer, checks it, sends the next.
class conversation {
 public:
  conversation(asio::io_context& context, std::size_t id, std::size_t messages)
      : socket_(context), id_(id), messages_(messages) {}

  void start(const tcp::endpoint& where) {
    socket_.async_connect(where, [this](error_code error) {
      if (error) return fail("connect: " + error.message());
      socket_.set_option(tcp::no_delay(true));
      socket_.set_option(asio::socket_base::linger(true, 0));  // the ports are wanted again at once
      send();
    });
  }

  [[nodiscard]] bool finished() const { return checked_ == messages_ && problem_.empty(); }
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  void send() {
    if (checked_ == messages_) return;  // and stays connected until all are done
    expected_ = message_of(id_, checked_);
    out_.put_be(static_cast<std::uint32_t>(expected_.size()));
    out_.append(expected_);
    std::reverse(expected_.begin(), expected_.end());
    asio::async_write(socket_, buffer_dynamic_view(out_), [this](error_code error, std::size_t) {
      if (error) return fail("write: " + error.message());
      receive();
    });
  }

  void receive() {
    asio::async_read(socket_, buffer_dynamic_view(in_),
                     asio::transfer_exactly(header_bytes + expected_.size()),
                     [this](error_code error, std::size_t) {
                       if (error) return fail("read: " + error.message());
                       check();
                     });
  }

  void check() {
    const std::size_t length = in_.get_be<std::uint32_t>().value_or(0);
    if (length != expected_.size() || in_.view() != expected_) return fail("wrong answer");
    in_.clear();
    ++checked_;
    send();
  }

  void fail(const std::string& problem) {
    problem_ = "connection " + std::to_string(id_) + ", message " + std::to_string(checked_) + ": " + problem;
    error_code ignored;
    socket_.close(ignored);
  }

  tcp::socket socket_;
  std::size_t id_;
  std::size_t messages_;
  std::size_t checked_ = 0;
  std::string expected_;
  std::string problem_;
  buffer in_{nullptr};  // the client's memory is its own affair: plain new/delete
  buffer out_{nullptr};
};

/// One round: all connections at once, all messages, all answers checked.
void converse(const tcp::endpoint& where, std::size_t connections, std::size_t messages) {
  asio::io_context context{1};
  std::vector<std::unique_ptr<conversation>> all;
  for (std::size_t id = 0; id < connections; ++id) {
    all.push_back(std::make_unique<conversation>(context, id, messages));
    all.back()->start(where);
  }
  context.run();
  for (const auto& each : all) {
    if (!each->problem().empty()) throw std::runtime_error(each->problem());
    if (!each->finished()) throw std::runtime_error("a conversation ended early");
  }
}

// --- all together ---

/// Makes sure that so many files can be open; returns for how many connections (two ends each) that suffices.
std::size_t allow_connections(std::size_t wanted) {
  constexpr rlim_t other_files = 64;
  const rlim_t needed = 2 * wanted + other_files;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < needed) {
    limit.rlim_cur = std::min<rlim_t>(needed, limit.rlim_max);
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  if (limit.rlim_cur >= needed) return wanted;
  const std::size_t possible = limit.rlim_cur > other_files ? (limit.rlim_cur - other_files) / 2 : 0;
  std::cout << "only " << possible << " connections: the limit is " << limit.rlim_cur << " open files\n";
  return possible;
}

bool run(std::size_t connections, std::size_t messages) {
  constexpr int most_rounds = 12;
  constexpr int quiet_rounds_wanted = 2;
  cistern::synchronized_pool_resource pool(nullptr);
  int quiet_rounds = 0;
  {
    server serving(&pool);
    for (int round = 1; round <= most_rounds && quiet_rounds < quiet_rounds_wanted; ++round) {
      const auto before = pool.statistics().upstream_allocations;
      converse(serving.endpoint(), connections, messages);
      serving.wait_for_no_connection();
      const auto asked = pool.statistics().upstream_allocations - before;
      std::cout << "round " << round << ": " << connections << " connections, " << connections * messages
                << " answers checked, " << asked << " requests to upstream\n";
      quiet_rounds = asked == 0 ? quiet_rounds + 1 : 0;
    }
  }
  const auto statistics = pool.statistics();
  std::cout << '\n' << statistics << '\n';
  if (statistics.in_use_bytes != 0)
    throw std::runtime_error("blocks are still in use after the server has ended");
  return quiet_rounds == quiet_rounds_wanted;
}

std::size_t number(const char* text) {
  char* end = nullptr;
  const unsigned long value = std::strtoul(text, &end, 10);
  if (*end != '\0' || value == 0 || value > 100'000) {
    throw std::invalid_argument(std::string("not a number from 1 to 100000: ") + text);
  }
  return value;
}

}  // namespace

int main(int count, char** arguments) try {
  if (count > 3)
    throw std::invalid_argument("at most two arguments: connections and messages per connection");
  const std::size_t connections = allow_connections(count > 1 ? number(arguments[1]) : 1'000);
  const std::size_t messages = count > 2 ? number(arguments[2]) : 10;
  if (!run(connections, messages)) {
    std::cerr << "the pool still asks upstream for memory\n";
    return 1;
  }
} catch (const std::invalid_argument& error) {
  std::cerr << "message_server: " << error.what() << '\n';
  return 2;
} catch (const std::exception& error) {
  std::cerr << "message_server: " << error.what() << '\n';
  return 1;
}
