// A user's program under ThreadSanitizer, with the library as it is installed: plain. Nothing may be reported
// but the races that are there.
//
//   under_tsan [NAME]    plays the scene of that name, or all in which there is no race
#include <cistern/adaptor/failure_adaptor.hpp>
#include <cistern/adaptor/fallback_adaptor.hpp>
#include <cistern/adaptor/guarding_adaptor.hpp>
#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/adaptor/recording_adaptor.hpp>
#include <cistern/adaptor/sampling_guard_adaptor.hpp>
#include <cistern/adaptor/statistics_adaptor.hpp>
#include <cistern/byte_lease.hpp>
#include <cistern/chain.hpp>
#include <cistern/object_pool.hpp>
#include <cistern/page_resource.hpp>
#include <cistern/pool_allocator.hpp>
#include <cistern/pooled.hpp>
#include <cistern/process_pool.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstdio>
#include <cstring>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "../support/coroutine.hpp"
#include "../support/threads.hpp"
#include <unistd.h>

namespace {

using cistern::test_support::run_threads;

constexpr std::size_t threads = 4;

/// Hands things from thread to thread, by a lock that the sanitizer sees.
template <class T>
class hand_over {
 public:
  void put(T value) {
    const std::scoped_lock lock(mutex_);
    values_.push_back(std::move(value));
  }
  std::optional<T> take() {
    const std::scoped_lock lock(mutex_);
    if (values_.empty()) {
      return std::nullopt;
    }
    std::optional<T> value(std::move(values_.front()));
    values_.pop_front();
    return value;
  }

 private:
  std::mutex mutex_;
  std::deque<T> values_;
};

/// Half of the threads make things, the other half take and use them, until all are used.
template <class Make, class Use>
void produce_and_consume(int things, Make make, Use use) {
  hand_over<decltype(make(0))> on_their_way;
  std::atomic<int> to_make{things};
  std::atomic<int> to_use{things};
  run_threads(threads, [&](std::size_t index) {
    if (index % 2 == 0) {
      for (int number = to_make--; number > 0; number = to_make--) {
        on_their_way.put(make(number));
      }
      return;
    }
    while (to_use > 0) {
      if (auto thing = on_their_way.take()) {
        use(*std::move(thing));
        --to_use;
      } else {
        std::this_thread::yield();
      }
    }
  });
}

void use_containers(std::pmr::memory_resource* resource, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    std::pmr::vector<std::pmr::string> strings(resource);
    std::pmr::map<int, std::pmr::string> map(resource);
    for (int i = 0; i < 100; ++i) {
      strings.emplace_back(static_cast<std::size_t>(20 + i * 7), 'x');
      map.emplace(i * 37 % 101, strings.back());
    }
    const std::pmr::vector<char> large(std::size_t{100'000} << (round % 4), 'x', resource);
    map.erase(map.begin(), map.lower_bound(50));
  }
}

// ---- memory pools ----

void containers() {
  cistern::synchronized_pool_resource pool;
  for (int round = 0; round < 3; ++round) {  // of threads: the caches of those that end serve others
    run_threads(threads, [&](std::size_t) { use_containers(&pool, 8); });
  }
}

void containers_passed_through() {
  cistern::synchronized_pool_resource pool({.pass_through = true});
  run_threads(threads, [&](std::size_t) { use_containers(&pool, 8); });
}

void small_caches() {
  cistern::synchronized_pool_resource pool(
      {.max_idle_bytes = std::size_t{1} << 20, .thread_cache_bytes = 4096});
  run_threads(threads, [&](std::size_t) { use_containers(&pool, 8); });
}

void trims() {
  cistern::synchronized_pool_resource pool;
  run_threads(threads, [&](std::size_t index) {
    for (int i = 0; i < 20; ++i) {
      if (index == 0) {
        pool.trim();
        (void)pool.statistics();
      }
      use_containers(&pool, 2);
    }
  });
  pool.release();
  use_containers(&pool, 1);
}

void blocks_freed_by_others() {
  cistern::synchronized_pool_resource pool;
  std::pmr::polymorphic_allocator<> allocator(&pool);
  produce_and_consume(
      20'000,
      [&](int number) {
        return allocator.new_object<std::pmr::string>(static_cast<std::size_t>(number % 3000), 'p');
      },
      [&](std::pmr::string* text) {
        text->push_back('c');
        allocator.delete_object(text);
      });
}

void blocks_of_ended_threads() {
  cistern::synchronized_pool_resource pool;
  std::pmr::polymorphic_allocator<> allocator(&pool);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::pmr::string*> left[threads];
    run_threads(threads, [&](std::size_t index) {
      for (std::size_t i = 0; i < 200; ++i) {
        left[index].push_back(allocator.new_object<std::pmr::string>(30 + i * 5, 'p'));
      }
    });
    run_threads(threads, [&](std::size_t index) {
      for (auto* text : left[(index + 1) % threads]) {
        *text += "c";
        allocator.delete_object(text);
      }
    });
  }
}

void one_pool_after_the_other() {
  // Threads that outlive the pools they use, and pools at the same place.
  std::optional<cistern::synchronized_pool_resource> pool;
  constexpr int rounds = 5;
  std::barrier meet(threads + 1);
  std::vector<std::jthread> workers;
  for (std::size_t i = 0; i < threads; ++i) {
    workers.emplace_back([&] {
      for (int round = 0; round < rounds; ++round) {
        meet.arrive_and_wait();
        use_containers(&*pool, 3);
        meet.arrive_and_wait();
      }
    });
  }
  for (int round = 0; round < rounds; ++round) {
    pool.emplace();
    meet.arrive_and_wait();
    meet.arrive_and_wait();
    pool.reset();
  }
}

void unsynchronized_pool_under_a_lock() {
  cistern::unsynchronized_pool_resource pool;
  std::mutex mutex;
  run_threads(threads, [&](std::size_t) {
    for (int i = 0; i < 20; ++i) {
      const std::scoped_lock lock(mutex);
      use_containers(&pool, 1);
    }
  });
}

void shared_pointers_and_lists() {
  cistern::synchronized_pool_resource pool;
  using list = std::list<int, cistern::pool_allocator<int>>;
  produce_and_consume(
      2'000,
      [&](int number) {
        return std::allocate_shared<list>(cistern::pool_allocator<list>(&pool), list(20, number, &pool));
      },
      [](const std::shared_ptr<list>& numbers) { numbers->push_back(1); });
}

struct pooled_thing : cistern::pooled<pooled_thing> {
  int values[50] = {};
};

void process_pool() {
  run_threads(threads, [](std::size_t) { use_containers(cistern::process_pool(), 8); });
  produce_and_consume(
      5'000, [](int) { return std::make_unique<pooled_thing>(); },
      [](const std::unique_ptr<pooled_thing>& thing) { ++thing->values[7]; });
}

void pages() {
  run_threads(threads, [](std::size_t) { use_containers(cistern::pages(), 1); });
}

/// An upstream that the user instruments: what it does under the pool's locks is in order.
void upstream_of_the_users() {
  struct counting final : std::pmr::memory_resource {
    std::mutex mutex;
    std::map<void*, std::size_t> blocks;
    void* do_allocate(std::size_t bytes, std::size_t alignment) override {
      void* const block = std::pmr::new_delete_resource()->allocate(bytes, alignment);
      const std::scoped_lock lock(mutex);
      blocks.emplace(block, bytes);
      return block;
    }
    void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
      {
        const std::scoped_lock lock(mutex);
        blocks.erase(block);
      }
      std::pmr::new_delete_resource()->deallocate(block, bytes, alignment);
    }
    [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
      return this == &other;
    }
  } upstream;
  cistern::synchronized_pool_resource pool({.max_idle_bytes = std::size_t{256} << 10}, &upstream);
  run_threads(threads, [&](std::size_t) { use_containers(&pool, 8); });
}

