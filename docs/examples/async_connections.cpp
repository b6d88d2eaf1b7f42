// Coroutines that wait for pooled connections on Boost.Asio: a hundred sessions share four sockets.
//
// Nothing here blocks a thread: a session that finds no idle connection is suspended, stands in the pool's
// queue, and goes on in the io_context when a connection is handed to it. The pool knows nothing of Asio; the
// executor is one line. Ends with 1 if an answer was wrong or more than four connections were made.
#include <cistern/object_pool.hpp>

#include <atomic>
#include <coroutine>
#include <exception>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio.hpp>

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// Answers each line with the same line.
class echo_session : public std::enable_shared_from_this<echo_session> {
 public:
  explicit echo_session(tcp::socket socket) : socket_(std::move(socket)) {}
  void next() {
    asio::async_read_until(socket_, asio::dynamic_buffer(line_), '\n',
                           [self = shared_from_this()](error_code error, std::size_t) {
                             if (!error) {
                               self->answer();
                             }
                           });
  }

 private:
  void answer() {
    asio::async_write(socket_, asio::buffer(line_),
                      [self = shared_from_this()](error_code error, std::size_t) {
                        self->line_.clear();
                        if (!error) {
                          self->next();
                        }
                      });
  }

  tcp::socket socket_;
  std::string line_;
};

void accept_all(tcp::acceptor& acceptor) {
  acceptor.async_accept([&](error_code error, tcp::socket socket) {
    if (!error) {
      std::make_shared<echo_session>(std::move(socket))->next();
      accept_all(acceptor);
    }
  });
}

// A coroutine that starts at once and that nobody waits for.
struct started {
  struct promise_type {
    started get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

// Awaits an asynchronous operation: `start` is given the handler to call at its end.
template <class Start>
struct operation {
  Start start;
  error_code error{};

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) {
    start([this, self](error_code result, std::size_t) {
      error = result;
      self.resume();
    });
  }
  void await_resume() const {
    if (error) {
      throw boost::system::system_error(error);
    }
  }
};
template <class Start>
operation(Start) -> operation<Start>;

struct connection_lifecycle {
  asio::io_context& context;
  tcp::endpoint server;

  tcp::socket create() {
    tcp::socket socket(context);
    socket.connect(server);
    return socket;
  }
};
using connection_pool = cistern::object_pool<tcp::socket, connection_lifecycle>;

constexpr int sessions = 100;
constexpr int questions = 20;

started session(connection_pool& pool, asio::io_context& context, int number, std::atomic<int>& right,
                std::atomic<int>& running) {
  for (int i = 0; i < questions; ++i) {
    auto connection = co_await pool.acquire_async(
        [&](std::coroutine_handle<> self) { asio::post(context, self); });  // the whole of the integration
    const std::string question = std::to_string(number) + " asks " + std::to_string(i) + "\n";
    std::string answer;
    co_await operation{
        [&](auto done) { asio::async_write(*connection, asio::buffer(question), std::move(done)); }};
    co_await operation{[&](auto done) {
      asio::async_read_until(*connection, asio::dynamic_buffer(answer), '\n', std::move(done));
    }};
    right += answer == question ? 1 : 0;
  }
  if (--running == 0) {
    context.stop();
  }
}

}  // namespace

int main() {
  asio::io_context context;
  tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
  accept_all(acceptor);
  connection_pool pool({.max_size = 4}, {context, acceptor.local_endpoint()});
  std::atomic<int> right{0};
  std::atomic<int> running{sessions};
  for (int i = 0; i < sessions; ++i) {
    asio::post(context, [&, i] { session(pool, context, i, right, running); });
  }
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 2; ++i) {
      threads.emplace_back([&] { context.run(); });
    }
  }
  const auto statistics = pool.statistics();
  std::cout << right << " of " << sessions * questions << " answers right\n" << statistics;
  return right == sessions * questions && statistics.created <= 4 ? 0 : 1;
}
