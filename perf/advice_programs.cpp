// advice_programs: programs whose right advice is known, before and after it was taken
// (perf/check_advice.py).
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <memory_resource>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include <time.h>

namespace {

std::uint64_t sum = 0;  // Printed, so that nothing is left out.
int parts = 1;          // Of so many, one is run.

std::pmr::memory_resource* plain() {
  return std::pmr::new_delete_resource();
}

/// Something for a program to do beside allocating: no chain of steps that wait for each other, under which
/// the processor would make calls for nothing.
[[gnu::noinline]] void work(int rounds) {
  static std::array<std::uint64_t, 8> states{1, 2, 3, 4, 5, 6, 7, 8};
  std::array<std::uint64_t, 8> mixed = states;
  for (int i = 0; i < rounds; ++i) {
    for (std::uint64_t& each : mixed) each = std::rotl(each ^ static_cast<std::uint64_t>(i), 13) + each;
  }
  states = mixed;
  sum += mixed[0];
}

[[nodiscard]] int random_below(int end) {
  static std::uint64_t state = 1;
  state = state * 6364136223846793005U + 1442695040888963407U;
  return static_cast<int>(state >> 40) % end;
}

[[gnu::noinline]] void use_text(int number, bool is_changed) {
  std::array<std::byte, 256> buffer;
  std::pmr::monotonic_buffer_resource on_stack(buffer.data(), buffer.size());
  std::pmr::vector<char> text(100, static_cast<char>(number), is_changed ? &on_stack : plain());
  sum += static_cast<std::uint64_t>(text[static_cast<std::size_t>(number) % text.size()]);
}
void temporaries(bool is_changed) {
  for (int i = 0; i < 1'000'000 / parts; ++i) {
    use_text(i, is_changed);
    work(30);
  }
}

[[gnu::noinline]] void gather(bool is_changed) {
  constexpr std::size_t count = 2000;
  std::vector<std::uint64_t> values;
  if (is_changed) values.reserve(count);
  for (std::size_t i = 0; i < count; ++i) values.push_back(i);
  for (const std::uint64_t each : values) sum += each;
}
void growing_vectors(bool is_changed) {
  for (int i = 0; i < 50'000 / parts; ++i) gather(is_changed);
}

using entries = std::pmr::unordered_map<int, std::pmr::string>;
[[gnu::noinline]] void insert(entries& all, int key) {
  all.try_emplace(key, static_cast<std::size_t>(40 + key % 300), 'x');
}
[[gnu::noinline]] void evict(entries& all, int key) {
  all.erase(key);
}
void cache(bool is_changed) {
  cistern::unsynchronized_pool_resource pool;
  entries all(is_changed ? &pool : plain());
  for (int i = 0; i < 1'000'000 / parts; ++i) {
    work(4);
    const int key = random_below(20'000);
    if (i % 2 == 0) {
      insert(all, key);
    } else {
      evict(all, key);
    }
  }
}

/// In handfuls: threads that wake each other for every message would be all that is measured.
using handful = std::vector<void*>;

class queue {
 public:
  void put(handful&& messages) {
    {
      std::unique_lock lock(mutex_);
      has_room_.wait(lock, [&] { return waiting_.size() < 4; });
      waiting_.push_back(std::move(messages));
    }
    has_some_.notify_one();
  }
  [[nodiscard]] handful take() {
    std::unique_lock lock(mutex_);
    has_some_.wait(lock, [&] { return !waiting_.empty(); });
    handful messages = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    has_room_.notify_one();
    return messages;
  }

 private:
  std::mutex mutex_;
  std::condition_variable has_some_;
  std::condition_variable has_room_;
  std::deque<handful> waiting_;
};

void messages(bool is_changed) {
  const int handfuls = 5000 / parts;
  constexpr std::size_t count = 200;
  constexpr std::size_t bytes = 200;
  cistern::synchronized_pool_resource pool;
  std::pmr::memory_resource* const memory = is_changed ? &pool : plain();
  queue between;
  std::thread consumer([&] {
    for (int i = 0; i < handfuls; ++i) {
      for (void* const each : between.take()) {
        memory->deallocate(each, bytes);
        work(2);
      }
    }
  });
  for (int i = 0; i < handfuls; ++i) {
    handful some(count);
    for (void*& each : some) each = memory->allocate(bytes);
    between.put(std::move(some));
  }
  consumer.join();
}

void one_shot(bool is_changed) {
  static std::pmr::monotonic_buffer_resource arena(std::size_t{64} << 20);
  std::pmr::memory_resource* const memory = is_changed ? &arena : plain();
  for (int i = 0; i < 700'000 / parts; ++i) {
    auto* const node =
        static_cast<std::uint64_t*>(memory->allocate(24 + static_cast<std::size_t>(i % 5) * 16));
    *node = sum;
    work(5);
  }
}

void free_of_allocations(bool) {
  for (int i = 0; i < 2000; ++i) {
    use_text(i, false);
    work(20'000);
  }
}

struct named_program {
  std::string_view name;
  void (*run)(bool is_changed);
  bool has_threads = false;
};
constexpr named_program programs[] = {{"temporaries", temporaries},
                                      {"growing_vectors", growing_vectors},
                                      {"cache", cache},
                                      {"messages", messages, true},
                                      {"one_shot", one_shot},
                                      {"free_of_allocations", free_of_allocations}};

[[nodiscard]] std::uint64_t nanoseconds(bool of_day) {
  timespec now{};
  ::clock_gettime(of_day ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

/// NAME [as-it-is|changed [PARTS]]: runs one, or one of so many parts of it, and prints the nanoseconds that
/// it took; of the processor, but for threads that wait for each other.
int main(int count, char** arguments) {
  parts = count > 3 ? std::max(std::atoi(arguments[3]), 1) : 1;
  const bool is_changed = count > 2 && arguments[2] == std::string_view("changed");
  for (const named_program& each : programs) {
    if (count < 2 || each.name != arguments[1]) continue;
    const std::uint64_t begun = nanoseconds(each.has_threads);
    each.run(is_changed);
    std::cout << nanoseconds(each.has_threads) - begun << '\n';
    std::cerr << (sum == 1 ? "1\n" : "");
    std::cout.flush();
    std::_Exit(0);
  }
  return 2;
}
