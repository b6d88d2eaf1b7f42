// The C library refuses what the heap needs to know of threads that end (REFUSED_KEY) or of forks: malloc
// works all the same.
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {
int refusals = 0;
}  // namespace

#ifdef REFUSED_KEY
extern "C" int pthread_key_create(pthread_key_t*, void (*)(void*)) noexcept {
  ++refusals;
  return EAGAIN;
}
#else
// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): the C library's name
extern "C" int __register_atfork(void (*)(), void (*)(), void (*)(), void*) noexcept {
  ++refusals;
  return ENOMEM;
}
#endif

namespace {

void allocate_all_sizes() {
  for (std::size_t bytes = 1; bytes < 100'000; bytes += bytes / 7 + 1) {
    auto* const block = static_cast<char*>(std::realloc(std::malloc(bytes), 2 * bytes));
    if (block == nullptr) std::_Exit(2);
    block[2 * bytes - 1] = 'x';
    std::free(block);
    const std::string text(bytes, 'x');
    if (text.back() != 'x') std::_Exit(3);
  }
}

}  // namespace

int main() {
  ::alarm(60);
  allocate_all_sizes();
  std::thread(allocate_all_sizes).join();
  const pid_t child = ::fork();
  if (child == 0) {
    allocate_all_sizes();
    std::_Exit(0);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0) return 4;
  std::puts(refusals != 0 ? "refused, and fine" : "nothing was refused");
}
