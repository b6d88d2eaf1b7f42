# check_sanitizer_runtime(SANITIZER RESULT): whether programs can be compiled and linked with -fsanitize=SANITIZER.
include(CheckCXXSourceCompiles)

function(check_sanitizer_runtime sanitizer result)
  set(CMAKE_REQUIRED_FLAGS -fsanitize=${sanitizer})
  set(CMAKE_REQUIRED_LINK_OPTIONS -fsanitize=${sanitizer})
  check_cxx_source_compiles("int main() {}" ${result})
endfunction()
