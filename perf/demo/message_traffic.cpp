#include "demo/message_traffic.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <latch>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include <sys/resource.h>

namespace demo {
namespace {

using clock = std::chrono::steady_clock;
using message = std::pmr::string;

constexpr double smallest_message_bytes = 1 << 10;
constexpr double largest_message_bytes = 1 << 18;
constexpr double largest_quiet_message_bytes = 1 << 12;
constexpr int quiet_messages_per_tick = 4;

double processor_seconds_of_this_thread() {
  rusage used{};
  ::getrusage(RUSAGE_THREAD, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

/// What messages are copied from, as from the system's buffer of a connection.
std::string make_source() {
  std::string source;
  std::minstd_rand random;
  while (source.size() < static_cast<std::size_t>(largest_message_bytes)) {
    source.push_back(static_cast<char>(random() >> 8U));
  }
  return source;
}

/// The messages that one thread has to drop, by the tick in which it does.
class inbox {
 public:
  inbox() : due_(timetable::all_ticks) {}

  /// Where `tick` is past, or after the end, the message goes with the next ones.
  void put(message&& one, std::size_t tick) {
    const std::scoped_lock lock(mutex_);
    due_[std::clamp(tick, next_, due_.size() - 1)].push_back(std::move(one));
  }

  [[nodiscard]] std::vector<message> take(std::size_t tick) {
    const std::scoped_lock lock(mutex_);
    next_ = std::min(tick + 1, due_.size() - 1);
    return std::exchange(due_[tick], {});
  }

 private:
  std::mutex mutex_;
  std::vector<std::vector<message>> due_;
  std::size_t next_ = 0;
};

class traffic {
 public:
  explicit traffic(std::pmr::memory_resource* resource) : resource_(resource) {}

  traffic_result run(const std::function<std::size_t()>& held_bytes) {
    traffic_result result;
    {
      std::vector<std::jthread> team;
      for (std::size_t thread = 0; thread < timetable::threads; ++thread) {
        team.emplace_back([this, thread] { work(thread); });
      }
      for (std::size_t tick = 0; tick < timetable::all_ticks; tick += timetable::ticks_per_sample) {
        std::this_thread::sleep_until(time_of(tick) + timetable::tick * timetable::ticks_per_sample);
        result.samples.push_back({live_bytes_.load(std::memory_order_relaxed), held_bytes()});
      }
      sampled_.count_down();
    }
    for (inbox& left : inboxes_) drop(left.take(timetable::all_ticks - 1));
    result.processor_seconds = static_cast<double>(processor_microseconds_.load()) * 1e-6;
    result.checksum = checksum_;
    result.messages = messages_;
    return result;
  }

 private:
  [[nodiscard]] clock::time_point time_of(std::size_t tick) const { return start_ + timetable::tick * tick; }

  void work(std::size_t thread) {
    std::minstd_rand random(static_cast<unsigned>(thread) + 1);
    inbox& neighbour = inboxes_[(thread + 1) % timetable::threads];
    for (std::size_t tick = 0; tick < timetable::all_ticks; ++tick) {
      std::this_thread::sleep_until(time_of(tick));
      drop(inboxes_[thread].take(tick));
      tick < timetable::all_bursts_ticks ? receive_burst(neighbour, tick, random)
                                         : receive_little(neighbour, tick, random);
    }
    processor_microseconds_ += static_cast<std::uint64_t>(processor_seconds_of_this_thread() * 1e6);
    sampled_.wait();  // a thread that ends gives memory back; a server's threads go on
  }

  void receive_burst(inbox& to, std::size_t tick, std::minstd_rand& random) {
    constexpr std::size_t bytes_per_tick =
        timetable::burst_bytes / timetable::threads / timetable::last_receipt;
    const std::size_t tick_in_burst = tick % timetable::burst_ticks;
    if (tick_in_burst >= timetable::last_receipt) return;
    const std::size_t drop_tick = tick - tick_in_burst + timetable::drop;
    for (std::size_t bytes = 0; bytes < bytes_per_tick;) {
      const bool held = random() % 2 == 0;
      bytes += receive(to, held ? drop_tick : tick + timetable::brief_ticks, largest_message_bytes, random);
    }
  }

  void receive_little(inbox& to, std::size_t tick, std::minstd_rand& random) {
    for (int count = 0; count < quiet_messages_per_tick; ++count) {
      receive(to, tick + timetable::brief_ticks, largest_quiet_message_bytes, random);
    }
  }

  /// Returns the message's size.
  std::size_t receive(inbox& to, std::size_t drop_tick, double largest_bytes, std::minstd_rand& random) {
    const double share = static_cast<double>(random()) / static_cast<double>(std::minstd_rand::max());
    const auto bytes = static_cast<std::size_t>(smallest_message_bytes *
                                                std::pow(largest_bytes / smallest_message_bytes, share));
    live_bytes_.fetch_add(bytes, std::memory_order_relaxed);
    to.put(message(source_.data() + source_.size() - bytes, bytes, resource_), drop_tick);
    return bytes;
  }

  void drop(const std::vector<message>& due) {
    std::size_t bytes = 0;
    std::uint64_t sum = 0;
    for (const message& one : due) {
      bytes += one.size();
      sum += one.size() * 65'536 + static_cast<unsigned char>(one.front()) * 256U +
             static_cast<unsigned char>(one.back());
    }
    live_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    checksum_ += sum;
    messages_ += due.size();
  }

  std::pmr::memory_resource* resource_;
  std::string source_ = make_source();
  std::array<inbox, timetable::threads> inboxes_;
  std::atomic<std::size_t> live_bytes_ = 0;
  std::atomic<std::uint64_t> processor_microseconds_ = 0;
  std::atomic<std::uint64_t> checksum_ = 0;
  std::atomic<std::uint64_t> messages_ = 0;
  std::latch sampled_{1};
  clock::time_point start_ = clock::now();
};

}  // namespace

traffic_result run_traffic(std::pmr::memory_resource* resource,
                           const std::function<std::size_t()>& held_bytes) {
  return traffic(resource).run(held_bytes);
}

}  // namespace demo
