// allocator_bench: pool_allocator beside other standard allocators, on the same work, interleaved.
#include <cistern/pool_allocator.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <list>
#include <map>
#include <memory>
#include <memory_resource>
#include <ostream>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "support/contest.hpp"
#include "support/contest_program.hpp"
#include "support/keep.hpp"
#include "support/measure.hpp"
#include "support/mimalloc_stl.hpp"
#include "support/random.hpp"
#include "support/table.hpp"

namespace {

using perf::contest;
using perf::contest_result;
using std::chrono::nanoseconds;

// --- the contestants: each hands out allocators for any type ---

template <class Pool>
Pool* pool() {
  static Pool the_pool(nullptr);
  Pool* found = &the_pool;
  asm volatile("" : "+r"(found));  // a pool of the user's, whose address the compiler doesn't know
  return found;
}

template <class Pool>
struct pool_allocators {
  template <class T>
  static auto get() {
    return cistern::pool_allocator<T, Pool>(pool<Pool>());
  }
};
struct over_unsynchronized : pool_allocators<cistern::unsynchronized_pool_resource> {
  static constexpr std::string_view name = "pool_allocator, unsync";
};
struct over_synchronized : pool_allocators<cistern::synchronized_pool_resource> {
  static constexpr std::string_view name = "pool_allocator, sync";
};

template <class Pool>
struct polymorphic_allocators {
  template <class T>
  static auto get() {
    return std::pmr::polymorphic_allocator<T>(perf::hide(pool<Pool>()));
  }
};
struct virtual_unsynchronized : polymorphic_allocators<cistern::unsynchronized_pool_resource> {
  static constexpr std::string_view name = "polymorphic, unsync";
};
struct virtual_synchronized : polymorphic_allocators<cistern::synchronized_pool_resource> {
  static constexpr std::string_view name = "polymorphic, sync";
};

struct mimalloc {
  static constexpr std::string_view name = "mi_stl_allocator";
  template <class T>
  static auto get() {
    return mi_stl_allocator<T>();
  }
};
struct standard {
  static constexpr std::string_view name = "std::allocator";
  template <class T>
  static auto get() {
    return std::allocator<T>();
  }
};
constexpr std::size_t mimalloc_index = 4;  // in the order of `enter_all`

template <class Run>
void enter_all(contest& c, Run run) {
  perf::enter<over_unsynchronized, over_synchronized, virtual_unsynchronized, virtual_synchronized, mimalloc,
              standard>(c, run);
}

// --- the work ---

struct block {
  std::array<std::uint64_t, 8> words;
};

template <class Work>
nanoseconds timed(std::size_t repetitions, Work work) {
  work();  // warm
  const auto start = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < repetitions; ++i) work();
  return std::chrono::steady_clock::now() - start;
}

/// The block is used, but what the allocator keeps elsewhere stays known to the compiler: what stands between
/// allocation and deallocation in code that is all inlined.
inline void use(block* one) {
  one->words[0] = 1;
  asm volatile("" : : "r"(one));
}
/// Anything may have happened in between: a call to code that the compiler doesn't see.
inline void use_elsewhere(block* one) {
  one->words[0] = 1;
  perf::keep(one);
}

contest pairs(std::string name, bool elsewhere) {
  constexpr std::size_t count = 1000;
  contest c{std::move(name), "allocate + deallocate", count};
  enter_all(c, [elsewhere]<class Contestant>(std::size_t repetitions) {
    auto allocator = Contestant::template get<block>();
    auto* const company = allocator.allocate(1);  // a pool or a heap that isn't empty
    const auto measured = [&](auto user) {
      return timed(repetitions, [&] {
        for (std::size_t i = 0; i < count; ++i) {
          block* const one = allocator.allocate(1);
          user(one);
          allocator.deallocate(one, 1);
        }
      });
    };
    const auto elapsed =
        elsewhere ? measured([](block* one) { use_elsewhere(one); }) : measured([](block* one) { use(one); });
    allocator.deallocate(company, 1);
    return elapsed;
  });
  return c;
}

/// Allocates a batch of 64-byte blocks, then frees it: in the same order, or backwards.
template <bool forward>
contest batch() {
  constexpr std::size_t count = 1000;
  contest c{forward ? "batch/fifo" : "batch/lifo", "allocate + deallocate", count};
  enter_all(c, []<class Contestant>(std::size_t repetitions) {
    auto allocator = Contestant::template get<block>();
    std::vector<block*> blocks(count);
    return timed(repetitions, [&] {
      for (block*& one : blocks) {
        one = allocator.allocate(1);
        use(one);
      }
      perf::keep(blocks.data());
      if constexpr (forward) {
        for (auto one = blocks.begin(); one != blocks.end(); ++one) allocator.deallocate(*one, 1);
      } else {
        for (auto one = blocks.rbegin(); one != blocks.rend(); ++one) allocator.deallocate(*one, 1);
      }
      perf::keep(blocks.data());
    });
  });
  return c;
}

constexpr std::size_t elements = 1000;

contest list_build() {
  contest c{"list/build", "push_back and its part of the end", elements};
  enter_all(c, []<class Contestant>(std::size_t repetitions) {
    const auto allocator = Contestant::template get<std::uint64_t>();
    using allocator_type = std::remove_const_t<decltype(allocator)>;
    return timed(repetitions, [&] {
      std::list<std::uint64_t, allocator_type> values(allocator);
      for (std::size_t i = 0; i < elements; ++i) values.push_back(i);
      perf::keep(&values);
    });
  });
  return c;
}