// ---- adaptors ----

void adaptors() {
  cistern::synchronized_pool_resource pool;
  cistern::limit_adaptor limit(std::size_t{1} << 30, &pool);
  cistern::fallback_adaptor fallback(&limit, std::pmr::new_delete_resource());
  cistern::statistics_adaptor statistics(&fallback);
  std::vector<std::byte> recorded;
  cistern::recording_adaptor recording(
      [&](std::span<const std::byte> bytes) { recorded.insert(recorded.end(), bytes.begin(), bytes.end()); },
      &statistics);
  cistern::guarding_adaptor guarding(&recording);
  cistern::sampling_guard_adaptor sampling({.one_in = 3, .slots = 16}, &guarding);
  cistern::failure_adaptor failure([](std::size_t, std::size_t) { return false; }, &sampling);
  run_threads(threads, [&](std::size_t) { use_containers(&failure, 5); });
  produce_and_consume(
      1'000, [&](int number) { return std::make_unique<std::pmr::vector<int>>(100, number, &failure); },
      [](const std::unique_ptr<std::pmr::vector<int>>& numbers) { ++numbers->front(); });
}

// ---- bytes ----

void bytes_handed_over() {
  cistern::synchronized_pool_resource pool;
  const std::string text(3'000, 't');
  produce_and_consume(
      2'000,
      [&](int) {
        cistern::chain chain(&pool);
        chain.append(text);
        cistern::buffer buffer(&pool);
        buffer.append(text);
        chain.adopt(std::move(buffer));
        return chain;
      },
      [&](cistern::chain chain) {
        const cistern::chain front = chain.split(2'000);
        chain.append(text);
        (void)front.flatten();
      });
  produce_and_consume(
      2'000,
      [&](int) {
        cistern::byte_lease lease(&pool, 2'000);
        std::memset(lease.bytes().data(), 1, lease.size());
        return lease;
      },
      [](cistern::byte_lease lease) { std::memset(lease.bytes().data(), 2, lease.size()); });
}

// ---- object pools ----

using object = std::vector<int>;

object make_object() {
  return object(100);
}

void use(object& numbers) {
  for (int& number : numbers) {
    ++number;
  }
}

/// What every object pool must stand: threads that come and go, leases that change threads, upkeep beside it
/// all.
template <class Pool>
void use_objects(Pool& pool) {
  for (int round = 0; round < 5; ++round) {
    run_threads(threads, [&](std::size_t index) {
      for (int i = 0; i < 300; ++i) {
        auto one = pool.acquire();
        use(*one);
        if (auto other = pool.try_acquire()) {
          use(**other);
        }
        if (index == 0 && i % 50 == 0) {
          pool.trim(1);
          pool.maintain();
          pool.evict_if([](const object& numbers) { return numbers.front() % 16 == 0; });
          (void)pool.statistics();
        }
        if (index == 1 && i == 150) {
          pool.invalidate_all();
          (void)pool.adopt(make_object());
        }
      }
    });
  }
  produce_and_consume(
      1'000,
      [&](int) {
        auto one = pool.acquire();
        use(*one);
        return one;
      },
      [](cistern::lease<object> one) { use(*one); });
  pool.close();
}

void objects_lifo() {
  auto pool = cistern::make_object_pool({.max_size = 64}, make_object);
  use_objects(pool);
}

void objects_fifo() {
  auto pool = cistern::make_object_pool({.max_size = 64, .order = cistern::reuse_order::fifo}, make_object);
  use_objects(pool);
}

void objects_elastic() {
  auto pool = cistern::make_object_pool({.max_size = 2, .empty = cistern::when_empty::create}, make_object);
  use_objects(pool);
}

void objects_per_thread() {
  auto pool = cistern::make_object_pool<cistern::per_thread>({}, make_object);
  use_objects(pool);
}

void objects_per_thread_crowded() {
  auto pool = cistern::make_object_pool<cistern::per_thread>({.max_idle = 2}, make_object);
  use_objects(pool);
}

void objects_in_a_pool() {
  cistern::synchronized_pool_resource memory;
  using allocator = cistern::pool_allocator<int>;
  using numbers = std::vector<int, allocator>;
  auto pool = cistern::make_object_pool(
      {.max_size = 3}, [&] { return numbers(100, &memory); },
      [](numbers& all) { all.resize(all.size() % 300 + 50); },
      [](const numbers& all) { return !all.empty(); }, [](numbers&& all) { all.clear(); }, &memory);
  run_threads(threads, [&](std::size_t) {
    for (int i = 0; i < 500; ++i) {
      const auto one = pool.acquire();
      one->push_back(i);
    }
  });
}

/// Fewer objects than threads: they are handed to those who wait.
template <class Options>
void wait_for_objects(const Options& options) {
  auto pool = cistern::make_object_pool(options, make_object);
  run_threads(threads, [&](std::size_t) {
    for (int i = 0; i < 500; ++i) {
      const auto one = pool.acquire();
      use(*one);
      if (i % 16 == 0) {
        std::this_thread::yield();
      }
    }
  });
}

void objects_waited_for_lifo() {
  wait_for_objects(cistern::object_pool_options{.max_size = 2});
}

void objects_waited_for_fifo() {
  wait_for_objects(cistern::object_pool_options{.max_size = 2, .order = cistern::reuse_order::fifo});
}

void objects_awaited() {
  auto pool = cistern::make_object_pool({.max_size = 2}, make_object);
  cistern::test::run_queue queue;
  std::atomic<int> done{0};
  constexpr int coroutines = 200;
  const auto work = [](auto& objects, auto& ready, auto& count) -> cistern::test::started {
    {
      const auto one = co_await objects.acquire_async(ready.executor());
      use(*one);
    }
    ++count;
  };
  run_threads(threads, [&](std::size_t) {
    for (int i = 0; i < coroutines; ++i) {
      work(pool, queue, done);
    }
    while (done < coroutines * static_cast<int>(threads)) {
      if (!queue.run_one()) {
        std::this_thread::yield();
      }
    }
  });
}

void waits_cancelled() {
  auto pool = cistern::make_object_pool({.max_size = 1}, make_object);
  for (int round = 0; round < 50; ++round) {
    std::stop_source stop;
    run_threads(threads, [&, token = stop.get_token()](std::size_t index) {
      if (index == 0) {
        const auto one = pool.acquire();
        use(*one);
        stop.request_stop();
        return;
      }
      try {
        const auto one = pool.acquire_for(cistern::forever, token);
        use(*one);
      } catch (const cistern::pool_error&) {  // cancelled
      }
    });
  }
}

/// Leases that outlive their pool, given back by other threads.
template <class Policy>
void leases_outlive_their_pool() {
  for (int round = 0; round < 50; ++round) {
    std::vector<cistern::lease<object>> leases;
    {
      auto pool = cistern::make_object_pool<Policy>({.max_size = threads * 2}, make_object);
      run_threads(threads, [&](std::size_t) { use(*pool.acquire()); });
      for (std::size_t i = 0; i < threads; ++i) {
        leases.push_back(pool.acquire());
      }
    }
    run_threads(threads, [&](std::size_t index) {
      use(*leases[index]);
      leases[index].give_back();
    });
  }
}

// ---- races of the user's ----

/// Runs `first`, then `second` on another thread, in an order that the sanitizer is not to see.
template <class First, class Second>
void one_after_the_other_unseen(First first, Second second) {
  std::atomic<bool> done{false};
  std::jthread other([&] {
    while (!done.load(std::memory_order_relaxed)) {
      std::this_thread::yield();
    }
    second();
  });
  first();
  done.store(true, std::memory_order_relaxed);
}

void race_on_a_block() {
  cistern::synchronized_pool_resource pool;
  use_containers(&pool, 3);
  auto* const number = static_cast<int*>(pool.allocate(sizeof(int), alignof(int)));
  one_after_the_other_unseen([&] { *number = 1; }, [&] { *number = 2; });
  pool.deallocate(number, sizeof(int), alignof(int));
}

void race_on_a_freed_block() {
  cistern::synchronized_pool_resource pool;
  use_containers(&pool, 3);
  auto* const number = static_cast<int*>(pool.allocate(100, alignof(int)));
  one_after_the_other_unseen(
      [&] {
        pool.deallocate(number, 100, alignof(int));
        auto* const next = static_cast<int*>(pool.allocate(100, alignof(int)));  // the same block
        next[5] = 1;
      },
      [&] { number[5] = 2; });
}

void race_on_an_object() {
  auto pool = cistern::make_object_pool({.max_size = 2}, make_object);
  use(*pool.acquire());
  auto one = pool.acquire();
  object* const kept = one.get();
  one_after_the_other_unseen(
      [&] {
        one.give_back();
        use(*pool.acquire());
      },
      [&] { use(*kept); });
}

struct scene {
  const char* name;
  void (*play)();
};

constexpr scene innocent[] = {
    {"adaptors", adaptors},
    {"blocks_freed_by_others", blocks_freed_by_others},
    {"blocks_of_ended_threads", blocks_of_ended_threads},
    {"bytes_handed_over", bytes_handed_over},
    {"containers", containers},
    {"containers_passed_through", containers_passed_through},
    {"leases_outlive_per_thread_pool", leases_outlive_their_pool<cistern::per_thread>},
    {"leases_outlive_shared_pool", leases_outlive_their_pool<cistern::shared>},
    {"objects_awaited", objects_awaited},
    {"objects_elastic", objects_elastic},
    {"objects_fifo", objects_fifo},
    {"objects_in_a_pool", objects_in_a_pool},
    {"objects_lifo", objects_lifo},
    {"objects_per_thread", objects_per_thread},
    {"objects_per_thread_crowded", objects_per_thread_crowded},
    {"objects_waited_for_fifo", objects_waited_for_fifo},
    {"objects_waited_for_lifo", objects_waited_for_lifo},
    {"one_pool_after_the_other", one_pool_after_the_other},
    {"pages", pages},
    {"process_pool", process_pool},
    {"shared_pointers_and_lists", shared_pointers_and_lists},
    {"small_caches", small_caches},
    {"trims", trims},
    {"unsynchronized_pool_under_a_lock", unsynchronized_pool_under_a_lock},
    {"upstream_of_the_users", upstream_of_the_users},
    {"waits_cancelled", waits_cancelled},
};

constexpr scene races[] = {
    {"race_on_a_block", race_on_a_block},
    {"race_on_a_freed_block", race_on_a_freed_block},
    {"race_on_an_object", race_on_an_object},
};

/// Plays the scenes of that name, or all; false if there is none.
bool play(std::span<const scene> scenes, std::string_view name) {
  bool found = false;
  for (const scene& each : scenes) {
    if (name.empty() || name == each.name) {
      std::fprintf(stderr, "%s\n", each.name);
      each.play();
      found = true;
    }
  }
  return found;
}

}  // namespace

int main(int argc, char** argv) {
  ::alarm(240);  // a scene that hangs is a failure
  const std::string_view name = argc > 1 ? argv[1] : "";
  return play(innocent, name) || play(races, name) ? 0 : 2;
}
