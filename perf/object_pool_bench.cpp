// object_pool_bench: acquire and give back under each policy, beside what people build by hand, interleaved.
#include <cistern/object_pool.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <deque>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <boost/lockfree/stack.hpp>

#include "support/keep.hpp"
#include "support/measure.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"
#include "support/table.hpp"
#include "support/thread_team.hpp"

namespace {

constexpr const char* usage =
    R"(Usage: object_pool_bench [options]

Acquires an object, touches it and gives it back, again and again, through object pools of both policies and through
two pools as people write them, interleaved in one process. Prints wall-clock nanoseconds per acquire + give
back, all threads together: the median of the rounds, and in brackets the fastest round.

  serial        one thread
  per_core      one thread per core
  crowd         64 threads per core, an object for each
  scarce        64 threads per core, 10 objects: most threads wait, each hand-off wakes one
  coroutines    64 coroutines per core on one thread per core, 10 objects, each held over a suspension

  --filter A,B,...   only these workloads
  --rounds N         rounds (default 9)
  --run-time MS      aimed at for one run (default 40; with 64 threads per core 10 times that, so that each
                     thread is interrupted several times)
  --quick            3 rounds of a quarter of that
  --csv FILE         write every round of every contestant
  --help             print this
)";

struct usage_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct object {
  std::uint64_t value = 0;
};
struct object_lifecycle {
  object create() { return {}; }
};

void use(object& one) {
  ++one.value;
  perf::keep(&one);
}

// ---- the contestants ----

template <class Policy>
class cistern_pool {
 public:
  explicit cistern_pool(const cistern::object_pool_options& options) : pool_(options) {}
  void one_use() {
    auto one = pool_.acquire();
    use(*one);
  }
  auto& pool() { return pool_; }

 private:
  cistern::object_pool<object, object_lifecycle, Policy> pool_;
};

// A vector under a mutex, with a condition variable for those who find it empty.
class locked_vector {
 public:
  explicit locked_vector(std::size_t objects) {
    for (std::size_t i = 0; i < objects; ++i) {
      idle_.push_back(std::make_unique<object>());
    }
  }
  void one_use() {
    std::unique_lock lock(mutex_);
    given_back_.wait(lock, [&] { return !idle_.empty(); });
    auto one = std::move(idle_.back());
    idle_.pop_back();
    lock.unlock();
    use(*one);
    lock.lock();
    idle_.push_back(std::move(one));
    lock.unlock();
    given_back_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable given_back_;
  std::vector<std::unique_ptr<object>> idle_;
};

// Boost's lock-free stack; whoever finds it empty gives up the processor and tries again.
class lockfree_stack {
 public:
  explicit lockfree_stack(std::size_t objects) : idle_(objects), objects_(objects) {
    for (object& one : objects_) {
      idle_.push(&one);
    }
  }
  void one_use() {
    object* one = nullptr;
    while (!idle_.pop(one)) {
      std::this_thread::yield();
    }
    use(*one);
    idle_.push(one);
  }

 private:
  boost::lockfree::stack<object*> idle_;
  std::vector<object> objects_;
};

// ---- the workloads ----

struct workload {
  std::string name;
  unsigned threads;
  std::size_t objects;
};

// Time of about `uses` uses by all threads together.
template <class Pool>
double run_threads(Pool& pool, const workload& what, std::size_t uses) {
  const std::size_t each = uses / what.threads + 1;
  const auto time = perf::time_together(
      what.threads, [&](unsigned) { pool.one_use(); },
      [&](unsigned) {
        for (std::size_t i = 0; i < each; ++i) {
          pool.one_use();
        }
      },
      [](unsigned) {});
  return static_cast<double>(time.count()) / static_cast<double>(each * what.threads);
}

class run_queue {
 public:
  void push(std::coroutine_handle<> one) {
    const std::scoped_lock lock(mutex_);
    ready_.push_back(one);
  }
  bool run_one() {
    std::unique_lock lock(mutex_);
    if (ready_.empty()) {
      return false;
    }
    const auto one = ready_.front();
    ready_.pop_front();
    lock.unlock();
    one.resume();
    return true;
  }
  struct turn {
    run_queue& queue;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> one) const { queue.push(one); }
    void await_resume() const noexcept {}
  };
  // The others first.
  turn next_turn() { return {*this}; }

