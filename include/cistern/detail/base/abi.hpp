// abi: a program and a library that don't fit each other are an error of the linker.
#pragma once

#include <cistern/detail/base/requirements.hpp>

#include <version>

// What both must have in common: the version, and what changes the layout of classes that both know, or what
// they write into free blocks. For each there is a symbol; the library defines those that it was built as,
// and who includes a public header refers to those of his own build. The linker prints the name of the one
// that is missing, so the name says what to do.
#define CISTERN_ABI_VERSION cistern_headers_0_1_need_library_0_1

#if defined(CISTERN_CHECKED) && CISTERN_CHECKED
#define CISTERN_ABI_CHECKS cistern_program_with_CISTERN_CHECKED_needs_library_with_it
#else
#define CISTERN_ABI_CHECKS cistern_program_without_CISTERN_CHECKED_needs_library_without_it
#endif

#if defined(CISTERN_HARDENED) && CISTERN_HARDENED
#define CISTERN_ABI_HARDENING cistern_program_with_CISTERN_HARDENED_needs_library_with_it
#else
#define CISTERN_ABI_HARDENING cistern_program_without_CISTERN_HARDENED_needs_library_without_it
#endif

#if defined(_LIBCPP_VERSION)
#define CISTERN_ABI_STANDARD_LIBRARY cistern_program_with_libcxx_needs_library_with_it
#elif defined(_GLIBCXX_DEBUG)
#define CISTERN_ABI_STANDARD_LIBRARY cistern_program_with_GLIBCXX_DEBUG_needs_library_with_it
#else
#define CISTERN_ABI_STANDARD_LIBRARY cistern_program_without_GLIBCXX_DEBUG_needs_library_without_it
#endif

extern "C" {
extern const char CISTERN_ABI_VERSION;
extern const char CISTERN_ABI_CHECKS;
extern const char CISTERN_ABI_HARDENING;
extern const char CISTERN_ABI_STANDARD_LIBRARY;
}

// A copy of the sources under another name (see src/malloc) is compiled in one piece with its users.
#if !defined(CISTERN_LIBRARY_SOURCE) && !defined(cistern)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wattributes"  // Old assemblers can't retain.

// One pointer for each symbol in a whole program, whose names differ as those of the symbols do: files that
// were compiled in different ways must not share one. Retained, so that the linker doesn't drop it as unused
// before it looks for the symbol.
#define CISTERN_CONCATENATE(a, b) a##b
#define CISTERN_REFER_TO(symbol) \
  [[gnu::used, gnu::retain]] inline const char* const CISTERN_CONCATENATE(symbol, _) = &(symbol);
namespace cistern::detail {
CISTERN_REFER_TO(CISTERN_ABI_VERSION)
CISTERN_REFER_TO(CISTERN_ABI_CHECKS)
CISTERN_REFER_TO(CISTERN_ABI_HARDENING)
CISTERN_REFER_TO(CISTERN_ABI_STANDARD_LIBRARY)
}  // namespace cistern::detail
#undef CISTERN_REFER_TO
#undef CISTERN_CONCATENATE

#pragma GCC diagnostic pop
#endif
