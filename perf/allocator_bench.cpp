// allocator_bench: pool_allocator beside other standard allocators.
#include <cistern/adaptor/statistics_adaptor.hpp>
#include <cistern/pool_allocator.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <memory_resource>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "support/benchmark_program.hpp"
#include "support/keep.hpp"
#include "support/mimalloc_stl.hpp"
#include "support/random.hpp"
#include "support/register_each.hpp"

namespace {

// --- the contestants: each hands out allocators for any type ---

using unsynchronized = cistern::unsynchronized_pool_resource;
using synchronized = cistern::synchronized_pool_resource;

/// A pool of the user's, whose address the compiler doesn't know.
template <class Pool>
class user_pool {
 public:
  explicit user_pool(std::pmr::memory_resource* upstream = nullptr) : pool_(upstream) {}
  [[nodiscard]] Pool* address() {
    Pool* found = &pool_;
    asm volatile("" : "+r"(found));
    return found;
  }

 private:
  Pool pool_;
};

template <class Pool>
struct inlined : user_pool<Pool> {
  static constexpr std::string_view name =
      std::is_same_v<Pool, synchronized> ? "cistern-sync" : "cistern-unsync";
  using user_pool<Pool>::user_pool;
  template <class T>
  auto get() {
    return cistern::pool_allocator<T, Pool>(this->address());
  }
};

template <class Pool>
struct polymorphic : user_pool<Pool> {
  static constexpr std::string_view name =
      std::is_same_v<Pool, synchronized> ? "cistern-sync-pmr" : "cistern-unsync-pmr";
  using user_pool<Pool>::user_pool;
  template <class T>
  auto get() {
    return std::pmr::polymorphic_allocator<T>(perf::hide(this->address()));
  }
};

struct mimalloc {
  static constexpr std::string_view name = "mimalloc";
  template <class T>
  auto get() {
    return mi_stl_allocator<T>();
  }
};

struct standard {
  static constexpr std::string_view name = "std-allocator";
  template <class T>
  auto get() {
    return std::allocator<T>();
  }
};

/// How often a new pool asks upstream when `make_work`'s work is done once.
template <class Contestant, class MakeWork>
void count_upstream_calls(benchmark::State& state, const MakeWork& make_work) {
  if constexpr (std::is_constructible_v<Contestant, std::pmr::memory_resource*>) {
    cistern::statistics_adaptor upstream;
    Contestant who(&upstream);
    make_work(who)();
    state.counters["upstream_calls"] = static_cast<double>(upstream.statistics().allocations);
  }
}

/// `make_work(contestant)` prepares, and returns what is timed: so many operations.
template <class MakeWork>
void add(const std::string& name, std::int64_t operations, const MakeWork& make_work) {
  perf::register_each<inlined<unsynchronized>, inlined<synchronized>, polymorphic<unsynchronized>,
                      polymorphic<synchronized>, mimalloc, standard>(
      "allocator/" + name, [=]<class Contestant>(benchmark::State& state) {
        Contestant who;
        auto work = make_work(who);
        work();  // warm
        while (state.KeepRunningBatch(operations)) work();
        count_upstream_calls<Contestant>(state, make_work);
      });
}

// --- the work ---

constexpr std::size_t elements = 1000;

template <std::size_t bytes>
struct block {
  std::array<std::uint64_t, bytes / 8> words;
};

/// The block is used, but what the allocator keeps elsewhere stays known to the compiler: what stands between
/// allocation and deallocation in code that is all inlined.
struct use {
  template <class Block>
  void operator()(Block* one) const {
    one->words[0] = 1;
    asm volatile("" : : "r"(one));
  }
};
/// Anything may have happened in between: a call to code that the compiler doesn't see.
struct use_elsewhere {
  template <class Block>
  void operator()(Block* one) const {
    one->words[0] = 1;
    perf::keep(one);
  }
};

template <std::size_t bytes, class Use>
void pair(const std::string& name) {
  add(name, elements, [](auto& who) {
    auto allocator = who.template get<block<bytes>>();
    // A pool or a heap that isn't empty.
    std::vector<block<bytes>, decltype(allocator)> company(1, allocator);
    return [allocator, company = std::move(company)]() mutable {
      for (std::size_t i = 0; i < elements; ++i) {
        auto* const one = allocator.allocate(1);
        Use()(one);
        allocator.deallocate(one, 1);
      }
    };
  });
}

/// Allocates a batch of 64-byte blocks, then frees it: in the same order, or backwards.
template <bool forward>
void batch() {
  add(forward ? "batch/fifo" : "batch/lifo", elements, [](auto& who) {
    auto allocator = who.template get<block<64>>();
    return [allocator, blocks = std::vector<block<64>*>(elements)]() mutable {
      for (auto*& one : blocks) use()(one = allocator.allocate(1));
      perf::keep(blocks.data());
      if constexpr (forward) {
        for (auto one = blocks.begin(); one != blocks.end(); ++one) allocator.deallocate(*one, 1);
      } else {
        for (auto one = blocks.rbegin(); one != blocks.rend(); ++one) allocator.deallocate(*one, 1);
      }
      perf::keep(blocks.data());
    };
  });
}

void list() {
  add("list/1000", elements, [](auto& who) {
    return [allocator = who.template get<std::uint64_t>()] {
      std::list<std::uint64_t, std::remove_const_t<decltype(allocator)>> values(allocator);
      for (std::size_t i = 0; i < elements; ++i) values.push_back(i);
      perf::keep(&values);
    };
  });
}

using number_pair = std::pair<const std::uint64_t, std::uint64_t>;
template <class Allocator>
using ordered_map = std::map<std::uint64_t, std::uint64_t, std::less<>, Allocator>;
template <class Allocator>
using hash_map =
    std::unordered_map<std::uint64_t, std::uint64_t, std::hash<std::uint64_t>, std::equal_to<>, Allocator>;

template <template <class> class Map>
void map(const std::string& name, std::uint64_t seed) {
  add(name, elements, [seed](auto& who) {
    const auto allocator = who.template get<number_pair>();
    return [allocator, random = perf::random_source(seed)]() mutable {
      Map<std::remove_const_t<decltype(allocator)>> values(allocator);
      for (std::size_t i = 0; i < elements; ++i) values.emplace(random.next(), i);
      perf::keep(&values);
    };
  });
}

/// A table of steady size: one element goes, another comes.
void unordered_map_churn() {
  add("unordered_map-churn/1000", elements, [](auto& who) {
    auto allocator = who.template get<number_pair>();
    hash_map<decltype(allocator)> values(allocator);
    for (std::uint64_t i = 0; i < elements; ++i) values.emplace(i, i);
    return [values = std::move(values), oldest = std::uint64_t{0}]() mutable {
      for (std::size_t i = 0; i < elements; ++i, ++oldest) {
        values.erase(oldest);
        values.emplace(oldest + elements, i);
      }
      perf::keep(&values);
    };
  });
}

/// One vector of up to 4,096 numbers (32 KiB), grown from nothing.
void vector_growth() {
  add("vector/4096", 1, [](auto& who) {
    auto allocator = who.template get<std::uint64_t>();
    return [allocator, random = perf::random_source(23)]() mutable {
      std::vector<std::uint64_t, decltype(allocator)> values(allocator);
      const std::size_t count = 1 + random.below(4096);
      for (std::size_t i = 0; i < count; ++i) values.push_back(i);
      perf::keep(values.data());
    };
  });
}

void shared_objects() {
  add("allocate_shared/1000", elements, [](auto& who) {
    return [allocator = who.template get<block<64>>(),
            held = std::vector<std::shared_ptr<block<64>>>(elements)]() mutable {
      for (auto& one : held) one = std::allocate_shared<block<64>>(allocator);
      perf::keep(held.data());
    };
  });
}

void register_all() {
  perf::load_mimalloc_stl();
  pair<64, use>("pair/64B");
  pair<1024, use>("pair/1KiB");
  pair<64, use_elsewhere>("pair-with-a-call/64B");
  batch<true>();
  batch<false>();
  list();
  map<ordered_map>("map/1000", 21);
  map<hash_map>("unordered_map/1000", 22);
  unordered_map_churn();
  vector_growth();
  shared_objects();
}

constexpr const char* help =
    R"(pool_allocator, whose calls to its pool are inlined, beside other standard allocators, polymorphic_allocator over
the same pools among them: allocator/WORKLOAD/PARAMETER/ALLOCATOR. The counter upstream_calls says how often a
new pool asks for memory when the work is done once.
)";

}  // namespace

int main(int count, char** values) {
  return perf::run_benchmarks({.name = "allocator_bench", .help = help, .register_all = register_all}, count,
                              values);
}
