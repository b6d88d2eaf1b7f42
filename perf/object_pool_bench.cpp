// object_pool_bench: acquire and give back under each policy, beside what people build by hand.
#include <cistern/object_pool.hpp>

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include "object_pools/by_hand.hpp"
#include "object_pools/coroutines.hpp"
#include "object_pools/object.hpp"
#include "support/benchmark_program.hpp"
#include "support/process.hpp"
#include "support/thread_team.hpp"

namespace {

using perf::pool_run;

/// Threads that acquire an object, touch it and give it back, again and again.
struct situation {
  std::string name;
  unsigned threads = 1;  ///< Or goroutines; with coroutines, the threads that run them.
  std::size_t objects = 16;
  bool waits = false;      ///< There are fewer objects than threads.
  bool long_runs = false;  ///< So that each thread is interrupted several times.
};

std::vector<situation> situations() {
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  const unsigned crowd = 64 * cores;
  std::vector<situation> all{{.name = "1-thread"}};
  if (cores > 1) all.push_back({.name = std::to_string(cores) + "-threads", .threads = cores});
  const std::string name = std::to_string(crowd) + "-threads";
  all.push_back({.name = name, .threads = crowd, .objects = crowd, .long_runs = true});
  all.push_back({name + "-10-objects", crowd, 10, true, true});
  return all;
}

/// A shorter run is mostly the start of its threads, and would say little about how many iterations it takes.
constexpr std::size_t least_uses = 20'000;

using runner = std::function<pool_run(const situation&, std::size_t uses)>;

void add(const std::string& workload, const situation& where, const std::string& contestant,
         const runner& run) {
  const std::string name = "object/" + workload + '/' + where.name + '/' + contestant;
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
    // All iterations are one run, whose threads start once.
    const auto iterations = static_cast<std::size_t>(state.max_iterations);
    while (state.KeepRunningBatch(state.max_iterations)) {
      const pool_run one = run(where, std::max(least_uses, iterations * (where.long_runs ? 10 : 1)));
      const auto per_use = one.elapsed / static_cast<double>(one.uses);
      state.SetIterationTime(per_use.count() * static_cast<double>(iterations));
    }
  })->UseManualTime();
}

template <class Pool>
pool_run run_threads(Pool& pool, const situation& where, std::size_t uses) {
  const std::size_t each = uses / where.threads + 1;
  const auto elapsed = perf::time_together(
      where.threads, [&](unsigned) { pool.one_use(); },
      [&](unsigned) {
        for (std::size_t i = 0; i < each; ++i) pool.one_use();
      },
      [](unsigned) {});
  return {elapsed, each * where.threads};
}

template <class Policy>
class cistern_pool {
 public:
  explicit cistern_pool(const cistern::object_pool_options& options) : pool_(options) {}
  void one_use() {
    auto one = pool_.acquire();
    use(*one);
  }

 private:
  cistern::object_pool<perf::pooled_object, perf::pooled_object_lifecycle, Policy> pool_;
};

/// A pool with the objects of the situation, which it has from the start.
template <class Policy>
runner run_cistern(cistern::object_pool_options options, std::size_t cistern::object_pool_options::*limit) {
  return [=](const situation& where, std::size_t uses) {
    cistern::object_pool_options of_run = options;
    of_run.initial = where.objects;
    of_run.*limit = where.objects;
    cistern_pool<Policy> pool(of_run);
    return run_threads(pool, where, uses);
  };
}

template <class Pool>
pool_run run_by_hand(const situation& where, std::size_t uses) {
  Pool pool(where.objects);
  return run_threads(pool, where, uses);
}

/// The program that has Go's pools; empty without Go.
constexpr std::string_view go_pools = CISTERN_PERF_GO_POOLS;

/// A run in a process of its own, which is told what to do and answers with the time in seconds.
runner run_go(const std::string& shape) {
  return [shape](const situation& where, std::size_t uses) {
    const std::size_t each = uses / where.threads + 1;
    const std::string seconds = perf::output_of(
        std::string(go_pools),
        {shape, std::to_string(where.threads), std::to_string(where.objects), std::to_string(each)});
    return pool_run{std::chrono::duration<double>(std::stod(seconds)), each * where.threads};
  };
}

/// One of our policies, what people would take else, and a vector under a mutex to compare all of them with.
void add_policy(const std::string& policy, const situation& where, const runner& ours,
                const std::string& of_go) {
  add(policy, where, "cistern", ours);
  add(policy, where, "mutex-vector", run_by_hand<perf::locked_vector>);
  if (policy == "lifo") add(policy, where, "boost-lockfree", run_by_hand<perf::lockfree_stack>);
  if (!go_pools.empty()) add(policy, where, "go-" + of_go, run_go(of_go));
}

void add_coroutines(const situation& where) {
  const unsigned coroutines = perf::coroutines_per_thread * where.threads;
  situation with_coroutines{std::to_string(coroutines) + "-on-" + where.name, where.threads, 10, true, true};
  add("coroutines", with_coroutines, "cistern", [](const situation& here, std::size_t uses) {
    return perf::run_coroutines(here.threads, here.objects, uses);
  });
}

void register_all() {
  using options = cistern::object_pool_options;
  const options fifo{.order = cistern::reuse_order::fifo};
  const options elastic{.max_size = cistern::no_limit, .empty = cistern::when_empty::create};
  for (const situation& where : situations()) {
    add_policy("lifo", where, run_cistern<cistern::shared>({}, &options::max_size), "mutex-slice");
    add_policy("fifo", where, run_cistern<cistern::shared>(fifo, &options::max_size), "channel");
    if (!where.waits) {  // these never wait
      add_policy("elastic", where, run_cistern<cistern::shared>(elastic, &options::max_idle),
                 "channel-factory");
      add_policy("per-thread", where, run_cistern<cistern::per_thread>({}, &options::max_size), "sync-pool");
    }
    if (!where.long_runs) add_coroutines(where);
  }
  if (!go_pools.empty()) benchmark::AddCustomContext("go", CISTERN_PERF_GO_VERSION);
}

constexpr const char* help =
    R"(Acquires an object, touches it and gives it back, through object pools of every policy, through pools as people
write them, and through Go's where Go was there when this was built: object/POLICY/THREADS/POOL. Times are
wall-clock nanoseconds per use, all threads together. With 64 threads per core, with an object for each or with
ten for all, and with 64 coroutines per thread and ten objects, a run takes ten times --benchmark_min_time.
)";

}  // namespace

int main(int count, char** values) {
  return perf::run_benchmarks({.name = "object_pool_bench", .help = help, .register_all = register_all},
                              count, values);
}