contest map_build() {
  contest c{"map/build", "emplace and its part of the end", elements};
  enter_all(c, []<class Contestant>(std::size_t repetitions) {
    using value = std::pair<const std::uint64_t, std::uint64_t>;
    const auto allocator = Contestant::template get<value>();
    using allocator_type = std::remove_const_t<decltype(allocator)>;
    perf::random_source random(21);
    return timed(repetitions, [&] {
      std::map<std::uint64_t, std::uint64_t, std::less<>, allocator_type> values(allocator);
      for (std::size_t i = 0; i < elements; ++i) values.emplace(random.next(), i);
      perf::keep(&values);
    });
  });
  return c;
}

template <class Allocator>
using hash_map =
    std::unordered_map<std::uint64_t, std::uint64_t, std::hash<std::uint64_t>, std::equal_to<>, Allocator>;

contest unordered_map_build() {
  contest c{"unordered_map/build", "emplace and its part of the end", elements};
  enter_all(c, []<class Contestant>(std::size_t repetitions) {
    const auto allocator = Contestant::template get<std::pair<const std::uint64_t, std::uint64_t>>();
    perf::random_source random(22);
    return timed(repetitions, [&] {
      hash_map<std::remove_const_t<decltype(allocator)>> values(allocator);
      for (std::size_t i = 0; i < elements; ++i) values.emplace(random.next(), i);
      perf::keep(&values);
    });
  });
  return c;
}

/// A table of steady size: one element goes, another comes.
contest unordered_map_churn() {
  contest c{"unordered_map/churn", "erase + emplace", elements};
  enter_all(c, []<class Contestant>(std::size_t repetitions) {
    const auto allocator = Contestant::template get<std::pair<const std::uint64_t, std::uint64_t>>();
    hash_map<std::remove_const_t<decltype(allocator)>> values(allocator);
    for (std::uint64_t i = 0; i < elements; ++i) values.emplace(i, i);
    std::uint64_t oldest = 0;
    return timed(repetitions, [&] {
      for (std::size_t i = 0; i < elements; ++i, ++oldest) {
        values.erase(oldest);
        values.emplace(oldest + elements, i);
      }
      perf::keep(&values);
    });
  });
  return c;
}

/// One vector of up to 4,096 numbers (32 KiB), grown from nothing.
contest vector_growth() {
  contest c{"vector/growth", "a vector of 1 to 4,096 numbers", 1};
  enter_all(c, []<class Contestant>(std::size_t repetitions) {
    const auto allocator = Contestant::template get<std::uint64_t>();
    perf::random_source random(23);
    return timed(repetitions, [&] {
      std::vector<std::uint64_t, std::remove_const_t<decltype(allocator)>> values(allocator);
      const std::size_t count = 1 + random.below(4096);
      for (std::size_t i = 0; i < count; ++i) values.push_back(i);
      perf::keep(values.data());
    });
  });
  return c;
}

contest shared_objects() {
  contest c{"allocate_shared", "one made, held among 1,000, dropped", elements};
  enter_all(c, []<class Contestant>(std::size_t repetitions) {
    const auto allocator = Contestant::template get<block>();
    std::vector<std::shared_ptr<block>> held(elements);
    return timed(repetitions, [&] {
      for (auto& one : held) one = std::allocate_shared<block>(allocator);
      perf::keep(held.data());
    });
  });
  return c;
}

// --- the report ---

void print(std::ostream& out, const contest_result& one) {
  perf::table rows({one.name + ": " + one.operation, "ns", "mi_stl_allocator's time / its"});
  for (std::size_t i = 0; i < one.names.size(); ++i) {
    rows.add({one.names[i], perf::significant(perf::median(one.rounds[i])),
              perf::two_decimals(one.ratio(mimalloc_index, i))});
  }
  rows.print(out);
  out << '\n';
}

void print_markdown(std::ostream& out, const std::vector<contest_result>& all) {
  std::vector<std::string> header{"workload"};
  for (const std::string& name : all.front().names) header.push_back(name);
  perf::table rows(header);
  for (const contest_result& one : all) {
    std::vector<std::string> row{one.name};
    for (std::size_t i = 0; i < one.names.size(); ++i) {
      row.push_back(perf::significant(perf::median(one.rounds[i])) + " (" +
                    perf::two_decimals(one.ratio(mimalloc_index, i)) + ')');
    }
    rows.add(row);
  }
  rows.print_markdown(out);
}

// --- the command line ---

constexpr const char* usage =
    R"(Usage: allocator_bench [options]

Runs standard allocators on the same work, interleaved in one process. Prints nanoseconds per operation (the
median of the rounds), and how many times faster than mi_stl_allocator each is (the median of the ratios within
each round).

  --filter TEXT    only workloads whose name contains TEXT
  --rounds N       rounds per workload, from 1 to 1000 (default 11)
  --quick          3 short rounds
  --csv FILE       write every round of every contestant
  --markdown FILE  write the table
  --help           print this
)";

std::vector<contest> all_contests() {
  perf::load_mimalloc_stl();
  return {pairs("pair/64B, all inlined", false),
          pairs("pair/64B, a call between", true),
          batch<true>(),
          batch<false>(),
          list_build(),
          map_build(),
          unordered_map_build(),
          unordered_map_churn(),
          vector_growth(),
          shared_objects()};
}

}  // namespace

int main(int count, char** values) {
  return perf::run_contests({"allocator_bench", usage, all_contests, print, print_markdown}, count, values);
}
