// slots: blocks that stay alive while others come and go, and tables of live blocks replaced at random.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <utility>
#include <vector>

#include "support/keep.hpp"
#include "support/random.hpp"

namespace perf {

/// A few live blocks of one size that keep a measured block company, as in any program. (Without them,
/// mimalloc takes its page out of service and back with every pair, a third above its usual cost.)
class company {
 public:
  company(std::pmr::memory_resource* resource, std::size_t bytes) : resource_(resource), bytes_(bytes) {
    for (void*& block : blocks_) touch(block = resource->allocate(bytes));
  }
  company(const company&) = delete;
  company& operator=(const company&) = delete;
  ~company() {
    for (void* block : blocks_) resource_->deallocate(block, bytes_);
  }

 private:
  std::pmr::memory_resource* resource_;
  std::size_t bytes_;
  std::array<void*, 4> blocks_{};
};

struct slot {
  void* block = nullptr;
  std::size_t bytes = 0;
};

inline void fill(std::pmr::memory_resource* resource, slot& place, std::size_t bytes) {
  place = {resource->allocate(bytes), bytes};
  touch(place.block);
}

/// Sizes from the first to the second, uniformly.
struct size_range {
  std::size_t least_bytes;
  std::size_t most_bytes;

  /// `bits`: 32 random ones.
  [[nodiscard]] std::size_t pick(std::uint64_t bits) const noexcept {
    return least_bytes + random_source::scale(bits, most_bytes - least_bytes + 1);
  }
};

inline constexpr size_range small_sizes{8, 512};

/// Two halves of one random number choose place and size.
inline void replace_one(std::pmr::memory_resource* resource, std::vector<slot>& slots, random_source& random,
                        size_range sizes) {
  const std::uint64_t bits = random.next();
  slot& place = slots[random_source::scale(bits >> 32U, slots.size())];
  resource->deallocate(place.block, place.bytes);
  fill(resource, place, sizes.pick(bits));
}

inline void fill_all(std::pmr::memory_resource* resource, std::vector<slot>& slots, random_source& random,
                     size_range sizes) {
  for (slot& place : slots) fill(resource, place, sizes.pick(random.next() >> 32U));
}

inline void empty_all(std::pmr::memory_resource* resource, std::vector<slot>& slots) {
  for (slot& place : slots) resource->deallocate(place.block, place.bytes);
}

template <class Value>
void shuffle(std::vector<Value>& values, random_source& random) {
  for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random.below(i)]);
}

}  // namespace perf
