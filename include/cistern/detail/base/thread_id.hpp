// thread_id: the number by which the system, debuggers and logs know the calling thread.
#pragma once

#include <cstdint>

namespace cistern::detail {

/// What `gettid` returns; asked of the system once in each thread's life, and again in the child of a fork.
[[nodiscard]] std::uint64_t thread_id() noexcept;

}  // namespace cistern::detail
