// Threads: blocks that outlive their thread, are freed by another, or in the last moments of a thread.
#include <array>
#include <atomic>
#include <cstdlib>
#include <thread>
#include <vector>

#include "contract.hpp"
#include <malloc.h>
#include <pthread.h>

using contract::fill;
using contract::hide;
using contract::is_filled;

namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20U;

/// A bounded queue of one producer and one consumer that doesn't allocate.
class block_queue {
 public:
  void push(void* block) {
    while (tail_.load() - head_.load() == places_.size()) std::this_thread::yield();
    places_[tail_.load() % places_.size()] = block;
    ++tail_;
  }
  void* pop() {
    while (tail_.load() == head_.load()) std::this_thread::yield();
    void* const block = places_[head_.load() % places_.size()];
    ++head_;
    return block;
  }

 private:
  std::array<void*, 1024> places_{};
  std::atomic<std::size_t> head_{0};
  std::atomic<std::size_t> tail_{0};
};

void* filled_block(std::size_t bytes, unsigned seed) {
  void* const block = malloc(bytes);
  MUST(block != nullptr);
  fill(block, bytes, seed);
  return block;
}

}  // namespace

CONTRACT_CASE(another_thread_frees) {
  constexpr unsigned blocks = 200'000;
  block_queue queue;
  std::thread consumer([&] {
    contract::random_numbers random(3);
    for (unsigned i = 0; i < blocks; ++i) {
      void* const block = queue.pop();
      MUST(is_filled(block, random.size(12), i));
      free(block);
    }
  });
  contract::random_numbers random(3);
  for (unsigned i = 0; i < blocks; ++i) queue.push(filled_block(random.size(12), i));
  consumer.join();
}

// A thread that only frees must not hoard (mimalloc issue 1364, jemalloc issue 2757).
CONTRACT_CASE(a_thread_that_only_frees_does_not_hoard) {
  constexpr unsigned blocks = 2'000'000;
  block_queue queue;
  std::thread consumer([&] {
    for (unsigned i = 0; i < blocks; ++i) free(queue.pop());
  });
  for (unsigned i = 0; i < blocks; ++i) queue.push(hide(malloc(64 + i % 128)));
  consumer.join();
  MUST(contract::resident_bytes() < 64 * mebibyte);
}

CONTRACT_CASE(another_thread_reallocates) {
  for (unsigned round = 0; round < 50; ++round) {
    const std::size_t bytes = std::size_t{16} << (round % 14);
    void* block = filled_block(bytes, round);
    std::thread([&] {
      MUST(malloc_usable_size(block) >= bytes);
      block = realloc(block, 3 * bytes);
      MUST(block != nullptr);
      MUST(is_filled(block, bytes, round));
    }).join();
    block = realloc(block, bytes / 2 + 1);
    MUST(block != nullptr);
    MUST(is_filled(block, bytes / 2, round));
    free(block);
  }
}

CONTRACT_CASE(blocks_outlive_their_thread) {
  for (unsigned round = 0; round < 200; ++round) {
    std::array<void*, 64> blocks{};
    std::thread([&] {
      for (unsigned i = 0; i < blocks.size(); ++i)
        blocks[i] = filled_block(std::size_t{8} << (i % 14), i + round);
    }).join();
    for (unsigned i = 0; i < blocks.size(); ++i) {
      MUST(is_filled(blocks[i], std::size_t{8} << (i % 14), i + round));
      free(blocks[i]);
    }
  }
}

// What ended threads held is used again (libstdc++'s pool pins it; gperftools issue 1020).
CONTRACT_CASE(ended_threads_leave_nothing_behind) {
  for (unsigned round = 0; round < 2000; ++round) {
    std::thread([] {
      std::array<void*, 200> blocks{};
      for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i] = filled_block(10 * i + 1, 1);
      for (void* block : blocks) free(block);
    }).join();
  }
  MUST(contract::resident_bytes() < 48 * mebibyte);
}

