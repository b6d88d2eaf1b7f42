// What test/record/record_test.py records: a program that does what its first argument says, with sizes by
// which its own calls are known in the trace from those of the libraries.
#include <cistern/record.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Stands in for the C library's, which may find no memory.
// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): the C library's name
extern "C" int __register_atfork(void (*before)(), void (*in_parent)(), void (*in_child)(), void* module) {
  if (std::getenv("NO_MEMORY_FOR_FORKS") != nullptr) return ENOMEM;
  using function = int(void (*)(), void (*)(), void (*)(), void*);
  return reinterpret_cast<function*>(::dlsym(RTLD_NEXT, "__register_atfork"))(before, in_parent, in_child,
                                                                              module);
}

// The recorder's tables come from there, and nothing of the program or the C library does.
// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name,cert-dcl50-cpp): as the C library has it
extern "C" void* mmap(void* address, std::size_t bytes, int protection, int flags, int file,
                      off_t offset) noexcept {
  static std::atomic<long> calls{0};
  const char* const served = std::getenv("PAGES_ARE_REFUSED_AFTER");
  if (served != nullptr && calls.fetch_add(1) >= std::atol(served)) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  // NOLINTNEXTLINE(performance-no-int-to-ptr): what the system returns
  return reinterpret_cast<void*>(::syscall(SYS_mmap, address, bytes, protection, flags, file, offset));
}

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "recorded_program: %s\n", what);
  std::_Exit(3);
}

/// So that the compiler leaves out no call.
void* volatile seen = nullptr;

void* kept(void* block) {
  seen = block;
  return block;
}

