#include "object_pools/go_pools.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <stdexcept>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace perf {

namespace {

struct pipe_ends {
  int read = -1;
  int write = -1;
};

pipe_ends make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    throw std::runtime_error("cannot make a pipe");
  }
  return {ends[0], ends[1]};
}

}  // namespace

go_pools::go_pools(const std::string& program) {
  std::signal(SIGPIPE, SIG_IGN);  // a program that ended is noticed by its silence
  const pipe_ends questions = make_pipe();
  const pipe_ends answers = make_pipe();
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, questions.read, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, answers.write, STDOUT_FILENO);
  std::string name = program;
  char* const arguments[] = {name.data(), nullptr};
  const int error = ::posix_spawn(&process_, program.c_str(), &actions, nullptr, arguments, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(questions.read);
  ::close(answers.write);
  to_ = questions.write;
  from_ = answers.read;
  if (error != 0) {
    throw std::runtime_error("cannot start " + program);
  }
  version_ = ask("?");
}

go_pools::~go_pools() {
  ::close(to_);  // the end of its input ends it
  ::close(from_);
  ::waitpid(process_, nullptr, 0);
}

std::string go_pools::ask(const std::string& line) {
  const std::string question = line + '\n';
  std::string answer;
  bool heard = ::write(to_, question.data(), question.size()) == static_cast<ssize_t>(question.size());
  for (char c = 0; heard && (heard = ::read(from_, &c, 1) == 1) && c != '\n';) {
    answer += c;
  }
  if (!heard) {
    throw std::runtime_error("the Go program doesn't answer");
  }
  return answer;
}

pool_contestant go_pools::contestant(const std::string& shape, const std::string& counterpart) {
  return {
      "Go " + shape,
      [this, shape](const pool_workload& what, std::size_t uses) {
        return std::stod(ask(shape + ' ' + std::to_string(what.threads) + ' ' + std::to_string(what.objects) +
                             ' ' + std::to_string(std::max<std::size_t>(uses, what.threads))));
      },
      counterpart};
}

std::vector<pool_contestant> go_pools::contestants(const pool_workload& what) {
  if (what.coroutines) {
    return {};
  }
  std::vector<pool_contestant> all{contestant("channel", "shared fifo"),
                                   contestant("mutex+slice", "shared lifo")};
  if (!what.waits) {
    all.push_back(contestant("channel+factory", "shared elastic"));
    all.push_back(contestant("sync.Pool", "per_thread"));
  }
  return all;
}

}  // namespace perf
