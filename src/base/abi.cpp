#include <cistern/detail/base/abi.hpp>

// What this library was built as.
const char CISTERN_ABI_VERSION = 0;
const char CISTERN_ABI_CHECKS = 0;
const char CISTERN_ABI_HARDENING = 0;
const char CISTERN_ABI_STANDARD_LIBRARY = 0;

// Two static libraries in one program would be mixed without a word: the linker takes each function from the
// first that has it. Where a program asks for the symbols of both, this one is there twice.
extern "C" const char cistern_only_one_version_of_the_library_fits_into_a_program = 0;