 private:
  std::mutex mutex_;
  std::deque<std::coroutine_handle<>> ready_;
};

struct started {
  struct promise_type {
    started get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

template <class Pool>
started use_in_turns(Pool& pool, run_queue& queue, std::size_t uses, std::atomic<unsigned>& running) {
  co_await queue.next_turn();
  for (std::size_t i = 0; i < uses; ++i) {
    auto one = co_await pool.acquire_async([&](std::coroutine_handle<> self) { queue.push(self); });
    use(*one);
    co_await queue.next_turn();
  }
  --running;
}

double run_coroutines(const workload& what, std::size_t uses) {
  cistern_pool<cistern::shared> pool({.max_size = what.objects, .initial = what.objects});
  const unsigned coroutines = what.threads * 64;
  const std::size_t each = uses / coroutines + 1;
  run_queue queue;
  std::atomic<unsigned> running{coroutines};
  for (unsigned i = 0; i < coroutines; ++i) {
    use_in_turns(pool.pool(), queue, each, running);
  }
  const auto time = perf::time_together(
      what.threads, [](unsigned) {},
      [&](unsigned) {
        while (running > 0) {
          if (!queue.run_one()) {
            std::this_thread::yield();
          }
        }
      },
      [](unsigned) {});
  return static_cast<double>(time.count()) / static_cast<double>(each * coroutines);
}

// ---- the harness ----

struct contestant {
  std::string name;
  std::function<double(const workload&, std::size_t uses)> run;  // ns per use; empty: can't do it
};

std::vector<contestant> contestants(bool coroutines, bool scarce) {
  if (coroutines) {
    return {{"shared lifo", run_coroutines}};
  }
  const auto shared_pool = [](cistern::object_pool_options options) {
    return [options](const workload& what, std::size_t uses) mutable {
      options.max_size = options.initial = what.objects;
      cistern_pool<cistern::shared> pool(options);
      return run_threads(pool, what, uses);
    };
  };
  std::vector<contestant> all{{"shared lifo", shared_pool({})},
                              {"shared fifo", shared_pool({.order = cistern::reuse_order::fifo})},
                              {"mutex+vector+cv",
                               [](const workload& what, std::size_t uses) {
                                 locked_vector pool(what.objects);
                                 return run_threads(pool, what, uses);
                               }},
                              {"boost lockfree", [](const workload& what, std::size_t uses) {
                                 lockfree_stack pool(what.objects);
                                 return run_threads(pool, what, uses);
                               }}};
  if (!scarce) {  // these never wait
    all.push_back({"shared elastic", [](const workload& what, std::size_t uses) {
                     cistern_pool<cistern::shared> pool({.max_size = cistern::npos,
                                                         .max_idle = what.objects,
                                                         .initial = what.objects,
                                                         .empty = cistern::when_empty::create});
                     return run_threads(pool, what, uses);
                   }});
    all.push_back({"per_thread", [](const workload& what, std::size_t uses) {
                     cistern_pool<cistern::per_thread> pool({.initial = what.objects});
                     return run_threads(pool, what, uses);
                   }});
  }
  return all;
}

struct options {
  std::vector<std::string> filters;
  std::string csv_file;
  std::size_t rounds = 9;
  std::chrono::duration<double> run_time = std::chrono::milliseconds{40};
};

// How many uses take about as long as wanted; also warms everything up.
std::size_t calibrate(const contestant& who, const workload& what, std::chrono::duration<double> wanted) {
  double uses = 1000;
  for (;;) {
    const double taken = who.run(what, static_cast<std::size_t>(uses)) * 1e-9 * uses;
    if (taken >= wanted.count() / 2) {
      return static_cast<std::size_t>(uses * wanted.count() / taken) + 1;
    }
    // A short run is mostly the start of its threads, and says little about a long one.
    uses *= std::clamp(wanted.count() / taken, 2.0, 8.0);
  }
}

void measure(const workload& what, const options& how, perf::table& times, std::ostream* csv,
             perf::progress& progress) {
  const auto who = contestants(what.name == "coroutines", what.name == "scarce");
  const bool crowded = what.threads > 2 * std::thread::hardware_concurrency();
  std::vector<std::size_t> uses;
  for (const contestant& one : who) {
    progress.step("warming up " + one.name);
    uses.push_back(calibrate(one, what, how.run_time * (crowded ? 10 : 1)));
  }
  std::vector<std::vector<double>> rounds(who.size());
  for (std::size_t round = 0; round < how.rounds; ++round) {
    progress.step("round " + std::to_string(round + 1));
    for (std::size_t i = 0; i < who.size(); ++i) {
      rounds[i].push_back(who[i].run(what, uses[i]));
      if (csv != nullptr) {
        *csv << what.name << ',' << what.threads << ',' << what.objects << ',' << who[i].name << ','
             << round + 1 << ',' << rounds[i].back() << '\n';
      }
    }
  }
  for (std::size_t i = 0; i < who.size(); ++i) {
    times.add({i == 0 ? what.name : "", std::to_string(what.threads), std::to_string(what.objects),
               who[i].name, perf::significant(perf::median(rounds[i])),
               "(" + perf::significant(*std::min_element(rounds[i].begin(), rounds[i].end())) + ")"});
  }
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t comma = std::min(text.find(',', start), text.size());
    parts.push_back(text.substr(start, comma - start));
    start = comma + 1;
  }
  return parts;
}

unsigned long number(const std::string& option, const std::string& text) {
  if (text.empty() || text.size() > 3 || text.find_first_not_of("0123456789") != std::string::npos ||
      std::stoul(text) == 0) {
    throw usage_error(option + " needs a number from 1 to 999, not \"" + text + '"');
  }
  return std::stoul(text);
}

// Prints the usage and returns false for --help.
bool parse(const std::vector<std::string>& arguments, options& how) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& option = arguments[i];
    const auto value = [&]() -> const std::string& {
      if (i + 1 == arguments.size()) {
        throw usage_error(option + " needs a value");
      }
      return arguments[++i];
    };
    if (option == "--help") {
      std::cout << usage;
      return false;
    } else if (option == "--quick") {
      how.rounds = 3;
      how.run_time /= 4;
    } else if (option == "--rounds") {
      how.rounds = number(option, value());
    } else if (option == "--run-time") {
      how.run_time = std::chrono::milliseconds{number(option, value())};
    } else if (option == "--csv") {
      how.csv_file = value();
    } else if (option == "--filter") {
      how.filters = split(value());
    } else {
      throw usage_error("unknown option " + option);
    }
  }
  return true;
}

