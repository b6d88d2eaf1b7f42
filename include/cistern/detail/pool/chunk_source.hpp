// chunk_source: where a pool gets memory that must know what it is used for.
#pragma once

#include <cstddef>

namespace cistern::detail {

/// Takes the place of a pool's upstream in the heap under `malloc`, which finds the class of a block from its
/// address. Gives whole pages, and refuses by null where a `memory_resource` would throw: throwing takes
/// memory, and the thrower would ask this very pool for it. Thread-safe; called with locks of the pool held.
class chunk_source {
 public:
  /// At least `bytes`, aligned to a page, or null. `alignment` at most a page.
  [[nodiscard]] virtual void* try_allocate(std::size_t bytes, std::size_t alignment) noexcept = 0;
  virtual void deallocate(void* memory, std::size_t bytes) noexcept = 0;

  /// The first `bytes` of `memory`, which came from here, are blocks of a class from now on.
  virtual void assign(void* memory, std::size_t bytes, unsigned index) noexcept = 0;

 protected:
  ~chunk_source() = default;
};

}  // namespace cistern::detail
