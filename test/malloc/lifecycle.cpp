// Before main, after main, and with libraries that come and go.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "contract.hpp"
#include "early_library.hpp"
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

using contract::fill;
using contract::hide;
using contract::is_filled;

namespace {

void* from_preinit = nullptr;
void* from_constructor = nullptr;

// What is allocated so early is allocated before the C library knows the environment.
void before_everything(int /*count*/, char** /*arguments*/, char** environment) {
  for (; *environment != nullptr; ++environment) {
    if (std::strncmp(*environment, "CISTERN_SAMPLE_GUARD=", 21) == 0) return;
  }
  from_preinit = malloc(700);
  if (from_preinit != nullptr) fill(from_preinit, 700, 1);
}

// Runs before the constructor of any library, the allocator's own included.
__attribute__((section(".preinit_array"), used)) void (*const preinit)(int, char**,
                                                                       char**) = before_everything;

__attribute__((constructor(101))) void before_main() {
  from_constructor = calloc(70, 10);
  if (from_constructor != nullptr) fill(from_constructor, 700, 2);
  free(malloc(200'000));
}

/// Every byte of a block.
bool consists_of(const void* block, std::size_t bytes, unsigned char value) {
  const auto* const at = static_cast<const unsigned char*>(block);
  for (std::size_t i = 0; i < bytes; ++i) {
    if (at[i] != value) return false;
  }
  return true;
}

}  // namespace

CONTRACT_CASE(blocks_from_before_main) {
  if (contract::guarded_one_in() != 0) contract::skip("there are none from so early");
  MUST(from_preinit != nullptr && from_constructor != nullptr);
  MUST(is_filled(from_preinit, 700, 1));
  MUST(is_filled(from_constructor, 700, 2));
  MUST(consists_of(early_library_block(), 1000, 0x33));
  from_preinit = realloc(from_preinit, 70'000);
  MUST(from_preinit != nullptr);
  MUST(is_filled(from_preinit, 700, 1));
  free(from_preinit);
  std::thread([] { free(from_constructor); }).join();
  free(early_library_block());
}

namespace {

int ends = 0;

/// Registered first, so called last; it alone makes the case a success.
void judge() {
  _exit(ends == 2 ? 0 : 1);
}

void* freed_at_exit = nullptr;

struct static_object {
  std::vector<std::string> strings{1000, std::string(50, 'x')};
  void* block = nullptr;
  ~static_object() {
    MUST(strings.back().size() == 50);
    if (block == nullptr) return;
    MUST(is_filled(block, 5000, 3));
    free(block);
    ++ends;
  }
};

}  // namespace

CONTRACT_CASE(blocks_are_freed_after_main) {
  MUST(std::atexit(judge) == 0);
  static static_object lives_to_the_end;
  lives_to_the_end.block = malloc(5000);
  fill(lives_to_the_end.block, 5000, 3);
  freed_at_exit = malloc(10'000);
  fill(freed_at_exit, 10'000, 4);
  MUST(std::atexit([] {
         MUST(is_filled(freed_at_exit, 10'000, 4));
         free(freed_at_exit);
         free(hide(malloc(100)));
         ++ends;
       }) == 0);
  std::exit(1);
}

// exit() while other threads go on allocating: no crash, no deadlock.
CONTRACT_CASE(the_process_ends_while_threads_allocate) {
  for (int index = 0; index < 3; ++index) {
    std::thread([] {
      contract::random_numbers random(1);
      for (;;) free(hide(malloc(random.size(17))));
    }).detach();
  }
  for (int i = 0; i < 10'000; ++i) free(hide(malloc(static_cast<std::size_t>(i))));
  std::exit(0);
}

CONTRACT_CASE(libraries_are_loaded_and_unloaded) {
  std::vector<void*> given;
  for (int round = 0; round < 200; ++round) {
    void* const library = dlopen(CONTRACT_PLUGIN, RTLD_NOW | RTLD_LOCAL);
    MUST(library != nullptr);
    auto* const gives = reinterpret_cast<void* (*)()>(dlsym(library, "plugin_gives_away"));
    MUST(gives != nullptr);
    given.push_back(gives());
    std::thread([&] { given.push_back(gives()); }).join();
    MUST(dlclose(library) == 0);
  }
  for (void* block : given) {
    MUST(consists_of(block, 2000, 0x55));
    free(block);
  }
}

CONTRACT_CASE(libraries_are_loaded_by_a_thread_while_others_allocate) {
  std::vector<std::thread> team;
  for (int index = 0; index < 2; ++index) {
    team.emplace_back([] {
      for (int round = 0; round < 100; ++round) {
        void* const library = dlopen(CONTRACT_PLUGIN, RTLD_NOW | RTLD_LOCAL);
        MUST(library != nullptr);
        for (int i = 0; i < 100; ++i) free(hide(malloc(static_cast<std::size_t>(i * 10))));
        MUST(dlclose(library) == 0);
      }
    });
  }
  for (auto& one : team) one.join();
}

// dlerror's text is glibc's own, kept for each thread and freed at its end.
CONTRACT_CASE(dlerror_texts_are_freed_at_a_threads_end) {
  for (int round = 0; round < 100; ++round) {
    std::thread([] {
      MUST(dlopen("/no/such/library.so", RTLD_NOW) == nullptr);
      MUST(dlerror() != nullptr);
      MUST(dlsym(RTLD_DEFAULT, "no_such_symbol_anywhere") == nullptr);
    }).join();
  }
}
