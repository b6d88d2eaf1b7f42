// The functions of libcistern-record.so by which a process ends, or becomes another program, without a word
// to its destructors: what was recorded is written out before. Parameters have the names they have in the C
// library.
#include <cstdarg>
#include <cstddef>

#include "next_malloc.hpp"
#include "recorded_process.hpp"
#include <sys/syscall.h>
#include <unistd.h>

#define CISTERN_EXPORT_C extern "C" __attribute__((visibility("default")))

namespace {

using cistern::detail::next_function;
using cistern::detail::recorded_process::may_end;

template <class Function>
Function* behind(const char* name) noexcept {
  return reinterpret_cast<Function*>(next_function(name));
}

[[noreturn]] void end_now(int status) noexcept {
  may_end();
  for (;;) ::syscall(SYS_exit_group, status);
}

/// How many arguments there are, with the null that ends them.
std::size_t count_arguments(std::va_list arguments) noexcept {
  std::size_t count = 2;  // The first has a name of its own.
  while (va_arg(arguments, char*) != nullptr) ++count;
  return count;
}

void copy_arguments(char** to, const char* first, std::va_list arguments) noexcept {
  *to++ = const_cast<char*>(first);
  while ((*to++ = va_arg(arguments, char*)) != nullptr) {
  }
}

}  // namespace

CISTERN_EXPORT_C void _exit(int status) {
  end_now(status);
}

CISTERN_EXPORT_C void _Exit(int status) noexcept {
  end_now(status);
}

CISTERN_EXPORT_C void quick_exit(int status) noexcept {
  may_end();
  behind<void(int)>("quick_exit")(status);
  end_now(status);
}

CISTERN_EXPORT_C int execve(const char* path, char* const argv[], char* const envp[]) noexcept {
  may_end();
  return behind<decltype(execve)>("execve")(path, argv, envp);
}

CISTERN_EXPORT_C int execv(const char* path, char* const argv[]) noexcept {
  return execve(path, argv, environ);
}

CISTERN_EXPORT_C int execvpe(const char* file, char* const argv[], char* const envp[]) noexcept {
  may_end();
  return behind<decltype(execvpe)>("execvpe")(file, argv, envp);
}

CISTERN_EXPORT_C int execvp(const char* file, char* const argv[]) noexcept {
  return execvpe(file, argv, environ);
}

CISTERN_EXPORT_C int fexecve(int fd, char* const argv[], char* const envp[]) noexcept {
  may_end();
  return behind<decltype(fexecve)>("fexecve")(fd, argv, envp);
}

// The lists become arrays on the stack: between `vfork` and here nothing may be allocated.
// NOLINTNEXTLINE(bugprone-macro-parentheses): the name of a variable
#define CISTERN_ARGUMENTS_TO(array)                                                  \
  std::va_list counted;                                                              \
  va_start(counted, arg);                                                            \
  const std::size_t count = count_arguments(counted);                                \
  va_end(counted);                                                                   \
  char** const array = static_cast<char**>(__builtin_alloca(count * sizeof(char*))); \
  std::va_list arguments;                                                            \
  va_start(arguments, arg);                                                          \
  copy_arguments(array, arg, arguments)

CISTERN_EXPORT_C int execl(const char* path, const char* arg, ...) noexcept {
  CISTERN_ARGUMENTS_TO(argv);
  va_end(arguments);
  return execv(path, argv);
}

CISTERN_EXPORT_C int execlp(const char* file, const char* arg, ...) noexcept {
  CISTERN_ARGUMENTS_TO(argv);
  va_end(arguments);
  return execvp(file, argv);
}

CISTERN_EXPORT_C int execle(const char* path, const char* arg, ...) noexcept {
  CISTERN_ARGUMENTS_TO(argv);
  va_end(arguments);
  va_start(arguments, arg);
  for (std::size_t i = 1; i < count; ++i) (void)va_arg(arguments, char*);
  char** const envp = va_arg(arguments, char**);
  va_end(arguments);
  return execve(path, argv, envp);
}