void every_function() {
  void* block = kept(std::malloc(10'001));
  block = kept(std::realloc(block, 10'002));
  block = kept(::reallocarray(block, 10'003, 2));
  require(kept(std::realloc(block, PTRDIFF_MAX)) == nullptr, "got half of the address space");
  std::free(block);
  std::free(kept(std::calloc(10'005, 3)));
  std::free(kept(std::realloc(nullptr, 10'006)));
  require(std::realloc(kept(std::malloc(10'007)), 0) == nullptr, "a block of no bytes");
  require(::posix_memalign(&block, 256, 10'008) == 0, "posix_memalign");
  std::free(kept(block));
  require(::posix_memalign(&block, 3, 10'009) != 0, "an impossible alignment");
  std::free(kept(std::aligned_alloc(512, 10'240)));
  std::free(kept(::memalign(1024, 10'011)));
  std::free(kept(::valloc(10'012)));
  std::free(kept(::pvalloc(10'013)));
  require(kept(std::malloc(PTRDIFF_MAX)) == nullptr, "got half of the address space");
  ::operator delete(kept(::operator new(10'014)));
  ::operator delete(kept(::operator new(10'016, std::align_val_t(2048))), std::align_val_t(2048));
  std::free(nullptr);
}

/// Each thread frees what it or another one has allocated. In the trace, threads share addresses.
void threads(int count, int rounds) {
  std::mutex mutex;
  std::vector<void*> shared;
  shared.reserve(static_cast<std::size_t>(count * rounds));
  std::vector<std::thread> all;
  for (int number = 0; number < count; ++number) {
    all.emplace_back([&, bytes = std::size_t{20'001} + static_cast<std::size_t>(number)] {
      for (int i = 0; i < rounds; ++i) {
        std::free(kept(std::realloc(kept(std::malloc(64)), bytes)));
        void* const mine = kept(std::malloc(bytes));
        void* others = nullptr;
        {
          const std::lock_guard hold(mutex);
          shared.push_back(mine);
          if (i % 3 != 0) {
            others = shared.front();
            shared.front() = shared.back();
            shared.pop_back();
          }
        }
        std::free(others);
      }
    });
  }
  for (std::thread& each : all) each.join();
  for (void* block : shared) std::free(block);
}

void many(int count) {
  for (int i = 0; i < count; ++i) std::free(kept(std::malloc(30'001)));
}

void keeps(int count) {
  for (int i = 0; i < count; ++i) (void)kept(std::malloc(101));
}

[[noreturn]] void become(const char* how) {
  char self[4096];
  const ssize_t length = ::readlink("/proc/self/exe", self, sizeof self - 1);
  require(length > 0, "readlink");
  self[length] = '\0';
  if (std::strcmp(how, "execl") == 0) ::execl(self, self, "many", "7", static_cast<char*>(nullptr));
  if (std::strcmp(how, "execle") == 0)
    ::execle(self, self, "many", "7", static_cast<char*>(nullptr), environ);
  if (std::strcmp(how, "execlp") == 0) ::execlp(self, self, "many", "7", static_cast<char*>(nullptr));
  char many_argument[] = "many";
  char seven[] = "7";
  char* const arguments[] = {self, many_argument, seven, nullptr};
  if (std::strcmp(how, "execv") == 0) ::execv(self, arguments);
  if (std::strcmp(how, "execvp") == 0) ::execvp(self, arguments);
  if (std::strcmp(how, "execvpe") == 0) ::execvpe(self, arguments, environ);
  if (std::strcmp(how, "execve") == 0) ::execve(self, arguments, environ);
  if (std::strcmp(how, "fexecve") == 0) ::fexecve(::open(self, O_RDONLY), arguments, environ);
  require(false, "exec");
  std::abort();
}

void failing_exec() {
  many(3);
  require(::execl("/no/such/program", "x", static_cast<char*>(nullptr)) == -1, "there is such a program");
  many(4);
}

void wait_for_child(pid_t child) {
  int status = 0;
  require(::waitpid(child, &status, 0) == child && status == 0, "the child failed");
}

/// Prints where each function of a stack called the one inside of it, as addresses in the program's file, and
/// allocates innermost.
[[gnu::noinline]] void say_place(const void* return_address) {
  std::uintptr_t load_address = 0;
  ::dl_iterate_phdr(
      [](dl_phdr_info* program, std::size_t, void* to) {
        *static_cast<std::uintptr_t*>(to) = program->dlpi_addr;
        return 1;
      },
      &load_address);
  std::printf("0x%jx\n", static_cast<std::uintmax_t>(reinterpret_cast<std::uintptr_t>(return_address) - 1 -
                                                     load_address));
}

[[gnu::noinline]] void innermost(int rounds) {
  say_place(__builtin_return_address(0));
  for (int i = 0; i < rounds; ++i) std::free(kept(std::realloc(kept(std::malloc(40'001)), 40'002)));
}

[[gnu::noinline]] void within(int rounds) {
  say_place(__builtin_return_address(0));
  char* const room = static_cast<char*>(__builtin_alloca(static_cast<std::size_t>(rounds) * 100));
  kept(room);
  innermost(rounds);
  kept(room);
}

[[gnu::noinline]] void nested(int rounds) {
  say_place(__builtin_return_address(0));
  within(rounds);
  kept(nullptr);
}

[[gnu::noinline]] void deep(int depth) {
  if (depth == 0) {
    std::free(kept(std::malloc(40'003)));
  } else {
    deep(depth - 1);
  }
  kept(nullptr);
}

/// A library that allocates comes and goes.
void loads_and_unloads(const char* library) {
  for (int i = 0; i < 20; ++i) {
    void* const loaded = ::dlopen(library, RTLD_NOW);
    require(loaded != nullptr, "dlopen");
    const auto allocates = reinterpret_cast<void* (*)(std::size_t)>(::dlsym(loaded, "allocates"));
    require(allocates != nullptr, "dlsym");
    std::free(kept(allocates(40'004)));
    require(::dlclose(loaded) == 0, "dlclose");
  }
}

void forks() {
  many(5);
  const pid_t child = ::fork();
  if (child == 0) {
    many(6);
    std::exit(0);
  }
  wait_for_child(child);
  many(2);
}

/// The C library's way to start programs shares the parent's memory.
void runs_others() {
  many(5);
  require(std::system("true") == 0, "system");
  const pid_t child = ::vfork();
  if (child == 0) ::_exit(0);
  wait_for_child(child);
  many(6);
}

void forks_while_threads_allocate() {
  std::atomic<bool> stop = false;
  std::thread other([&] {
    for (int i = 0; i < 3000 && (i < 10 || !stop); ++i) many(10);
  });
  for (int i = 0; i < 8; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      many(100);
      ::_exit(0);
    }
    wait_for_child(child);
  }
  stop = true;
  other.join();
}

/// Another file gets the number that the trace had.
void closes_everything(const char* file) {
  many(1);
  for (int i = 3; i < 1024; ++i) ::close(i);
  std::vector<int> files;
  for (int i = 3; i < 1024; ++i) {
    const int descriptor = ::open(file, O_RDWR | O_CREAT, 0600);
    if (descriptor < 0) break;
    files.push_back(descriptor);
  }
  many(20'000);
}

void bounded_files() {
  const rlimit limit{100'000, 100'000};
  require(::setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit");
  many(30'000);
  std::puts("went on");
}

/// All that was recorded is in the file, but the end mark doesn't fit any more.
void bounded_end() {
  many(5);
  for (int i = 0; i < 2; ++i) {  // The second round is the one that makes room.
    require(::execl("/no/such/program", "x", static_cast<char*>(nullptr)) == -1, "there is such a program");
    if (i == 0) many(1);
  }
  struct stat trace {};
  require(::stat(std::getenv("CISTERN_RECORD_TO"), &trace) == 0, "stat");
  const rlim_t bytes = static_cast<rlim_t>(trace.st_size) - 1;
  const rlimit limit{bytes, bytes};
  require(::setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit");
  ::_exit(4);
}

/// A thread is in the midst of it when the process ends.
void ends_among_threads() {
  std::atomic<int> begun = 0;
  for (int i = 0; i < 3; ++i) {
    std::thread([&] {
      ++begun;
      for (;;) many(10);
    }).detach();
  }
  while (begun != 3) std::this_thread::yield();
  many(200);
  std::exit(0);
}

/// The thread that the signal comes to is in the midst of an allocation, or of recording it.
void ends_in_a_handler() {
  std::signal(SIGUSR1, [](int) { ::_exit(4); });
  std::atomic<bool> busy = false;
  const pthread_t self = ::pthread_self();
  std::thread([&] {
    while (!busy) std::this_thread::yield();
    ::pthread_kill(self, SIGUSR1);
    for (;;) ::pause();
  }).detach();
  for (;;) {
    many(100);
    busy = true;
  }
}

/// `malloc` is no cancellation point, so this one comes later.
void is_cancelled() {
  pthread_t thread{};
  const auto cancels_itself = [](void*) -> void* {
    ::pthread_cancel(::pthread_self());
    many(20'000);
    ::pthread_testcancel();
    return nullptr;
  };
  require(::pthread_create(&thread, nullptr, cancels_itself, nullptr) == 0, "pthread_create");
  void* result = nullptr;
  require(::pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED, "wasn't cancelled");
}

int ack_pipe[2];

/// Forks in a handler, of a process with one thread: the C library allows it there only. Another process
/// sends the signals, each when the one before was handled.
void forks_in_a_handler() {
  static volatile std::sig_atomic_t forked = 0;
  require(::pipe(ack_pipe) == 0, "pipe");
  std::signal(SIGUSR1, [](int) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    int status = 0;
    if (::waitpid(child, &status, 0) != child || status != 0) std::_Exit(3);
    forked = forked + 1;
    (void)!::write(ack_pipe[1], "", 1);
  });
  const pid_t parent = ::getpid();
  const pid_t sender = ::fork();
  if (sender == 0) {
    for (int i = 0; i < 5; ++i) {
      char ack = 0;
      if (::kill(parent, SIGUSR1) != 0 || ::read(ack_pipe[0], &ack, 1) != 1) ::_exit(1);
    }
    ::_exit(0);
  }
  while (forked < 5) many(10);
  wait_for_child(sender);
}

/// A part of it, by what the recorder exports. In a program that isn't recorded nothing happens.
void starts_and_stops(int expected) {
  std::vector<void*> blocks;  // Its own memory is of another size.
  blocks.reserve(4);
  const auto allocates = [&](std::size_t bytes) { blocks.push_back(kept(std::malloc(bytes))); };
  allocates(50'001);
  require(cistern_start_recording() == expected, "cistern_start_recording");
  allocates(50'002);
  std::free(blocks[0]);  // Not known to the trace.
  allocates(50'003);
  require(cistern_stop_recording() == expected, "cistern_stop_recording");
  std::free(blocks[1]);
  void* moved = kept(std::realloc(blocks[2], 50'013));
  std::free(kept(std::malloc(50'004)));
  void* other = kept(std::realloc(kept(std::malloc(50'005)), 50'015));
  require(cistern_start_recording() == expected, "cistern_start_recording again");
  std::free(moved);
  other = kept(std::realloc(other, 50'025));
  std::free(other);
}

/// Another thread allocates while this one starts and stops. A fork takes the state along.
void toggles_among_threads(int signal) {
  std::atomic<bool> stop = false;
  std::vector<std::thread> others;
  for (int i = 0; i < 3; ++i) {
    others.emplace_back([&] {
      while (!stop) many(20);
    });
  }
  for (int i = 0; i < 200; ++i) {
    many(5);
    if (signal != 0) {
      ::raise(signal);
    } else {
      (void)(i % 2 == 0 ? cistern_stop_recording() : cistern_start_recording());
    }
    if (i % 50 != 0) continue;
    const pid_t child = ::fork();
    if (child == 0) {
      many(100);
      ::_exit(0);
    }
    wait_for_child(child);
  }
  stop = true;
  for (std::thread& each : others) each.join();
}

/// Who sends the signals is told when it may, and waits until they have come.
void is_toggled() {
  const auto waits = [] {
    std::puts("ready");
    std::fflush(stdout);
    (void)std::getchar();
  };
  for (int i = 1; i <= 3; ++i) {
    many(10 * i);
    waits();
  }
  many(40);
}

struct late {
  ~late() { many(8); }
};

void after_main() {
  static late object;
  std::atexit([] { many(9); });
}

}  // namespace

int main(int count, char** arguments) {
  const std::string what = count > 1 ? arguments[1] : "";
  const auto argument = [&](int i) { return count > i ? arguments[i] : arguments[0]; };
  const auto number = [&](int i) { return count > i ? std::atoi(arguments[i]) : 0; };
  const std::map<std::string, std::function<void()>> all = {
      {"every_function", every_function},
      {"threads", [&] { threads(number(2), number(3)); }},
      {"many", [&] { many(number(2)); }},
      {"keeps", [&] { keeps(number(2)); }},
      {"starts_and_stops", [&] { starts_and_stops(number(2)); }},
      {"toggles_among_threads", [&] { toggles_among_threads(number(2)); }},
      {"is_toggled", is_toggled},
      {"status", [&] { std::exit(number(2)); }},
      {"_exit", [] { many(11), ::_exit(4); }},
      {"_Exit", [] { many(11), std::_Exit(4); }},
      {"quick_exit", [] { many(11), std::quick_exit(4); }},
      {"abort", [&] { many(number(2)), std::abort(); }},
      {"kill", [&] { many(number(2)), ::raise(SIGKILL); }},
      {"exec", [&] { many(12), become(argument(2)); }},
      {"failing_exec", failing_exec},
      {"nested", [&] { nested(number(2)); }},
      {"deep", [&] { deep(number(2)); }},
      {"loads_and_unloads", [&] { loads_and_unloads(argument(2)); }},
      {"forks", forks},
      {"forks_while_threads_allocate", forks_while_threads_allocate},
      {"runs_others", runs_others},
      {"closes_everything", [&] { closes_everything(argument(2)); }},
      {"bounded_files", bounded_files},
      {"bounded_end", bounded_end},
      {"ends_among_threads", ends_among_threads},
      {"ends_in_a_handler", ends_in_a_handler},
      {"forks_in_a_handler", forks_in_a_handler},
      {"is_cancelled", is_cancelled},
      {"after_main", after_main},
      {"environment", [] { std::puts(std::getenv("SOMETHING")); }},
  };
  const auto found = all.find(what);
  require(found != all.end(), "no such thing to do");
  found->second();
  return 0;
}