int run(const options& how) {
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  const std::vector<workload> workloads{{"serial", 1, 16},
                                        {"per_core", cores, 16},
                                        {"crowd", 64 * cores, 64 * cores},
                                        {"scarce", 64 * cores, 10},
                                        {"coroutines", cores, 10}};
  for (const std::string& name : how.filters) {
    if (std::none_of(workloads.begin(), workloads.end(), [&](const auto& one) { return one.name == name; })) {
      throw usage_error("no workload \"" + name + '"');
    }
  }
  std::ofstream csv;
  if (!how.csv_file.empty()) {
    csv.open(how.csv_file);
    csv << "workload,threads,objects,contestant,round,nanoseconds\n";
  }
  perf::table times({"workload", "threads", "objects", "pool", "ns", "fastest"});
  {
    perf::progress progress;
    for (const workload& what : workloads) {
      if (how.filters.empty() ||
          std::find(how.filters.begin(), how.filters.end(), what.name) != how.filters.end()) {
        progress.stage(what.name);
        measure(what, how, times, csv.is_open() ? &csv : nullptr, progress);
      }
    }
  }
  for (const std::string& line : perf::environment()) {
    std::cout << line << '\n';
  }
  std::cout << perf::build_warning() << '\n';
  times.print(std::cout);
  csv.flush();
  if (!how.csv_file.empty() && !csv) {
    throw std::runtime_error("cannot write " + how.csv_file);
  }
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    options how;
    return parse({arguments + 1, arguments + count}, how) ? run(how) : 0;
  } catch (const usage_error& error) {
    std::cerr << "object_pool_bench: " << error.what() << "\n\n" << usage;
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "object_pool_bench: " << error.what() << '\n';
    return 1;
  }
}
