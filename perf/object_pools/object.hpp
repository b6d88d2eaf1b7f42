// object: what the pools of object_pool_bench hold, and its use.
#pragma once

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

}  // namespace perf
