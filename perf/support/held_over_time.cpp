#include "support/held_over_time.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <thread>
#include <unordered_map>

#include "support/keep.hpp"
#include "support/process.hpp"
#include "support/random.hpp"
#include "support/slots.hpp"

namespace perf {
namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;

using scene_clock = std::chrono::steady_clock;

/// Writes a line when it is asked to.
class observer {
 public:
  observer(std::ostream& out, const contestant& who, std::pmr::memory_resource& resource)
      : out_(out), who_(who), resource_(resource) {
    out_ << "seconds,live_bytes,held_bytes,resident_bytes\n";
  }

  void look(std::size_t live_bytes) {
    const std::chrono::duration<double> passed = scene_clock::now() - start_;
    const std::size_t now = resident_bytes();
    const std::size_t grown = now - std::min(now, before_);
    const std::size_t held = who_.keeps != nullptr ? who_.keeps(resource_).upstream_bytes : grown;
    out_ << passed.count() << ',' << live_bytes << ',' << held << ',' << grown << '\n';
  }

 private:
  std::ostream& out_;
  const contestant& who_;
  std::pmr::memory_resource& resource_;
  std::size_t before_ = resident_bytes();
  scene_clock::time_point start_ = scene_clock::now();
};

/// A quiet phase: `work`, which is little, every so often, as many allocators do what they put off in calls
/// only.
template <class Work, class Look>
void be_quiet(effort how_much, const Work& work, const Look& look) {
  const int looks = how_much == effort::full ? 100 : 4;
  for (int i = 0; i < looks; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    work();
    look();
  }
}

class burst {
 public:
  explicit burst(std::pmr::memory_resource* resource) : resource_(resource) {}
  burst(const burst&) = delete;
  burst& operator=(const burst&) = delete;
  ~burst() { empty_all(resource_, live_); }

  void play(observer& seen, effort how_much) {
    const std::size_t most_bytes = how_much == effort::full ? 240 * mib : 24 * mib;
    const std::size_t step_bytes = most_bytes / 40;
    for (std::size_t next = step_bytes; live_bytes_ < most_bytes;) {
      add();
      if (live_bytes_ < next) continue;
      seen.look(live_bytes_);
      next += step_bytes;
    }
    shuffle(live_, random_);
    for (std::size_t next = most_bytes - step_bytes; live_bytes_ > mib;) {
      remove();
      if (live_bytes_ > next) continue;
      seen.look(live_bytes_);
      next -= std::min(next, step_bytes);
    }
    const auto replace_some = [this] {
      for (int i = 0; i < 20; ++i)
        add(), std::swap(live_[random_.below(live_.size())], live_.back()), remove();
    };
    be_quiet(how_much, replace_some, [&] { seen.look(live_bytes_); });
  }

 private:
  void add() {
    const std::size_t bytes = size_range{kib, 256 * kib}.pick(random_.next() >> 32U);
    fill(resource_, live_.emplace_back(), bytes);
    auto* const written = static_cast<volatile std::byte*>(live_.back().block);
    for (std::size_t i = 0; i < bytes; i += 4 * kib) written[i] = std::byte{1};
    live_bytes_ += bytes;
  }
  void remove() {
    live_bytes_ -= live_.back().bytes;
    resource_->deallocate(live_.back().block, live_.back().bytes);
    live_.pop_back();
  }

  std::pmr::memory_resource* resource_;
  random_source random_{41};
  std::vector<slot> live_;
  std::size_t live_bytes_ = 0;
};

void play_survivors(std::pmr::memory_resource* resource, observer& seen, effort how_much) {
  constexpr std::size_t text_bytes = 200;
  // What an entry asks for: the text with its end, a node, and its share of the table.
  constexpr std::size_t entry_bytes =
      text_bytes + 1 + sizeof(void*) + sizeof(std::pair<std::uint32_t, std::pmr::string>) + sizeof(void*);
  const std::uint32_t entries = how_much == effort::full ? 500'000 : 50'000;
  const std::uint32_t step = entries / 40;
  std::pmr::unordered_map<std::uint32_t, std::pmr::string> cache(resource);
  const auto look = [&] { seen.look(cache.size() * entry_bytes); };
  for (std::uint32_t i = 0; i < entries; ++i) {
    cache.try_emplace(i, text_bytes, 's');
    if (i % step == step - 1) look();
  }
  for (std::uint32_t i = 0; i < entries; ++i) {
    if ((i * 2654435761U >> 16U) % 20 != 0) cache.erase(i);
    if (i % step == step - 1) look();
  }
  std::uint32_t next = entries;
  const auto replace_some = [&] {
    for (int i = 0; i < 20; ++i) {
      cache.erase(cache.begin());
      cache.try_emplace(next++, text_bytes, 's');
    }
  };
  be_quiet(how_much, replace_some, look);
}

}  // namespace

bool plays(const contestant& who, const std::string& scene) {
  return !who.one_size_only && !who.never_frees && !who.is_rewound && !who.empty_handed &&
         (scene == "burst" || scene == "survivors");
}

void play_scene(std::ostream& out, const std::string& scene, const contestant& who, effort how_much) {
  const auto resource = who.make(0);
  std::pmr::memory_resource* const hidden = hide(resource.get());
  observer seen(out, who, *resource);
  seen.look(0);
  if (scene == "burst") {
    burst(hidden).play(seen, how_much);
  } else {
    play_survivors(hidden, seen, how_much);
  }
}

}  // namespace perf
