#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "support/keep.hpp"
#include "support/random.hpp"
#include "support/slots.hpp"
#include "support/workload.hpp"

namespace perf {
namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;

/// 40,000 times one of 100 blocks of 1 to 256 KiB is replaced, and all are freed. Then a steady state of 32
/// blocks of 64 KiB to 1 MiB, which alone is timed: as in large/32x64KiB-1MiB, but in a resource with a past.
workload steady_after_small() {
  return {.name = "phases/then-32x64KiB-1MiB",
          .operation = "deallocate + allocate",
          .memory_operations = 2000,
          .run = [](benchmark::State& state, std::pmr::memory_resource* resource) {
            constexpr int operations = 200;
            constexpr size_range small{1 * kib, 256 * kib};
            constexpr size_range large{64 * kib, mib};
            random_source random(17);
            std::vector<slot> slots(100);
            fill_all(resource, slots, random, small);
            for (int i = 0; i < 40'000; ++i) replace_one(resource, slots, random, small);
            empty_all(resource, slots);
            slots.resize(32);
            fill_all(resource, slots, random, large);
            time_batches(state, operations, [&] {
              for (int i = 0; i < operations; ++i) replace_one(resource, slots, random, large);
            });
            empty_all(resource, slots);
          }};
}

void touch_pages(const slot& place) {
  touch(place.block);
  auto* const bytes = static_cast<volatile std::byte*>(place.block);
  for (std::size_t i = 4 * kib; i < place.bytes; i += 4 * kib) bytes[i] = std::byte{1};
}

/// Phases of `phase_bytes` each. `Phases` goes through them when it is made, upon which it has `blocks`, the
/// number of those that came, and what survives lives as long as it does.
template <class Phases>
workload phases(std::string name, std::size_t phase_bytes) {
  return {.name = std::move(name),
          .operation = "allocate + deallocate",
          .run =
              [=](benchmark::State& state, std::pmr::memory_resource* resource) {
                const auto blocks =
                    static_cast<benchmark::IterationCount>(Phases(resource, phase_bytes).blocks);
                while (state.KeepRunningBatch(blocks)) Phases(resource, phase_bytes);
              },
          .hold =
              [=](const resource_maker& make, const settled_hook& settled) {
                const auto resource = make();
                const Phases survivors(hide(resource.get()), phase_bytes);
                settled(resource.get());
              },
          .live_bytes = [=] { return phase_bytes; }};
}

/// Of other sizes each: what one has freed should serve the next.
struct other_sizes {
  other_sizes(std::pmr::memory_resource* resource, std::size_t phase_bytes) {
    random_source random(18);
    std::vector<slot> slots;
    for (const size_range sizes :
         {size_range{256, 512}, size_range{20 * kib, 40 * kib}, size_range{3 * kib, 6 * kib},
          size_range{200 * kib, 400 * kib}, size_range{600, 1200}}) {
      for (std::size_t live_bytes = 0; live_bytes < phase_bytes; live_bytes += slots.back().bytes) {
        fill(resource, slots.emplace_back(), sizes.pick(random.next() >> 32U));
        touch_pages(slots.back());
      }
      blocks += slots.size();
      empty_all(resource, slots);
      slots.clear();
    }
  }

  std::size_t blocks = 0;
};

/// A map of 500,000 strings of 200 characters of which 95 % expire: from then on much is idle between the
/// survivors. Timed are temporaries of another size, after so many that what had to go back has gone: giving
/// 100 MiB back takes some 20 ms, wherever they are spent.
workload temporary_after_expiry(std::size_t entries, std::string size_name, std::size_t bytes) {
  return {.name = "survivors/" + std::to_string(entries / 1000) + "k/" + std::move(size_name),
          .operation = "allocate + deallocate",
          .memory_operations = 1000,
          .run = [=](benchmark::State& state, std::pmr::memory_resource* resource) {
            constexpr int operations = 100;
            std::pmr::unordered_map<std::uint32_t, std::pmr::string> cache(resource);
            for (std::uint32_t i = 0; i < entries; ++i) cache.try_emplace(i, 200, 's');
            for (std::uint32_t i = 0; i < entries; ++i) {
              if ((i * 2654435761U >> 16U) % 20 != 0) cache.erase(i);
            }
            const auto make_temporaries = [&](int count) {
              for (int i = 0; i < count; ++i) {
                void* block = resource->allocate(bytes);
                touch(block);
                resource->deallocate(block, bytes);
              }
            };
            make_temporaries(2000 * operations);
            time_batches(state, operations, [&] { make_temporaries(operations); });
          }};
}

/// Of blocks of one size each, of which one in 3,000 survives: a few bytes that may hold much.
class sparse_survivors {
 public:
  sparse_survivors(std::pmr::memory_resource* resource, std::size_t phase_bytes) : resource_(resource) {
    static constexpr std::size_t sizes[] = {128, 160, 192, 256, 320, 384, 512, 640, 768, 1024, 1280, 1536};
    for (const std::size_t bytes : sizes) {
      std::vector<slot> slots(phase_bytes / bytes);
      for (slot& place : slots) fill(resource_, place, bytes);
      for (std::size_t i = 0; i < slots.size(); ++i) keep_or_free(slots[i], i % 3000 == 1500);
      blocks += slots.size();
    }
  }
  sparse_survivors(const sparse_survivors&) = delete;
  sparse_survivors& operator=(const sparse_survivors&) = delete;
  ~sparse_survivors() { empty_all(resource_, survivors_); }

  std::size_t blocks = 0;

 private:
  void keep_or_free(const slot& place, bool survives) {
    if (survives) {
      survivors_.push_back(place);
    } else {
      resource_->deallocate(place.block, place.bytes);
    }
  }

  std::pmr::memory_resource* resource_;
  std::vector<slot> survivors_;
};

}  // namespace

std::vector<workload> phase_workloads(effort how_much) {
  const bool full = how_much == effort::full;
  const std::size_t entries = full ? 500'000 : 50'000;
  return {
      steady_after_small(),
      full ? phases<other_sizes>("phases/100MiB", 100 * mib) : phases<other_sizes>("phases/10MiB", 10 * mib),
      temporary_after_expiry(entries, "1500B", 1500), temporary_after_expiry(entries, "70000B", 70'000),
      full ? phases<sparse_survivors>("sparse-survivors/60MiB", 60 * mib)
           : phases<sparse_survivors>("sparse-survivors/6MiB", 6 * mib)};
}

}  // namespace perf
