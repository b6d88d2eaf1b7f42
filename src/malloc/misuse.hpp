// misuse: what the heap says of a call that can't be right, before it aborts.
#pragma once

namespace cistern::detail {

/// Writes one line on stderr, with the function that was called, the address it got, and what is wrong with
/// it, and aborts. Allocates nothing.
[[noreturn, gnu::cold]] void misuse_found(const char* function, const void* address,
                                          const char* what) noexcept;

}  // namespace cistern::detail
