// What a hardened build finds beside that, and what it takes for it.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>

#include "contract.hpp"
#include <dlfcn.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

using contract::dies_saying;
using contract::ending_of;
using contract::hide;

namespace {

void only_hardened() {
  if (!contract::is_hardened()) contract::skip("only in hardened builds");
}

unsigned char* allocate(std::size_t bytes) {
  return static_cast<unsigned char*>(hide(malloc(bytes)));
}

void touch(volatile unsigned char* byte) {
  *byte = static_cast<unsigned char>(*byte ^ 0x41U);
}

/// Blocks of the pool, and such as have pages of their own.
constexpr std::size_t pooled[] = {1, 8, 24, 100, 1'000, 5'000, 100'000};
constexpr std::size_t mapped[] = {std::size_t{1} << 17U, std::size_t{1} << 20U, std::size_t{40} << 20U};

}  // namespace

CONTRACT_CASE(hardened_finds_what_was_written_behind_a_block) {
  only_hardened();
  for (const std::size_t bytes : pooled) {
    MUST(dies_saying("cistern: free(0x", "behind its end", [bytes] {
      unsigned char* const block = allocate(bytes);
      touch(block + bytes);
      free(block);
    }));
    MUST(dies_saying("cistern: realloc(0x", "behind its end", [bytes] {
      unsigned char* const block = allocate(bytes);
      touch(block + bytes);
      (void)hide(realloc(block, 2 * bytes));
    }));
    MUST(dies_saying("cistern: free(0x", "behind its end", [bytes] {  // of another size, where it is
      unsigned char* const block = static_cast<unsigned char*>(hide(realloc(allocate(2 * bytes), bytes)));
      touch(block + bytes);
      free(block);
    }));
  }
}

CONTRACT_CASE(hardened_closes_what_lies_around_large_blocks) {
  only_hardened();
  for (const std::size_t bytes : mapped) {
    for (const std::ptrdiff_t beside : {std::ptrdiff_t{0}, std::ptrdiff_t{0xfffff}}) {
      const auto behind = static_cast<std::ptrdiff_t>(bytes) + beside;
      MUST(ending_of([=] { touch(allocate(bytes) + behind); }).signal == SIGSEGV);
      MUST(ending_of([=] { touch(allocate(bytes) - 1 - beside); }).signal == SIGSEGV);
      MUST(ending_of([=] {  // grown
             touch(static_cast<unsigned char*>(hide(realloc(allocate(bytes), 4 * bytes))) - 1 - beside);
           })
               .signal == SIGSEGV);
    }
  }
}

CONTRACT_CASE(hardened_keeps_freed_large_blocks_closed) {
  only_hardened();
  for (const std::size_t bytes : mapped) {
    MUST(ending_of([bytes] {
           unsigned char* const block = allocate(bytes);
           touch(block);
           free(block);
           touch(block);
         }).signal == SIGSEGV);
    MUST(dies_saying("cistern: free(0x", "freed before", [bytes] {
      void* const block = allocate(bytes);
      free(block);
      for (int i = 0; i < 20; ++i) free(allocate(bytes));
      free(hide(block));
    }));
  }
}

CONTRACT_CASE(hardened_gives_large_addresses_back) {
  only_hardened();
  const std::size_t before = contract::mapped_bytes();
  for (int i = 0; i < 1'000; ++i) free(allocate(std::size_t{1} << 20U));
  malloc_trim(0);
  MUST(contract::mapped_bytes() < before + (std::size_t{64} << 20U));
}

CONTRACT_CASE(hardened_moves_large_blocks_whole) {
  only_hardened();
  std::size_t bytes = std::size_t{1} << 20U;
  unsigned char* block = allocate(bytes);
  contract::fill(block, bytes, 7);
  for (const std::size_t next : {std::size_t{3} << 20U, std::size_t{64} << 20U, std::size_t{2} << 20U}) {
    block = static_cast<unsigned char*>(realloc(block, next));
    MUST(block != nullptr && contract::is_filled(block, std::min(bytes, next), 7));
    contract::fill(block, next, 7);
    bytes = next;
  }
  free(block);
}

CONTRACT_CASE(hardened_leaves_alone_what_others_map_where_a_block_was) {
  only_hardened();
  constexpr std::size_t bytes = std::size_t{1} << 20U;
  for (int round = 0; round < 300; ++round) {
    unsigned char* const block = allocate(bytes);
    std::atomic<bool> ready = false;
    std::thread other([&ready, at = hide(block)] {
      constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
      void* others = MAP_FAILED;
      while (others == MAP_FAILED) {
        others = mmap(at, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
        ready = true;
      }
      MUST(others == at);
    });
    while (!ready) std::this_thread::yield();
    void* const moved = realloc(block, 3 * bytes);
    other.join();
    touch(hide(block));
    munmap(hide(block), bytes);
    free(moved);
  }
}

CONTRACT_CASE(hardened_has_blocks_of_no_bytes_that_nobody_touches) {
  only_hardened();
  unsigned char* const one = allocate(0);
  unsigned char* const other = allocate(0);
  MUST(one != nullptr && other != nullptr && one != other);
  MUST(malloc_usable_size(one) == 0);
  MUST(ending_of([=] { touch(one); }).signal == SIGSEGV);
  MUST(dies_saying("cistern: free(0x", "", [=] {
    free(one);
    free(hide(one));
  }));
  MUST(dies_saying("cistern: free(0x", "", [=] { free(hide(one + 1)); }));
  MUST(dies_saying("cistern: realloc(0x", "", [=] { (void)hide(realloc(hide(other + 1), 10)); }));
  auto* const grown = static_cast<unsigned char*>(realloc(one, 10));
  MUST(grown != nullptr);
  touch(grown + 9);
  free(grown);
  free(other);
  for (int i = 0; i < 3'000'000; ++i) free(allocate(0));  // more than there are addresses
}

CONTRACT_CASE(hardened_finds_a_double_free_by_another_thread) {
  only_hardened();
  for (const std::size_t bytes : pooled) {
    MUST(dies_saying("cistern: free(0x", "freed before", [bytes] {
      void* const block = allocate(bytes);
      std::thread([block] { free(block); }).join();
      free(hide(block));
    }));
  }
}

CONTRACT_CASE(hardened_knows_the_size_that_new_was_asked_for) {
  only_hardened();
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{100}, std::size_t{1} << 20U}) {
    ::operator delete(hide(::operator new(bytes)), bytes);
    MUST(dies_saying("cistern: operator delete(0x", "another size than new",
                     [bytes] { ::operator delete(hide(::operator new(bytes)), bytes + 1); }));
  }
  ::operator delete (hide(::operator new(0)), std::size_t{0});
}

CONTRACT_CASE(hardened_hands_out_no_old_content) {
  only_hardened();
  for (const std::size_t bytes : pooled) {
    for (int i = 0; i < 10; ++i) {
      unsigned char* const block = allocate(bytes);
      for (std::size_t at = 0; at < bytes; ++at) MUST(block[at] == 0);
      std::memset(block, 0xff, bytes);
      free(block);
    }
  }
}

CONTRACT_CASE(hardened_tells_a_handler) {
  only_hardened();
  using handler = void (*)(const char*);
  auto* const set =
      reinterpret_cast<handler (*)(handler)>(dlsym(RTLD_DEFAULT, "cistern_heap_set_misuse_handler"));
  MUST(set != nullptr);
  const contract::ending seen = ending_of([set] {
    set([](const char* text) {
      std::fprintf(stderr, "heard: %s", text);
      _exit(3);
    });
    void* const block = allocate(100);
    free(block);
    free(hide(block));
  });
  MUST(seen.signal == 0);
  MUST(std::strstr(seen.text.data(), "heard: cistern: free(0x") != nullptr);
}
