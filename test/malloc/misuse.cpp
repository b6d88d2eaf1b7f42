// What can't be right: the process ends with a line that names the function and the address.
#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "contract.hpp"
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using contract::hide;

namespace {

/// Whether the child aborts with a line on stderr that contains both.
template <class Action>
bool dies_saying(const char* start, const char* end, Action action) {
  std::array<int, 2> ends{};
  MUST(pipe(ends.data()) == 0);
  const pid_t child = fork();
  MUST(child >= 0);
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    action();
    _exit(0);
  }
  close(ends[1]);
  std::array<char, 512> text{};
  std::size_t used = 0;
  for (ssize_t got = 0; (got = read(ends[0], text.data() + used, text.size() - 1 - used)) > 0;) {
    used += static_cast<std::size_t>(got);
  }
  close(ends[0]);
  int state = 0;
  MUST(waitpid(child, &state, 0) == child);
  const bool good = WIFSIGNALED(state) && WTERMSIG(state) == SIGABRT &&
                    std::strstr(text.data(), start) != nullptr && std::strstr(text.data(), end) != nullptr;
  if (!good) std::fprintf(stderr, "expected %s...%s, and got state %d: %s\n", start, end, state, text.data());
  return good;
}

void only_for_cistern() {
  if (!contract::is_cistern()) contract::skip("others say it in other words");
}

constexpr std::array<std::size_t, 6> sizes{1, 100, 5'000, 200'000, 1'000'000, 50'000'000};

}  // namespace

CONTRACT_CASE(a_double_free_is_found) {
  only_for_cistern();
  for (const std::size_t bytes : sizes) {
    MUST(dies_saying("cistern: free(0x", "", [bytes] {
      void* const block = malloc(bytes);
      void* const other = malloc(bytes);
      free(hide(block));
      free(hide(other));
      free(hide(block));
    }));
    MUST(dies_saying("cistern: realloc(0x", "", [bytes] {
      void* const block = malloc(bytes);
      free(hide(block));
      (void)hide(realloc(hide(block), 77));
    }));
  }
  MUST(dies_saying("cistern: operator delete(0x", "freed before", [] {
    void* const block = ::operator new(hide(std::size_t{100}));
    ::operator delete(hide(block));
    ::operator delete (hide(block), std::size_t{100});
  }));
}

CONTRACT_CASE(an_address_inside_a_block_is_found) {
  only_for_cistern();
  for (const std::size_t bytes : sizes) {
    for (const std::size_t offset :
         {std::size_t{1}, std::size_t{8}, std::size_t{4096}, std::size_t{65'536}}) {
      if (offset >= bytes || (offset == 4096 && bytes < 1'000'000)) continue;
      if (offset == 65'536 && bytes < 1'000'000 && !contract::is_checked()) continue;
      MUST(dies_saying("cistern: free(0x", "): not the ",
                       [=] { free(hide(static_cast<char*>(malloc(bytes)) + offset)); }));
      MUST(dies_saying("cistern: realloc(0x", "): not the ",
                       [=] { (void)hide(realloc(hide(static_cast<char*>(malloc(bytes)) + offset), 10)); }));
    }
  }
}

CONTRACT_CASE(an_address_that_was_never_allocated_is_found) {
  only_for_cistern();
  static std::array<char, 64> elsewhere{};
  MUST(dies_saying("cistern: free(0x", "not the address of a block in use",
                   [] { free(hide(&elsewhere[16])); }));
  MUST(dies_saying("cistern: free(0x", "not the address of a block in use", [] {
    std::array<char, 64> here{};
    free(hide(here.data() + 16));
  }));
  MUST(dies_saying("cistern: realloc(0x", "not the address of a block in use",
                   [] { (void)hide(realloc(hide(static_cast<void*>(&elsewhere)), 10)); }));
  MUST(dies_saying("cistern: free(0x7000)", "not the address",
                   [] { free(hide(reinterpret_cast<void*>(std::uintptr_t{0x7000}))); }));
}

CONTRACT_CASE(a_foreign_pointer_is_reported) {
  if (!contract::is_checked()) contract::skip("only in checked builds");
  static std::array<char, 4096> not_from_malloc{};
  MUST(dies_saying("cistern: ", "", [] { free(hide(not_from_malloc.data() + 64)); }));
}
