// library_copies: which copies of the library are in this process, as each plug-in may bring its own.
#pragma once

#include <atomic>
#include <cstdint>

namespace cistern {
class synchronized_pool_resource;
}

namespace cistern::detail {

/// What a copy tells the others of itself. They find it by an ELF note, which needs no visible symbol.
struct library_copy {
  std::uint64_t abi;  ///< Copies with the same one can work on each other's pools.
  /// Makes the copy's process pool on the first call. Throws `std::bad_alloc`.
  synchronized_pool_resource* (*own_pool)();
  std::atomic<synchronized_pool_resource*> pool;  ///< Null until `own_pool` has made it.
};

/// That of this copy. The note with the name "Cistern" and the type 1 has as its content the record's
/// distance from there, as 32 bits.
extern "C" [[gnu::visibility("hidden")]] constinit library_copy cistern_this_copy;

/// Of all copies with our ABI the one that was loaded first: what there must be once per process is there. It
/// stays loaded from now on, whoever would unload it. O(modules). Thread-safe; waits for modules that another
/// thread is just loading or unloading.
[[nodiscard]] library_copy& first_copy() noexcept;

}  // namespace cistern::detail
