// contestant: the memory resources that are compared, listed in one place.
#pragma once

#include <cstddef>
#include <iosfwd>
#include <memory>
#include <memory_resource>
#include <span>
#include <string>
#include <string_view>

namespace perf {

/// One way to get memory. Each measurement makes a fresh resource and destroys it afterwards.
struct contestant {
  /// `one_block_bytes`: the only size the workload asks for, or 0 where it asks for many.
  using factory = std::shared_ptr<std::pmr::memory_resource> (*)(std::size_t one_block_bytes);

  std::string_view name;
  bool ours = false;           ///< A cistern pool: the summary compares it with all others.
  bool thread_safe = false;    ///< Takes part in workloads with threads.
  bool one_size_only = false;  ///< Takes part only in workloads of one block size.
  bool global = false;         ///< There is one in the process: it doesn't come and go.
  bool by_default = true;      ///< Takes part unless contestants are named.
  /// Whether it can take part here; null: always.
  bool (*there)() = nullptr;
  factory make = nullptr;
  /// Prints the resource's own statistics; null where it keeps none.
  void (*print_statistics)(std::ostream&, std::pmr::memory_resource&) = nullptr;
  /// Asks the resource, and what it gets its memory from, to give back all they can.
  void (*give_back)(std::pmr::memory_resource&) = nullptr;
};

/// All contestants, in the order of the report's columns.
[[nodiscard]] std::span<const contestant> contestants();

/// Gives blocks that are none. What a workload takes on it is the workload's own cost.
[[nodiscard]] const contestant& nothing();

/// Whether `who` takes part where nobody is named.
[[nodiscard]] bool takes_part(const contestant& who);

/// Times are given relative to this contestant.
inline constexpr std::string_view reference_name = "mimalloc";

}  // namespace perf
