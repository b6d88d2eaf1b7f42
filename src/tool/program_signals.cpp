#include "program_signals.hpp"

#include <atomic>
#include <cerrno>
#include <cstddef>

namespace cistern::tool {
namespace {

std::atomic<pid_t> signalled_program{0};
static_assert(std::atomic<pid_t>::is_always_lock_free);

void set_handler(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  ::sigaction(signal, &action, nullptr);
}

void hand_on(int signal) {
  set_handler(signal, [](int number) {
    const int error = errno;
    const pid_t to = signalled_program.load(std::memory_order_relaxed);
    if (to > 0) ::kill(to, number);
    errno = error;
  });
}

}  // namespace

program_signals::program_signals(int toggle_signal) : toggle_signal_(toggle_signal) {
  sigset_t waiting;
  ::sigemptyset(&waiting);
  for (const int signal : ending) ::sigaddset(&waiting, signal);
  if (toggle_signal_ != 0) ::sigaddset(&waiting, toggle_signal_);
  ::sigprocmask(SIG_BLOCK, &waiting, &mask_before_);
  for (std::size_t i = 0; i < ending.size(); ++i) ::sigaction(ending[i], nullptr, &actions_before_[i]);
}

program_signals::~program_signals() {
  signalled_program.store(0, std::memory_order_relaxed);
  if (toggle_signal_ != 0) set_handler(toggle_signal_, SIG_IGN);
  for (std::size_t i = 0; i < ending.size(); ++i) ::sigaction(ending[i], &actions_before_[i], nullptr);
  ::sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
}

void program_signals::are_childs() const {
  if (toggle_signal_ != 0) set_handler(toggle_signal_, SIG_IGN);
  ::sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
}

void program_signals::are_for(pid_t program) {
  signalled_program.store(program, std::memory_order_relaxed);
  for (std::size_t i = 0; i < ending.size(); ++i) {
    const bool is_key = ending[i] == SIGINT || ending[i] == SIGQUIT;
    if (is_key || actions_before_[i].sa_handler == SIG_IGN) {
      set_handler(ending[i], SIG_IGN);
    } else {
      hand_on(ending[i]);
    }
  }
  if (toggle_signal_ != 0) hand_on(toggle_signal_);
  ::sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
}

}  // namespace cistern::tool
