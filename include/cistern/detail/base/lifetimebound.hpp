// CISTERN_LIFETIMEBOUND: marks the object or argument that a function's result refers to.
#pragma once

// Clang warns where the result outlives what is so marked; other compilers have no such attribute. Behind a
// member function's qualifiers it is about the object itself, behind a parameter's name about that argument.
#if defined(__has_cpp_attribute)
#if __has_cpp_attribute(clang::lifetimebound)
#define CISTERN_LIFETIMEBOUND [[clang::lifetimebound]]
#endif
#endif
#if !defined(CISTERN_LIFETIMEBOUND)
#define CISTERN_LIFETIMEBOUND
#endif
