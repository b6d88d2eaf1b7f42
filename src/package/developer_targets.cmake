# Targets for those who work on cistern: tidy, format and format-check.
find_program(CISTERN_CLANG_FORMAT NAMES clang-format-14 clang-format)
find_program(CISTERN_RUN_CLANG_TIDY NAMES run-clang-tidy-14 run-clang-tidy)

if(CISTERN_CLANG_FORMAT)
  set(cistern_find_code find include src test perf -name "*.[ch]pp" -print0)
  add_custom_target(
    format
    COMMAND ${cistern_find_code} | xargs -0 ${CISTERN_CLANG_FORMAT} -i
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    VERBATIM)
  add_custom_target(
    format-check
    COMMAND ${cistern_find_code} | xargs -0 ${CISTERN_CLANG_FORMAT} --dry-run --Werror
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    VERBATIM)
endif()
if(CISTERN_RUN_CLANG_TIDY)
  # The library's sources, and each public header alone.
  add_custom_target(
    tidy
    COMMAND ${CISTERN_RUN_CLANG_TIDY} -quiet -p ${PROJECT_BINARY_DIR} "/(src|cistern_verify_interface_header_sets)/"
    USES_TERMINAL VERBATIM)
endif()
