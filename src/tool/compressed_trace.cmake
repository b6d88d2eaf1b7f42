# cistern_use_compressed_traces(TARGET): compiles src/tool/compressed_trace.cpp into TARGET, and what that is made
# of, with zstd where it is found.
find_path(CISTERN_ZSTD_INCLUDE_DIR zstd.h)
find_library(CISTERN_ZSTD_LIBRARY zstd)
mark_as_advanced(CISTERN_ZSTD_INCLUDE_DIR CISTERN_ZSTD_LIBRARY)
if(NOT CISTERN_ZSTD_INCLUDE_DIR OR NOT CISTERN_ZSTD_LIBRARY)
  message(STATUS "no zstd (Debian: libzstd-dev): compressed traces can't be read or written")
endif()

function(cistern_use_compressed_traces target)
  target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/src/tool/compressed_trace.cpp
                                   ${PROJECT_SOURCE_DIR}/src/tool/file_beside.cpp
                                   ${PROJECT_SOURCE_DIR}/src/tool/peeked_source.cpp)
  set(has_zstd 0)
  if(CISTERN_ZSTD_INCLUDE_DIR AND CISTERN_ZSTD_LIBRARY)
    set(has_zstd 1)
    target_include_directories(${target} SYSTEM PRIVATE ${CISTERN_ZSTD_INCLUDE_DIR})
    target_link_libraries(${target} PRIVATE ${CISTERN_ZSTD_LIBRARY})
  endif()
  target_compile_definitions(${target} PRIVATE CISTERN_HAS_ZSTD=${has_zstd})
endfunction()
