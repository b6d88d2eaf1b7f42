#include <cistern/detail/base/thread_id.hpp>

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cistern::detail {
namespace {

constinit thread_local std::uint64_t known_id = 0;  // 0: not asked yet

void forget_after_fork() noexcept {
  known_id = 0;
}

bool forgets_after_fork() noexcept {
  return pthread_atfork(nullptr, nullptr, forget_after_fork) == 0;
}

std::uint64_t ask() noexcept {
  static const bool forgets = forgets_after_fork();
  const auto id = static_cast<std::uint64_t>(::syscall(SYS_gettid));
  if (forgets) known_id = id;  // Otherwise a child of a fork would be taken for its parent.
  return id;
}

}  // namespace

std::uint64_t thread_id() noexcept {
  return known_id != 0 ? known_id : ask();
}

}  // namespace cistern::detail
