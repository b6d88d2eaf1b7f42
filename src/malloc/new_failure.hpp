// new_failure: what operator new does when there is no memory, by means of the program's own C++ library.
#pragma once

#include <cstddef>

namespace cistern::detail {

// Two sources define these: libcistern-malloc.so serves programs without any C++ library as well, so it looks
// for the one a program has when it needs it; a program that links cistern::global_new has it at hand.

using new_handler = void (*)();

/// The handler that the program has set, or null.
[[nodiscard]] new_handler current_new_handler() noexcept;

/// Throws `std::bad_alloc`.
[[noreturn]] void throw_bad_alloc();

/// What the throwing `operator new` returns, or null where it throws.
[[nodiscard]] void* new_or_null(std::size_t bytes, std::size_t alignment) noexcept;

}  // namespace cistern::detail
