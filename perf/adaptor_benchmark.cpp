// adaptor_benchmark: what each adaptor adds to an allocation and its deallocation, over both pools.
//
// One iteration is one pair. The recorded trace goes nowhere, so that what is measured is the adaptor and not
// a disk. Over the synchronized pool the rows with threads share one stack.
#include <cistern/adaptor/failure_adaptor.hpp>
#include <cistern/adaptor/fallback_adaptor.hpp>
#include <cistern/adaptor/guarding_adaptor.hpp>
#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/adaptor/recording_adaptor.hpp>
#include <cistern/adaptor/sampling_guard_adaptor.hpp>
#include <cistern/adaptor/statistics_adaptor.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <cmath>
#include <cstddef>
#include <functional>
#include <memory>
#include <memory_resource>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <benchmark/benchmark.h>

#include "support/benchmark_program.hpp"
#include "support/keep.hpp"

namespace {

using resource = std::pmr::memory_resource;
using owner = std::unique_ptr<resource>;

constexpr std::size_t block_bytes = 64;
constexpr std::size_t no_limit_in_reach_bytes = std::size_t{1} << 40;

void into_nothing(std::span<const std::byte>) {}

/// A statistics_adaptor with a scope open.
struct scoped_statistics : cistern::statistics_adaptor {
  using statistics_adaptor::statistics_adaptor;
  cistern::statistics_scope scope{*this};
};

struct variant {
  const char* name;
  std::function<owner(resource*)> make;  ///< Empty: the pool as it is.
};

const variant variants[] = {
    {"bare", nullptr},
    {"limit",
     [](resource* on) { return std::make_unique<cistern::limit_adaptor>(no_limit_in_reach_bytes, on); }},
    {"statistics", [](resource* on) { return std::make_unique<cistern::statistics_adaptor>(on); }},
    {"statistics-scope", [](resource* on) { return std::make_unique<scoped_statistics>(on); }},
    {"failure",
     [](resource* on) {
       return std::make_unique<cistern::failure_adaptor>([](std::size_t, std::size_t) { return false; }, on);
     }},
    {"fallback", [](resource* on) { return std::make_unique<cistern::fallback_adaptor>(on); }},
    {"fallback-taken",
     [](resource* on) {
       return std::make_unique<cistern::fallback_adaptor>(std::pmr::null_memory_resource(), on);
     }},
    {"recording",
     [](resource* on) { return std::make_unique<cistern::recording_adaptor>(into_nothing, on); }},
    {"recording-no-times",
     [](resource* on) {
       return std::make_unique<cistern::recording_adaptor>(into_nothing, on,
                                                           cistern::recording_options{.timestamps = false});
     }},
    {"guarding", [](resource* on) { return std::make_unique<cistern::guarding_adaptor>(on); }},
    {"guarding-no-quarantine",
     [](resource* on) {
       return std::make_unique<cistern::guarding_adaptor>(cistern::guarding_options{.quarantine_bytes = 0},
                                                          on);
     }},
    {"sampling-guard-off",
     [](resource* on) {
       return std::make_unique<cistern::sampling_guard_adaptor>(cistern::sampling_guard_options{.one_in = 0},
                                                                on);
     }},
    {"sampling-guard",
     [](resource* on) {
       return std::make_unique<cistern::sampling_guard_adaptor>(
           cistern::sampling_guard_options{.one_in = 1000}, on);
     }},
};

/// A pool with an adaptor over it, or without.
template <class Pool>
struct stack {
  explicit stack(const variant& what) : adaptor(what.make ? what.make(&pool) : nullptr) {}
  [[nodiscard]] resource* top() { return perf::hide(adaptor ? adaptor.get() : &pool); }

  Pool pool{std::pmr::new_delete_resource()};
  owner adaptor;
};

void pairs(benchmark::State& state, resource* memory) {
  for (auto _ : state) {
    void* const block = memory->allocate(block_bytes);
    perf::touch(block);
    memory->deallocate(block, block_bytes);
  }
}

/// What a block takes from the pool beside its own size, in whole bytes: the few that a sampling guard puts
/// elsewhere don't count.
double added_bytes(const variant& what) {
  constexpr int blocks = 1000;
  cistern::statistics_adaptor below;
  const owner adaptor = what.make(&below);
  const auto before = below.statistics().live_bytes;
  void* held[blocks];
  for (void*& each : held) each = adaptor->allocate(block_bytes);
  const auto taken = below.statistics().live_bytes - before;
  for (void* each : held) adaptor->deallocate(each, block_bytes);
  return std::round(static_cast<double>(taken) / blocks) - block_bytes;
}

template <class Pool>
void add(const std::string& pool_name, const variant& what, int threads) {
  const std::string name = "adaptor/" + pool_name + '/' + std::to_string(threads) +
                           (threads == 1 ? "-thread/" : "-threads/") + what.name;
  const auto shared = std::make_shared<stack<Pool>>(what);
  auto* const added = benchmark::RegisterBenchmark(name.c_str(), [&what, shared](benchmark::State& state) {
    pairs(state, shared->top());
    if (what.make && state.thread_index() == 0) state.counters["added_bytes"] = added_bytes(what);
  });
  if (threads > 1) added->Threads(threads);
}

void add_all() {
  for (const variant& what : variants) {
    add<cistern::unsynchronized_pool_resource>("unsync", what, 1);
    add<cistern::synchronized_pool_resource>("sync", what, 1);
    // Where the second resource serves every request, the first throws each time: exceptions, not adaptors.
    if (std::string_view(what.name) != "fallback-taken")
      add<cistern::synchronized_pool_resource>("sync", what, 2);
  }
}

constexpr const char* help =
    R"(What each adaptor adds to an allocation of 64 bytes and its deallocation, over both pools:
adaptor/POOL/THREADS/ADAPTOR. The counter added_bytes is what a block takes from the pool beside its own size.
)";

}  // namespace

int main(int count, char** values) {
  return perf::run_benchmarks({.name = "adaptor_benchmark", .help = help, .register_all = add_all}, count,
                              values);
}
