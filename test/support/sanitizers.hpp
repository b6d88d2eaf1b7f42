// sanitizers: which ones the program is compiled with; they take their time, and don't support everything.
#pragma once

#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/tsan.hpp>

namespace cistern::test_support {

#if defined(CISTERN_TSAN)
inline constexpr bool thread_sanitizer = true;
#else
inline constexpr bool thread_sanitizer = false;
#endif
inline constexpr bool sanitized = thread_sanitizer || cistern::detail::asan_build;

}  // namespace cistern::test_support