CONTRACT_CASE(memory_of_an_ended_thread_is_used_again) {
  for (unsigned round = 0; round < 20; ++round) {
    std::vector<void*> blocks(32'768);
    std::thread([&] {
      for (void*& block : blocks) block = filled_block(1000, 1);
    }).join();
    for (void* block : blocks) free(block);
  }
  MUST(contract::resident_bytes() < 160 * mebibyte);
}

CONTRACT_CASE(many_threads_at_once) {
  constexpr unsigned threads = 100;
  std::atomic<unsigned> ready{0};
  std::vector<std::thread> team;
  for (unsigned index = 0; index < threads; ++index) {
    team.emplace_back([&, index] {
      std::array<void*, 50> blocks{};
      for (unsigned i = 0; i < blocks.size(); ++i) blocks[i] = filled_block(1 + i * 37, index);
      ++ready;
      while (ready < threads) std::this_thread::yield();
      for (unsigned i = 0; i < blocks.size(); ++i) {
        MUST(is_filled(blocks[i], 1 + i * 37, index));
        free(blocks[i]);
      }
    });
  }
  for (auto& one : team) one.join();
}

namespace {

/// Holds a block that it frees at its thread's end; and allocates then, too.
struct last_wish {
  void* block = nullptr;
  ~last_wish() {
    if (block == nullptr) return;
    MUST(is_filled(block, 500, 4));
    free(block);
    for (std::size_t bytes = 1; bytes < 100'000; bytes *= 2) free(filled_block(bytes, 5));
  }
};

thread_local last_wish wish;

pthread_key_t key;
std::atomic<unsigned> key_destructor_calls{0};

/// Sets its key again, so that it is called once more, after every other key's destructor has had a turn.
void free_and_come_again(void* block) {
  MUST(is_filled(block, 300, 6));
  free(block);
  void* const next = filled_block(300, 6);
  if (++key_destructor_calls % PTHREAD_DESTRUCTOR_ITERATIONS != 0) {
    MUST(pthread_setspecific(key, next) == 0);
  } else {
    free(next);
  }
}

}  // namespace

CONTRACT_CASE(thread_local_destructors_free_and_allocate) {
  for (int round = 0; round < 100; ++round) {
    std::thread([] { wish.block = filled_block(500, 4); }).join();
  }
  // Here the allocator's own thread_local objects, if any, are made before the wish's.
  for (int round = 0; round < 100; ++round) {
    std::thread([] {
      free(filled_block(10, 1));
      wish.block = filled_block(500, 4);
    }).join();
  }
  MUST(contract::resident_bytes() < 32 * mebibyte);
}

CONTRACT_CASE(key_destructors_free_and_allocate_to_the_last) {
  MUST(pthread_key_create(&key, free_and_come_again) == 0);
  constexpr unsigned rounds = 300;
  for (unsigned round = 0; round < rounds; ++round) {
    std::thread([] { MUST(pthread_setspecific(key, filled_block(300, 6)) == 0); }).join();
  }
  MUST(key_destructor_calls == rounds * PTHREAD_DESTRUCTOR_ITERATIONS);
  MUST(contract::resident_bytes() < 32 * mebibyte);
}

// Every way a thread can end: returning, pthread_exit, cancellation, detached while the process goes on.
CONTRACT_CASE(threads_end_in_every_way) {
  for (int round = 0; round < 50; ++round) {
    pthread_t thread{};
    const auto exits = [](void*) -> void* {
      wish.block = filled_block(500, 4);
      pthread_exit(nullptr);
    };
    MUST(pthread_create(&thread, nullptr, exits, nullptr) == 0);
    MUST(pthread_join(thread, nullptr) == 0);

    const auto waits = [](void*) -> void* {
      wish.block = filled_block(500, 4);
      for (;;) {
        free(filled_block(100, 1));
        pthread_testcancel();
      }
    };
    MUST(pthread_create(&thread, nullptr, waits, nullptr) == 0);
    MUST(pthread_cancel(thread) == 0);
    MUST(pthread_join(thread, nullptr) == 0);

    std::atomic<bool> reached{false};
    std::thread([&] {
      wish.block = filled_block(500, 4);
      reached = true;
    }).detach();
    while (!reached) std::this_thread::yield();
  }
}
