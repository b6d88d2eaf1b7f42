// CISTERN_SAMPLE_GUARD=N: one block in N lies against a guard page, whatever function it came from and goes
// back by; what is done to it when it is freed, or beside it, is told. Run with the variable set.
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>

#include "contract.hpp"
#include <malloc.h>
#include <unistd.h>

using contract::dies_saying;
using contract::fill;
using contract::hide;
using contract::is_aligned;
using contract::is_filled;

namespace {

std::size_t one_in() {
  const std::size_t number = contract::guarded_one_in();
  if (number == 0) contract::skip("only with the sampled guard");
  return number;
}

bool is_readable(const char* address) {
  return access(address, F_OK) == 0 || errno != EFAULT;  // the kernel takes it for a path
}

/// A guarded block has a page between two that are closed.
bool is_guarded(const void* block) {
  constexpr std::uintptr_t page_bytes = 4096;
  const auto* const page =
      reinterpret_cast<const char*>(reinterpret_cast<std::uintptr_t>(block) & -page_bytes);
  return !is_readable(page - 1) && !is_readable(page + page_bytes);
}

/// The next block that `allocate` gives and that is guarded, or isn't.
template <class Allocate>
char* next_block(bool to_be_guarded, Allocate allocate) {
  for (std::size_t i = 0; i < 4 * one_in() + 4; ++i) {
    void* const block = hide(allocate());
    if (is_guarded(block) == to_be_guarded) return static_cast<char*>(block);
    free(block);
  }
  contract::fail(__FILE__, __LINE__, "of so many one is of that kind");
}

template <class Allocate>
char* guarded_of(Allocate allocate) {
  return next_block(true, allocate);
}
char* guarded(std::size_t bytes) {
  return guarded_of([=] { return malloc(bytes); });
}

/// As many requests as have some guarded ones among them.
template <class Action>
void often(Action action) {
  for (std::size_t i = 0; i < 3 * one_in(); ++i) action();
}

void write_to(volatile char* where) {
  *where = 1;
}

}  // namespace

CONTRACT_CASE(guard_takes_one_in_n) {
  const std::size_t expected = one_in();
  constexpr std::size_t requests = 20'000;
  std::size_t guarded_blocks = 0;
  for (std::size_t i = 0; i < requests; ++i) {
    void* const block = hide(malloc(41));
    guarded_blocks += is_guarded(block) ? 1 : 0;
    free(block);
  }
  // From 1 to 2 N - 1 from one to the next: the deviation of the number is below a hundredth.
  MUST(guarded_blocks > requests / expected * 9 / 10);
  MUST(guarded_blocks < requests / expected * 11 / 10);
}

CONTRACT_CASE(guard_takes_its_share_of_threads_that_end_soon) {
  const std::size_t expected = one_in();
  constexpr std::size_t threads = 2'000;
  std::size_t guarded_threads = 0;
  for (std::size_t i = 0; i < threads; ++i) {
    std::thread([&] {
      void* const block = hide(malloc(41));
      guarded_threads += is_guarded(block) ? 1 : 0;
      free(block);
    }).join();
  }
  // Each with a probability of 1 in N; the deviation is below a tenth.
  MUST(guarded_threads > threads / expected / 2);
  MUST(guarded_threads < threads / expected * 3 / 2);
}

