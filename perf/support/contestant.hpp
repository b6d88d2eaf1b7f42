// contestant: the memory resources that are compared, listed in one place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <memory_resource>
#include <string>
#include <vector>

#include "support/workload.hpp"

namespace perf {

/// What a resource says of itself.
struct account {
  std::uint64_t upstream_calls = 0;  ///< Allocations and frees, ever.
  std::size_t upstream_bytes = 0;    ///< Held from upstream now.
};

/// One way to get memory. Each repetition makes a fresh resource and destroys it afterwards.
struct contestant {
  /// `one_block_bytes`: the only size the workload asks for, or 0 where it asks for many.
  using factory = std::function<std::shared_ptr<std::pmr::memory_resource>(std::size_t one_block_bytes)>;

  std::string name;
  bool thread_safe = false;    ///< Takes part in workloads with threads.
  bool one_size_only = false;  ///< Takes part only in workloads of one block size.
  bool global = false;         ///< There is one in the process: it doesn't come and go.
  bool never_frees = false;    ///< Takes part only where resources live shortly.
  bool is_rewound = false;     ///< Never frees either, and takes part only where the work rewinds it.
  bool empty_handed = false;   ///< Gives blocks that are none: takes part only where times are net.
  factory make = nullptr;
  /// Asks the resource, and what it gets its memory from, to give back all they can.
  std::function<void(std::pmr::memory_resource&)> give_back = nullptr;
  /// Null where it keeps no account.
  account (*keeps)(std::pmr::memory_resource&) = nullptr;
};

/// All that are there, in the order of a report.
[[nodiscard]] const std::vector<contestant>& contestants();

/// The one of this name, or null.
[[nodiscard]] const contestant* find_contestant(const std::string& name);

/// Whether `who` can do `what`.
[[nodiscard]] bool eligible(const contestant& who, const workload& what);

}  // namespace perf
