// keep, touch, hide: barriers that stop the optimiser from removing or specialising measured work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory_resource>

namespace perf {

/// Makes the compiler believe that `value` and everything reachable from it is read and written here.
template <class T>
inline void keep(T* value) noexcept {
  asm volatile("" : : "g"(value) : "memory");
}

/// Makes the compiler believe that the arithmetic `value` is used.
inline void keep_value(std::uint64_t value) noexcept {
  asm volatile("" : : "g"(value) : "memory");
}

/// Writes the first eight bytes of a block: what any user does to a block at once. `block` has at least
/// eight bytes. Every contestant's blocks are touched in the same way.
inline void touch(void* block) noexcept {
  const auto pattern = reinterpret_cast<std::uintptr_t>(block);
  std::memcpy(block, &pattern, sizeof pattern);
  keep(block);
}

/// Returns `resource` with all knowledge of its dynamic type removed, so that each call stays virtual.
[[nodiscard]] inline std::pmr::memory_resource* hide(std::pmr::memory_resource* resource) noexcept {
  asm volatile("" : "+r"(resource) : : "memory");
  return resource;
}

}  // namespace perf