CONTRACT_CASE(guard_tells_a_use_after_free) {
  one_in();
  MUST(dies_saying(
      "cistern: sampled guard: use after free, at byte 5, ", " of 41 bytes",
      [] {
        char* const block = guarded(41);
        free(block);
        write_to(block + 5);
      },
      SIGSEGV));
  MUST(dies_saying(
      "cistern: sampled guard: use after free, at byte 40, ", "freed ",
      [] {
        char* const block = guarded(41);
        MUST(hide(realloc(block, 4'000)) != nullptr);
        write_to(block + 40);
      },
      SIGSEGV));
}

CONTRACT_CASE(guard_tells_overflows_and_underflows) {
  one_in();
  MUST(dies_saying(
      "cistern: sampled guard: overflow by ", " of 41 bytes",
      [] {
        for (;;) write_to(guarded(41) + 48);
      },
      SIGSEGV));
  MUST(dies_saying(
      "cistern: sampled guard: underflow by 1 byte, ", " of 41 bytes",
      [] {
        for (;;) write_to(guarded(41) - 1);
      },
      SIGSEGV));
  MUST(dies_saying("cistern: sampled guard: overflow by 1 byte, found at the free", "", [] {
    char* const block = guarded(41);
    write_to(block + 41);
    free(block);
  }));
}

CONTRACT_CASE(guard_tells_wrong_frees) {
  one_in();
  MUST(dies_saying("cistern: sampled guard: double free: block ", "", [] {
    char* const block = guarded(41);
    free(block);
    free(hide(block));
  }));
  MUST(dies_saying("cistern: sampled guard: free of a pointer that isn't a block's, at offset 8", "",
                   [] { free(hide(guarded(41) + 8)); }));
  MUST(dies_saying("cistern: sampled guard: use after free: block ", "", [] {
    char* const block = guarded(41);
    free(block);
    (void)hide(realloc(hide(block), 50));
  }));
}

CONTRACT_CASE(guard_leaves_wrong_frees_of_other_blocks_to_the_heap) {
  one_in();
  MUST(dies_saying("cistern: operator delete(0x", "freed before", [] {
    char* const block = next_block(false, [] { return ::operator new(41); });
    ::operator delete(hide(block), 41);
    ::operator delete(hide(block), 41);
  }));
}

CONTRACT_CASE(guard_takes_blocks_of_every_function) {
  one_in();
  char* const zeroed = guarded_of([] { return calloc(41, 1); });
  for (int i = 0; i < 41; ++i) MUST(zeroed[i] == 0);
  free(zeroed);
  for (std::size_t alignment = 1; alignment <= 4096; alignment *= 2) {
    char* const aligned = guarded_of([=] { return memalign(alignment, 41); });
    MUST(is_aligned(aligned, alignment) && is_aligned(aligned, 16));
    std::memset(aligned, 1, 41);
    free(aligned);
  }
  free(guarded_of([] { return ::operator new(41); }));
  free(guarded_of([] { return realloc(malloc(7), 41); }));
  free(guarded(4'095));
}

CONTRACT_CASE(guard_knows_blocks_whose_size_is_said) {
  one_in();
  for (std::size_t bytes = 0; bytes < 1'200; ++bytes) {
    often([=] {
      void* const block = ::operator new(bytes);
      if (bytes != 0) std::memset(block, 0x55, bytes);
      ::operator delete(hide(block), bytes);
    });
  }
  often([] { ::operator delete (::operator new (77, std::align_val_t{64}), 77, std::align_val_t{64}); });
}

CONTRACT_CASE(guard_reallocates) {
  one_in();
  contract::random_numbers random(7);
  void* block = nullptr;
  std::size_t bytes = 0;
  for (unsigned step = 0; step < 3'000; ++step) {
    const std::size_t wanted = random.size(14);
    block = realloc(block, wanted);
    MUST(block != nullptr && malloc_usable_size(block) >= wanted);
    MUST(is_filled(block, bytes < wanted ? bytes : wanted, step - 1));
    bytes = wanted;
    fill(block, bytes, step);
  }
  free(block);
}

CONTRACT_CASE(guard_without_free_slots_is_none) {
  one_in();
  static std::array<void*, 6'000> all{};
  for (unsigned i = 0; i < all.size(); ++i) {
    MUST((all[i] = malloc(33)) != nullptr);
    fill(all[i], 33, i);
  }
  for (unsigned i = 0; i < all.size(); ++i) {
    MUST(is_filled(all[i], 33, i));
    free(all[i]);
  }
}

CONTRACT_CASE(guard_lets_threads_free_each_other_s_blocks) {
  one_in();
  for (int round = 0; round < 20; ++round) {
    std::array<char*, 50> blocks{};
    std::thread([&] {
      for (char*& block : blocks) block = guarded(41);
    }).join();
    std::thread([&] {
      for (char* const block : blocks) free(block);
    }).join();
  }
}
