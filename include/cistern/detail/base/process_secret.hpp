// process_secret: a number that differs in every process, for what must not look right by chance.
#pragma once

#include <atomic>
#include <cstdint>

namespace cistern::detail {

/// From the random bytes that the system gives a process at its start: so it is the same in each copy of the
/// library in the process, and in the children of forks. 0 until `learn_process_secret`, which every copy
/// calls when it is loaded, and whoever needs the number earlier.
extern std::atomic<std::uint64_t> process_secret;

/// Idempotent. O(1); thread-safe.
void learn_process_secret() noexcept;

}  // namespace cistern::detail
