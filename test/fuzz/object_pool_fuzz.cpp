// Fuzz body: any program of bytes, on a clock moved by hand, must leave an object pool with exact accounts,
// each object with one user, and those who wait served in order.
#include <cistern/object_pool.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <system_error>
#include <utility>
#include <vector>

#include "../support/coroutine.hpp"
#include "../support/program_bytes.hpp"

namespace {

using namespace std::chrono_literals;
using cistern::duration;
using cistern::lease;
using cistern::object_pool_options;
using cistern::pool_error;
using cistern::time_point;

void demand(bool condition, const char* what) {
  if (!condition) throw std::logic_error(what);
}

time_point now_of_all{1h};
time_point manual_now() noexcept {
  return now_of_all;
}

struct figures {
  std::size_t alive = 0;
  std::size_t destroyed = 0;  ///< By the lifecycle.
  unsigned failing_creates = 0;
  bool failing_reset = false;
};

/// An object that counts itself, wherever it is moved.
class item {
 public:
  explicit item(figures& all) : all_(&all) { ++all.alive; }
  item(item&& other) noexcept
      : broken(other.broken), in_hands(other.in_hands), all_(std::exchange(other.all_, nullptr)) {}
  item& operator=(item&&) = delete;
  ~item() {
    if (all_ != nullptr) --all_->alive;
  }
  bool broken = false;
  bool in_hands = false;

 private:
  figures* all_;
};

struct item_lifecycle {
  figures* all;
  item create() {
    if (all->failing_creates != 0) {
      --all->failing_creates;
      throw std::runtime_error("no object");
    }
    return item(*all);
  }
  void reset(item& one) {
    demand(one.in_hands, "an object comes back twice");
    one.in_hands = false;
    if (all->failing_reset) throw std::runtime_error("not clean");
  }
  bool validate(item& one) { return !one.broken; }
  void destroy(item&& /*one*/) noexcept { ++all->destroyed; }
};

object_pool_options options_from(cistern::test_support::program_bytes& program, bool is_shared) {
  const auto flags = program.byte();
  object_pool_options options;
  options.max_size = 1 + program.byte() % 9;
  options.max_idle = flags % 2 == 0 ? cistern::no_limit : program.byte() % 10;
  options.min_idle = std::min<std::size_t>({program.byte() % 3U, options.max_size, options.max_idle});
  options.initial = std::min<std::size_t>({program.byte() % 3U, options.max_size, options.max_idle});
  options.max_waiters = flags % 8 < 2 ? program.byte() % 4 : cistern::no_limit;
  options.order = is_shared && flags % 16 < 8 ? cistern::reuse_order::fifo : cistern::reuse_order::lifo;
  options.idle_timeout = flags % 32 < 16 ? cistern::forever : duration(1s * (1 + program.byte()));
  options.max_lifetime = flags % 64 < 32 ? cistern::forever : duration(1s * (1 + program.byte()));
  return options;
}

template <class Policy>
class pool_program {
 public:
  explicit pool_program(cistern::test_support::program_bytes& program)
      : program_(program), options_(options_from(program, is_shared)) {
    pool_ = std::make_unique<pool_type>(options_, item_lifecycle{&all_}, nullptr, &manual_now);
  }

  void run() {
    while (!program_.empty()) {
      step(program_.byte());
      check();
    }
    all_.failing_creates = 0;
    if (program_.byte() % 2 == 0) leases_.clear();
    pool_.reset();
    demand(undone() == 0, "somebody waits for a pool that is gone");
    leases_.clear();
    waits_.clear();
    kept_.clear();
    demand(all_.alive == 0, "objects are left");
  }

 private:
  static constexpr bool is_shared = std::is_same_v<Policy, cistern::shared>;
  using pool_type = cistern::object_pool<item, item_lifecycle, Policy>;

  /// The place of a coroutine that waits.
  struct wait {
    std::optional<lease<item>> got;
    std::stop_source stop;
    bool done = false;
  };

  cistern::test::started await(wait& place, time_point deadline) {
    try {
      place.got.emplace(co_await pool_->acquire_async_until(deadline, place.stop.get_token()));
      for (const wait& older : waits_) {
        if (&older == &place) break;
        demand(older.done, "somebody is served before one who waits for longer");
      }
    } catch (const pool_error&) {
    }
    place.done = true;
  }

