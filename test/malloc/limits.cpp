// Out of memory: under a limit on the address space malloc says so, and works again when something was freed.
#include <cerrno>
#include <cstdlib>
#include <initializer_list>
#include <new>
#include <thread>

#include "contract.hpp"
#include <malloc.h>
#include <sys/resource.h>

using contract::fill;
using contract::hide;
using contract::is_filled;

namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20U;

/// Lets this process map `more_bytes` beyond what it has mapped.
void allow(std::size_t more_bytes) {
  rlimit limit{};
  MUST(getrlimit(RLIMIT_AS, &limit) == 0);
  limit.rlim_cur = contract::mapped_bytes() + more_bytes;
  MUST(setrlimit(RLIMIT_AS, &limit) == 0);
}

/// A list of blocks that is linked through themselves, so that keeping it needs no memory.
class block_list {
 public:
  /// Takes blocks of `bytes` until there are no more; returns how many.
  std::size_t take_all(std::size_t bytes) {
    std::size_t count = 0;
    errno = 0;
    for (void* block = nullptr; (block = malloc(bytes)) != nullptr; ++count) {
      *static_cast<void**>(block) = first_;
      first_ = block;
    }
    MUST(errno == ENOMEM);
    return count;
  }
  void free_all() {
    while (first_ != nullptr) {
      void* const next = *static_cast<void**>(first_);
      free(first_);
      first_ = next;
    }
  }

 private:
  void* first_ = nullptr;
};

}  // namespace

CONTRACT_CASE(large_blocks_run_out_and_come_back) {
  allow(256 * mebibyte);
  block_list blocks;
  for (int round = 0; round < 3; ++round) {
    // Between guards each takes three times the addresses.
    MUST(blocks.take_all(mebibyte) > (contract::is_hardened() ? 64 : 128));
    blocks.free_all();
    void* const block = malloc(32 * mebibyte);
    MUST(block != nullptr);
    free(block);
  }
}

CONTRACT_CASE(small_blocks_run_out_and_come_back) {
  allow(256 * mebibyte);
  block_list blocks;
  for (const std::size_t bytes : std::initializer_list<std::size_t>{100, 20, 3000, 100}) {
    MUST(blocks.take_all(bytes) * bytes > 96 * mebibyte);
    blocks.free_all();
  }
  void* const block = malloc(32 * mebibyte);
  MUST(block != nullptr);
  free(block);
}

CONTRACT_CASE(every_function_says_that_memory_ran_out) {
  void* const kept = malloc(50'000);
  fill(kept, 50'000, 1);
  allow(128 * mebibyte);
  const auto must_fail = [](void* block) {
    MUST(block == nullptr);
    MUST(errno == ENOMEM);
    errno = 0;
  };
  errno = 0;
  must_fail(malloc(hide(1024 * mebibyte)));
  must_fail(calloc(hide(1024 * mebibyte), 1));
  must_fail(realloc(kept, hide(1024 * mebibyte)));
  must_fail(reallocarray(kept, hide(std::size_t{1024}), mebibyte));
  must_fail(aligned_alloc(64, hide(1024 * mebibyte)));
  must_fail(aligned_alloc(hide(1024 * mebibyte), 64));
  must_fail(memalign(64, hide(1024 * mebibyte)));
  must_fail(valloc(hide(1024 * mebibyte)));
  must_fail(pvalloc(hide(1024 * mebibyte)));
  void* block = &block;
  MUST(posix_memalign(&block, 64, hide(1024 * mebibyte)) == ENOMEM);
  MUST(block == &block);
  MUST(is_filled(kept, 50'000, 1));
  free(kept);
}

CONTRACT_CASE(realloc_that_finds_no_memory_keeps_the_block) {
  allow(256 * mebibyte);
  void* const kept = malloc(100 * mebibyte);
  MUST(kept != nullptr);
  fill(kept, 100 * mebibyte, 1);
  errno = 0;
  MUST(realloc(kept, hide(400 * mebibyte)) == nullptr);
  MUST(errno == ENOMEM);
  MUST(is_filled(kept, 100 * mebibyte, 1));
  free(kept);
}

CONTRACT_CASE(new_throws_when_memory_runs_out_and_works_again) {
  allow(128 * mebibyte);
  block_list blocks;
  blocks.take_all(mebibyte);
  int caught = 0;
  for (int i = 0; i < 100; ++i) {
    try {
      ::operator delete(hide(::operator new(hide(32 * mebibyte))));
    } catch (const std::bad_alloc&) {
      ++caught;
    }
  }
  MUST(caught == 100);
  MUST(::operator new(hide(32 * mebibyte), std::nothrow) == nullptr);
  blocks.free_all();
  ::operator delete(hide(::operator new(hide(32 * mebibyte))));
}

CONTRACT_CASE(a_thread_meets_the_end_of_memory) {
  std::thread([] {
    allow(192 * mebibyte);
    block_list blocks;
    MUST(blocks.take_all(500) * 500 > 64 * mebibyte);
    blocks.free_all();
    free(hide(malloc(8 * mebibyte)));
  }).join();
  std::thread([] { free(hide(malloc(100))); }).join();
}

namespace {

void* reserve = nullptr;

}  // namespace

CONTRACT_CASE(a_new_handler_that_frees_a_reserve_helps) {
  reserve = malloc(64 * mebibyte);
  MUST(reserve != nullptr);
  allow(16 * mebibyte);
  std::set_new_handler([] {
    MUST(reserve != nullptr);
    free(reserve);
    reserve = nullptr;
  });
  void* const block = ::operator new(hide(48 * mebibyte));
  MUST(block != nullptr && reserve == nullptr);
  ::operator delete(block);
}
