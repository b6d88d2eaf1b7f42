// fork: while other threads are inside malloc, with handlers that allocate, and again in the child.
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <thread>
#include <vector>

#include "contract.hpp"
#include "early_library.hpp"
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

using contract::fill;
using contract::hide;
using contract::is_filled;

namespace {

/// Threads that are inside malloc and free most of the time, with sizes that visit every path.
class busy_threads {
 public:
  explicit busy_threads(unsigned count) {
    for (unsigned index = 0; index < count; ++index) {
      team_.emplace_back([this, index] {
        contract::random_numbers random(index);
        std::array<void*, 200> blocks{};
        while (!stop_) {
          void*& block = blocks[random.below(blocks.size())];
          free(block);
          block = hide(malloc(random.size(18)));
        }
        for (void* block : blocks) free(block);
      });
    }
  }
  ~busy_threads() {
    stop_ = true;
    for (auto& one : team_) one.join();
  }
  busy_threads(const busy_threads&) = delete;
  busy_threads& operator=(const busy_threads&) = delete;

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> team_;
};

void use_malloc() {
  std::array<void*, 64> blocks{};
  for (unsigned i = 0; i < blocks.size(); ++i) {
    const std::size_t bytes = std::size_t{8} << (i % 16);
    blocks[i] = malloc(bytes);
    MUST(blocks[i] != nullptr);
    fill(blocks[i], bytes, i);
  }
  for (unsigned i = 0; i < blocks.size(); ++i) {
    MUST(is_filled(blocks[i], std::size_t{8} << (i % 16), i));
    free(blocks[i]);
  }
}

void must_end_well(pid_t child) {
  MUST(child > 0);
  int state = 0;
  while (waitpid(child, &state, 0) == -1) MUST(errno == EINTR);
  MUST(WIFEXITED(state));
  MUST(WEXITSTATUS(state) == 0);
}

/// What a child does: uses what it inherited, has threads of its own, and forks again.
void live_as_child(void* inherited) {
  alarm(20);
  MUST(is_filled(inherited, 5000, 1));
  free(inherited);
  use_malloc();
  std::thread(use_malloc).join();
  const pid_t grandchild = fork();
  if (grandchild == 0) {
    use_malloc();
    _exit(0);
  }
  must_end_well(grandchild);
}

}  // namespace

CONTRACT_CASE(fork_while_threads_allocate) {
  const busy_threads others(3);
  for (int round = 0; round < 25; ++round) {
    void* const inherited = malloc(5000);
    fill(inherited, 5000, 1);
    const pid_t child = fork();
    if (child == 0) {
      live_as_child(inherited);
      _exit(0);
    }
    must_end_well(child);
    MUST(is_filled(inherited, 5000, 1));
    free(inherited);
  }
}

CONTRACT_CASE(a_child_may_exit_with_all_ceremony) {
  const pid_t child = fork();
  if (child == 0) {
    static std::vector<int> destroyed_at_exit(1000);
    use_malloc();
    std::exit(0);
  }
  must_end_well(child);
}

CONTRACT_CASE(fork_from_a_thread_that_is_not_the_first) {
  const busy_threads others(1);
  for (int round = 0; round < 20; ++round) {
    std::thread([] {
      use_malloc();
      const pid_t child = fork();
      if (child == 0) {
        use_malloc();
        _exit(0);
      }
      must_end_well(child);
    }).join();
  }
}

namespace {

std::array<std::atomic<unsigned>, 3> handler_calls;
void* kept_over_fork = nullptr;

}  // namespace

CONTRACT_CASE(fork_handlers_allocate) {
  const auto prepare = [] {
    ++handler_calls[0];
    kept_over_fork = malloc(100'000);
    use_malloc();
  };
  const auto in_parent = [] {
    ++handler_calls[1];
    use_malloc();
    free(kept_over_fork);
  };
  const auto in_child = [] {
    ++handler_calls[2];
    use_malloc();
    free(kept_over_fork);
  };
  MUST(pthread_atfork(prepare, in_parent, in_child) == 0);
  const busy_threads others(2);
  for (unsigned round = 1; round <= 20; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);
      MUST(handler_calls[2] == 1);
      use_malloc();
      _exit(0);
    }
    must_end_well(child);
    MUST(handler_calls[0] == round && handler_calls[1] == round);
  }
}

// A library's constructor may register its handlers before malloc was ever called, so that they run while an
// allocator that registered later has its locks taken.
CONTRACT_CASE(fork_handlers_registered_before_malloc_was_used_allocate) {
  early_library_allocate_in_fork_handlers = true;
  const busy_threads others(2);
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);
      use_malloc();
      _exit(0);
    }
    must_end_well(child);
  }
  MUST(early_library_fork_handler_calls() == 40);
}

// vfork and posix_spawn share the parent's memory until exec; system() is what programs call.
CONTRACT_CASE(programs_are_started_while_threads_allocate) {
  const busy_threads others(2);
  for (int round = 0; round < 20; ++round) MUST(std::system("exit 3") == 3 << 8);
}
