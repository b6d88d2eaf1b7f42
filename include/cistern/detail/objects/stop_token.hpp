// stop_token: the standard's, or one line that says why it isn't there.
#pragma once

#include <version>

#if !defined(__cpp_lib_jthread)
#error "cistern's object pools need std::stop_token: libc++ has it with -fexperimental-library"
#include <see_the_error_above>
#endif

#include <stop_token>
