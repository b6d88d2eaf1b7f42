// A pool of TCP connections to a server on loopback that drops the idle ones.
//
// The pool looks at a connection before giving it out: one that the server has closed reads as "end of file",
// and is replaced, so that requests don't go into dead connections. Ends with 1 if an answer was wrong or
// missing, or if the pool noticed no dropped connection.
#include <cistern/object_pool.hpp>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

class file_descriptor {
 public:
  explicit file_descriptor(int fd) noexcept : fd_(fd) {}
  file_descriptor(file_descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  file_descriptor& operator=(file_descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~file_descriptor() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
  }
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

// Answers each byte with the next one, and closes connections that were idle for `idle_limit`.
class impatient_server {
 public:
  explicit impatient_server(std::chrono::milliseconds idle_limit)
      : idle_limit_(idle_limit), listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (listener_.get() < 0 || ::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
        ::listen(listener_.get(), 64) != 0 ||
        ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
      fail("listen");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this](const std::stop_token& stop) { serve(stop); });
  }

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  // Returns when so many connections have been dropped.
  void wait_until_dropped(int connections) const {
    for (int seen = dropped_; seen < connections; seen = dropped_) {
      dropped_.wait(seen);
    }
  }

 private:
  struct connection {
    file_descriptor fd;
    steady::time_point last_request;
  };

  void serve(const std::stop_token& stop) {
    std::vector<connection> open;
    while (!stop.stop_requested()) {
      std::vector<pollfd> ready{{listener_.get(), POLLIN, 0}};
      for (const auto& one : open) {
        ready.push_back({one.fd.get(), POLLIN, 0});
      }
      ::poll(ready.data(), ready.size(), 10);
      const auto now = steady::now();
      for (std::size_t i = open.size(); i-- > 0;) {
        if ((ready[i + 1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
          if (!answer(open[i].fd.get())) {
            open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
            continue;
          }
          open[i].last_request = now;
        } else if (now - open[i].last_request > idle_limit_) {
          open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
          ++dropped_;
          dropped_.notify_all();
        }
      }
      if ((ready[0].revents & POLLIN) != 0) {
        open.push_back({file_descriptor(::accept(listener_.get(), nullptr, nullptr)), now});
      }
    }
  }

  static bool answer(int fd) {
    unsigned char byte = 0;
    if (::recv(fd, &byte, 1, 0) != 1) {
      return false;
    }
    ++byte;
    return ::send(fd, &byte, 1, MSG_NOSIGNAL) == 1;
  }

  std::chrono::milliseconds idle_limit_;
  file_descriptor listener_;
  std::uint16_t port_ = 0;
  std::atomic<int> dropped_{0};
  std::jthread thread_;
};

struct connection_lifecycle {
  std::uint16_t port;

  file_descriptor create() {
    file_descriptor fd(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    if (fd.get() < 0 || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      fail("connect");
    }
    return fd;
  }
  // An idle connection has nothing to read; one that reads as "end of file" was closed by the server.
  bool validate(const file_descriptor& fd) {
    char byte = 0;
    const auto got = ::recv(fd.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  }
};

using connection_pool = cistern::object_pool<file_descriptor, connection_lifecycle>;

// One request and its answer. A connection may still die between the look at it and the request: it is
// discarded then, and the next one is sure to have been alive a moment ago.
bool ask(connection_pool& pool, unsigned char question) {
  constexpr int attempts = 3;
  for (int i = 0; i < attempts; ++i) {
    auto connection = pool.acquire_for(5s);
    unsigned char answer = 0;
    if (::send(connection->get(), &question, 1, MSG_NOSIGNAL) == 1 &&
        ::recv(connection->get(), &answer, 1, 0) == 1) {
      return answer == question + 1;
    }
    connection.discard();
  }
  return false;
}

// How many of the questions, asked by several threads, were answered.
int ask_in_parallel(connection_pool& pool, int threads, int questions) {
  std::atomic<int> answered{0};
  {
    std::vector<std::jthread> team;
    for (int t = 0; t < threads; ++t) {
      team.emplace_back([&] {
        for (int i = 0; i < questions; ++i) {
          answered += ask(pool, static_cast<unsigned char>(i % 200)) ? 1 : 0;
        }
      });
    }
  }
  return answered;
}

}  // namespace

int main() {
  impatient_server server(100ms);
  connection_pool pool({.max_size = 4, .initial = 4}, {server.port()});
  const int before = ask_in_parallel(pool, 8, 200);
  server.wait_until_dropped(static_cast<int>(pool.idle()));
  const int after = ask_in_parallel(pool, 8, 200);
  const auto statistics = pool.statistics();
  std::cout << before << " answers, then the server dropped the idle connections, then " << after
            << " answers\n"
            << statistics;
  const auto noticed = statistics.destroyed_for(cistern::destroy_reason::invalid);
  return before == 1600 && after == 1600 && noticed > 0 ? 0 : 1;
}