  void step(std::uint8_t what) {
    const std::size_t number = what / 16;
    switch (what % 16) {
      case 0:
      case 1:
      case 2:
        return acquire();
      case 3:
      case 4:
        return begin_wait(number % 4 == 0 ? time_point::max() : now_of_all + 1s * program_.byte());
      case 5:
      case 6:
      case 7:
        if (!leases_.empty()) take_lease().give_back();
        return;
      case 8:
        if (!leases_.empty()) end_lease(number);
        return;
      case 9:
        now_of_all += 1s * program_.byte();
        return;
      case 10:
        (void)pool_->maintain();
        return;
      case 11:
        all_.failing_creates = static_cast<unsigned>(number % 4);
        all_.failing_reset = number >= 12;
        return;
      case 12:
        pool_->resize(1 + number);
        return;
      case 13:
        (void)pool_->trim(number);
        return;
      case 14:
        return cancel_wait(number);
      default:
        return whole_pool(number);
    }
  }

  void acquire() {
    try {
      if (auto got = pool_->try_acquire()) add(std::move(*got));
    } catch (const pool_error&) {
    }
  }
  void add(lease<item> got) {
    demand(!got->in_hands, "an object has two users");
    demand(!got->broken, "an object that isn't valid");
    got->in_hands = true;
    leases_.push_back(std::move(got));
  }
  lease<item> take_lease() {
    const std::size_t index = program_.byte() % leases_.size();
    lease<item> one = std::move(leases_[index]);
    leases_.erase(leases_.begin() + static_cast<std::ptrdiff_t>(index));
    return one;
  }
  void end_lease(std::size_t how) {
    lease<item> one = take_lease();
    if (how % 3 == 0) {
      one.discard();
    } else if (how % 3 == 1) {
      kept_.push_back(std::make_unique<item>(one.detach()));
    } else {
      one->broken = true;  // it is found when it is next wanted
    }
  }

  void begin_wait(time_point deadline) {
    wait& place = waits_.emplace_back();
    await(place, deadline);
    collect();
  }
  void cancel_wait(std::size_t which) {
    if (!waits_.empty()) waits_[which % waits_.size()].stop.request_stop();
  }
  [[nodiscard]] std::size_t undone() const {
    return static_cast<std::size_t>(
        std::count_if(waits_.begin(), waits_.end(), [](const wait& each) { return !each.done; }));
  }
  /// What was granted becomes a lease; places are kept while older ones wait.
  void collect() {
    for (wait& each : waits_) {
      if (each.done && each.got) add(std::move(*std::exchange(each.got, std::nullopt)));
    }
    while (!waits_.empty() && waits_.front().done) waits_.pop_front();
  }

  void whole_pool(std::size_t how) {
    if (how < 6) {
      (void)pool_->evict_if([&](const item&) { return program_.byte() % 2 == 0; });
    } else if (how < 9) {
      pool_->invalidate_all();
    } else if (how < 13) {
      item made(all_);
      (void)pool_->adopt(std::move(made));
    } else if (how < 15) {
      try {
        pool_->warm(how % 5);
      } catch (const pool_error&) {
      }
    } else if (program_.byte() < 32) {
      pool_->close();
      closed_ = true;
    }
  }

  void check() {
    collect();
    const cistern::object_pool_statistics s = pool_->statistics();
    demand(pool_->check_invariants(), "invariants");
    demand(s.in_use == leases_.size(), "objects in use");
    demand(s.total == s.idle + s.in_use && s.creating == 0, "objects that exist");
    demand(s.created + s.adopted - s.destroyed_total() == s.total, "objects that came and went");
    demand(all_.alive == s.total + kept_.size(), "objects that live");
    demand(all_.destroyed + s.destroyed_for(cistern::destroy_reason::detached) == s.destroyed_total(),
           "objects that the lifecycle destroyed");
    demand(s.waiting == undone(), "those who wait");
    demand(!closed_ || (s.idle == 0 && s.waiting == 0), "a closed pool has something");
  }

  cistern::test_support::program_bytes& program_;
  object_pool_options options_;
  figures all_;
  std::unique_ptr<pool_type> pool_;
  std::vector<lease<item>> leases_;
  std::deque<wait> waits_;
  std::vector<std::unique_ptr<item>> kept_;
  bool closed_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  cistern::test_support::program_bytes program(std::span(data, size_bytes));
  now_of_all = time_point{1h};
  if (program.byte() % 4 != 0) {
    pool_program<cistern::shared>(program).run();
  } else {
    pool_program<cistern::per_thread>(program).run();
  }
  return 0;
}
