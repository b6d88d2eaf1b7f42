#include "timing_process.hpp"

#include <cerrno>
#include <csignal>
#include <exception>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <system_error>

#include "../base/posix_call.hpp"
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cistern::tool {
namespace {

struct play_order {
  detail::play_way way;
  std::size_t repetitions;
  bool warm_up;
};

/// Whether all of it came; a message comes in one piece or not at all.
template <class Message>
[[nodiscard]] bool receive(int socket, Message& message) {
  return detail::without_interruption([&] { return ::recv(socket, &message, sizeof message, 0); }) ==
         static_cast<ssize_t>(sizeof message);
}

template <class Message>
[[nodiscard]] bool send(int socket, const Message& message) {
  return detail::without_interruption([&] {
           return ::send(socket, &message, sizeof message, MSG_NOSIGNAL);
         }) == static_cast<ssize_t>(sizeof message);
}

[[noreturn]] void obey(int socket, const replay_candidate& candidate, const detail::replay_script& script) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    detail::script_player player(script);
    for (play_order order{}; receive(socket, order);) {
      const std::unique_ptr<replay_resource> resource = candidate.make();
      const detail::play_result played =
          player.play(resource->get(), {.way = order.way,
                                        .repetitions = order.repetitions,
                                        .warm_up = order.warm_up,
                                        .chosen = resource->for_chosen(),
                                        .after_repetition = [&] { resource->end_replay(); }});
      if (!send(socket, played)) break;
    }
    ::_exit(0);
  } catch (const std::exception& error) {
    std::cerr << "cistern-trace: " << error.what() << '\n';
  }
  ::_exit(1);
}

}  // namespace

timing_process::timing_process(const replay_candidate& candidate, const detail::replay_script& script)
    : name_(candidate.name) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    throw std::system_error(errno, std::generic_category(), "socketpair");
  }
  process_ = ::fork();
  if (process_ == 0) {
    ::close(ends[0]);
    obey(ends[1], candidate, script);
  }
  const int error = errno;
  ::close(ends[1]);
  socket_ = ends[0];
  if (process_ > 0) return;
  ::close(socket_);
  throw std::system_error(error, std::generic_category(), "fork");
}

/// It is killed: those that were forked later hold its socket open as well.
timing_process::~timing_process() {
  ::close(socket_);
  ::kill(process_, SIGKILL);
  (void)detail::without_interruption([&]() -> ssize_t { return ::waitpid(process_, nullptr, 0); });
}

detail::play_result timing_process::play(detail::play_way way, std::size_t repetitions, bool warm_up) {
  detail::play_result played;
  if (send(socket_, play_order{way, repetitions, warm_up}) && receive(socket_, played)) return played;
  throw std::runtime_error("the process that was to replay on " + name_ + " has ended");
}

}  // namespace cistern::tool
