// A pool of connections to a Redis server that is killed and started again under load.
//
// Connections are checked with a PING if they were idle for more than a moment. A caller whose command fails
// discards its connection; what it gets next is a connection that works, or the factory's error while the
// server is down: never a second dead connection. Starts its own redis-server on a Unix socket. Ends with 0
// if that held, 1 if not, and 77 ("skipped") where redis-server is not installed.
#include <cistern/object_pool.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <hiredis/hiredis.h>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr int skipped = 77;
constexpr int workers = 8;

bool installed(const std::string& program) {
  const char* const path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (::access((fs::path(folder) / program).c_str(), X_OK) == 0) {
      return true;
    }
  }
  return false;
}

// A folder of its own under the system's for temporary files, gone at the end.
struct temporary_folder {
  temporary_folder() {
    std::string pattern = (fs::temp_directory_path() / "cistern-redis-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      throw std::system_error(errno, std::generic_category(), "mkdtemp");
    }
    path = pattern;
  }
  ~temporary_folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  fs::path path;
};

class redis_server {
 public:
  explicit redis_server(const fs::path& folder) : folder_(folder), process_(::fork()) {
    if (process_ < 0) {
      throw std::system_error(errno, std::generic_category(), "fork");
    }
    if (process_ == 0) {
      const int nothing = ::open("/dev/null", O_WRONLY);
      ::dup2(nothing, STDOUT_FILENO);
      ::execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket().c_str(), "--save", "",
               "--appendonly", "no", "--dir", folder_.c_str(), static_cast<char*>(nullptr));
      ::_exit(127);
    }
  }
  redis_server(const redis_server&) = delete;
  redis_server& operator=(const redis_server&) = delete;
  ~redis_server() { stop(SIGTERM); }

  [[nodiscard]] std::string socket() const { return (folder_ / "redis.sock").string(); }
  void stop(int signal) {
    if (process_ > 0) {
      ::kill(process_, signal);
      ::waitpid(process_, nullptr, 0);
      process_ = -1;
    }
  }

 private:
  fs::path folder_;
  pid_t process_;
};

struct free_connection {
  void operator()(redisContext* one) const noexcept { ::redisFree(one); }
};
using connection = std::unique_ptr<redisContext, free_connection>;
struct free_reply {
  void operator()(void* one) const noexcept { ::freeReplyObject(one); }
};

// Whether the command was answered; if not, the connection is dead.
bool command(const connection& to, const char* text) {
  const std::unique_ptr<void, free_reply> reply(::redisCommand(to.get(), text));
  return reply != nullptr && static_cast<const redisReply*>(reply.get())->type != REDIS_REPLY_ERROR;
}

struct connection_lifecycle {
  std::string socket;

  connection create() {
    connection made(::redisConnectUnixWithTimeout(socket.c_str(), {1, 0}));
    if (made == nullptr || made->err != 0) {
      throw std::runtime_error(made != nullptr ? made->errstr : "no memory");
    }
    ::redisSetTimeout(made.get(), {2, 0});
    // A dying server's socket still takes connections for a moment, and nobody will ever answer on them.
    if (!command(made, "PING")) {
      throw std::runtime_error("no answer from the server");
    }
    return made;
  }
  bool validate(const connection& one) { return command(one, "PING"); }
};

using connection_pool = cistern::object_pool<connection, connection_lifecycle>;

struct tally {
  std::atomic<int> answered{0};
  std::atomic<int> dead_connections{0};
  std::atomic<int> dead_twice{0};  // for one death of the server
  std::atomic<int> kills{0};
  std::atomic<int> refused{0};  // the factory's error reached the caller
  std::atomic<int> timed_out{0};
};

void work(connection_pool& pool, tally& counts, const std::stop_token& stop) {
  int last_death = -1;
  while (!stop.stop_requested()) {
    try {
      auto redis = pool.acquire_for(2s, stop);
      if (command(*redis, "INCR counter")) {
        ++counts.answered;
        counts.answered.notify_all();
      } else {
        redis.discard();
        ++counts.dead_connections;
        counts.dead_twice += std::exchange(last_death, counts.kills.load()) == counts.kills ? 1 : 0;
      }
    } catch (const cistern::pool_error& error) {
      counts.refused += error.code() == cistern::pool_errc::factory_failed ? 1 : 0;
      counts.timed_out += error.code() == cistern::pool_errc::timeout ? 1 : 0;
      counts.refused.notify_all();
    }
  }
}

void wait_for(const std::atomic<int>& counter, int value) {
  for (int seen = counter; seen < value; seen = counter) {
    counter.wait(seen);
  }
}

}  // namespace

int main() {
  if (!installed("redis-server")) {
    std::cout << "skipped: redis-server is not installed\n";
    return skipped;
  }
  std::signal(SIGPIPE, SIG_IGN);  // hiredis writes to dead sockets without MSG_NOSIGNAL
  const temporary_folder folder;
  auto server = std::make_unique<redis_server>(folder.path);
  connection_pool pool({.max_size = 4, .backoff_max = 100ms}, {server->socket()});
  tally counts;
  {
    std::vector<std::jthread> team;
    for (int i = 0; i < workers; ++i) {
      team.emplace_back([&](const std::stop_token& stop) { work(pool, counts, stop); });
    }
    wait_for(counts.answered, 2'000);
    for (int round = 0; round < 3; ++round) {
      const int refused_before = counts.refused;
      ++counts.kills;
      server->stop(SIGKILL);
      wait_for(counts.refused, refused_before + workers);
      const int answered_before = counts.answered;
      server = std::make_unique<redis_server>(folder.path);
      wait_for(counts.answered, answered_before + 2'000);
    }
  }
  std::cout << counts.answered << " commands answered, " << counts.dead_connections
            << " connections died under their users, " << counts.dead_twice
            << " users saw a dead connection twice; " << counts.refused << " times the factory's error, "
            << counts.timed_out << " timeouts\n"
            << pool.statistics();
  return counts.dead_twice == 0 && pool.check_invariants() ? 0 : 1;
}
