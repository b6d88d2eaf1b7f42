// Buffers pooled the way of Go's sync.Pool: threads format log lines into strings they get from a per-thread
// pool.
//
// Each thread keeps its own strings, with the room they have grown to; after the first lines nothing is
// allocated any more. What stays unused fades after two calls of trim. Ends with 1 if more strings were made
// than the threads can have held at once, or if something did not fade.
#include <cistern/object_pool.hpp>

#include <atomic>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

namespace {

// Objects come back as they were left; this is what makes the next user find them empty. Strings that have
// grown out of all proportion are better given back to the heap.
struct buffer_lifecycle {
  static constexpr std::size_t most_kept_bytes = 64 * 1024;

  std::string create() { return {}; }
  void reset(std::string& text) {
    text.clear();
    if (text.capacity() > most_kept_bytes) {
      text.shrink_to_fit();
    }
  }
  std::size_t retained_bytes(const std::string& text) const noexcept { return text.capacity(); }
};

using buffer_pool = cistern::object_pool<std::string, buffer_lifecycle, cistern::per_thread>;

std::size_t log_line(buffer_pool& pool, unsigned thread, int number) {
  auto line = pool.acquire();
  auto detail = pool.acquire();
  *detail += "request ";
  *detail += std::to_string(number);
  *line += "thread ";
  *line += std::to_string(thread);
  *line += ": ";
  *line += *detail;
  return line->size();
}

}  // namespace

int main() {
  constexpr unsigned threads = 4;
  constexpr int lines = 100'000;
  buffer_pool pool;
  std::atomic<std::size_t> written_bytes{0};
  {
    std::vector<std::jthread> loggers;
    for (unsigned thread = 0; thread < threads; ++thread) {
      loggers.emplace_back([&, thread] {
        std::size_t bytes = 0;
        for (int number = 0; number < lines; ++number) {
          bytes += log_line(pool, thread, number);
        }
        written_bytes += bytes;
      });
    }
  }
  const auto busy = pool.statistics();
  std::cout << written_bytes << " bytes of log in " << busy.acquired << " buffers, of which " << busy.created
            << " had to be made\n";
  pool.trim();
  pool.trim();
  std::cout << pool.idle() << " buffers left after two trims\n" << pool.statistics();
  const bool reused = busy.acquired == 2U * threads * lines && busy.created <= 2 * threads;
  return reused && pool.idle() == 0 ? 0 : 1;
}
