// requirements: one line for a compiler, or options of it, that cistern can't be used with.
#pragma once

// Where no file can answer an include the compiler stops: all that it would say behind the line above is
// noise.
#if __cplusplus < 202002L
#error "cistern needs C++20: compile with -std=c++20 or newer"
#include <see_the_error_above>
#elif __SIZEOF_POINTER__ < 8
#error "cistern needs a 64-bit target: its limits and tables are made for 64-bit addresses"
#include <see_the_error_above>
#elif !defined(__cpp_exceptions) && !defined(cistern)  // A copy under another name throws nothing.
#error "cistern reports failures by exceptions: compile without -fno-exceptions"
#include <see_the_error_above>
#elif !__has_include(<memory_resource>)
#error "cistern needs <memory_resource>: libstdc++ 12, libc++ 16, or newer"
#include <see_the_error_above>
#endif
