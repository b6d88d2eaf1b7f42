// object: what the pools of object_pool_bench hold, and its use.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "support/keep.hpp"

namespace perf {

struct pooled_object {
  std::uint64_t value = 0;
};
struct pooled_object_lifecycle {
  pooled_object create() { return {}; }
};

inline void use(pooled_object& one) {
  ++one.value;
  keep(&one);
}

/// Acquire, use and give back, so often, all threads together.
struct pool_run {
  std::chrono::duration<double> elapsed{};
  std::size_t uses = 0;
};

}  // namespace perf
