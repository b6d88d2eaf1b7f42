// thread_record: all that one thread knows of its caches.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// A cache, and whose it is: serial numbers are never used twice, nor ever 0. Where the serial matches there
/// is a cache. References to caches of dead pools stay behind; they can't match.
struct cache_reference {
  std::uint64_t serial = 0;
  void* cache = nullptr;
};

/// What a thread knows of its caches. Only its thread touches it, but for a fork's child and the end of all.
struct thread_record {
  static constexpr std::size_t table_size = 64;
  enum class phase : std::uint8_t { fresh, working, ended };

  /// Where a thread looks first: by pool id, modulo its size, what was used last.
  std::array<cache_reference, table_size> table{};
  /// All of the thread's caches, by pool id: `table` itself while that has room for all ids met.
  cache_reference* all = nullptr;
  std::uint32_t size = 0;
  std::uint32_t rounds = 0;  ///< How often the system has told of the thread's end.
  phase state = phase::fresh;
  thread_record* previous = nullptr;  // these two guarded by the directory's lock
  thread_record* next = nullptr;
};

}  // namespace cistern::detail
