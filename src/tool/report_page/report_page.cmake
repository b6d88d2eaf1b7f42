# The page of `cistern-trace report`: bundled from packages of npm, which are fetched as package-lock.json has them, and
# never committed. Sets cistern_report_page_source, and cistern_report_page_modules if the page is built.
set(CISTERN_REPORT_PAGE AUTO CACHE STRING "Build `cistern-trace report` (needs node and npm): AUTO, ON or OFF")
set_property(CACHE CISTERN_REPORT_PAGE PROPERTY STRINGS AUTO ON OFF)

set(cistern_report_page_source no_report_page.cpp)
set(cistern_report_page_modules "")

# Finds the packages, or fetches them: where .ci/setup has put them for all builds, else into this build. Sets `result` to
# their folder, or `problem` to what is missing. A fetch that failed isn't tried again until the lock file changes.
function(cistern_find_report_packages result problem)
  set(${problem} "" PARENT_SCOPE)
  file(SHA256 ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/package-lock.json lock)
  foreach(folder ${PROJECT_SOURCE_DIR}/build/report_page ${PROJECT_BINARY_DIR}/report_page)
    if(EXISTS ${folder}/fetched)
      file(READ ${folder}/fetched fetched)
      string(STRIP "${fetched}" fetched)
      if(fetched STREQUAL lock)
        set(${result} ${folder}/node_modules PARENT_SCOPE)
        return()
      endif()
    endif()
  endforeach()
  find_program(CISTERN_NPM npm)
  if(NOT CISTERN_NPM)
    set(${problem} "npm isn't found" PARENT_SCOPE)
    return()
  endif()
  if(CISTERN_REPORT_PAGE STREQUAL "AUTO" AND CISTERN_REPORT_PAGE_NOT_FETCHED STREQUAL lock)
    set(${problem} "npm could not fetch its packages when it was tried" PARENT_SCOPE)
    return()
  endif()
  message(STATUS "Fetching what cistern-trace's report is made of, with npm")
  set(folder ${PROJECT_BINARY_DIR}/report_page)
  file(MAKE_DIRECTORY ${folder})
  file(COPY ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/package.json ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/package-lock.json
       DESTINATION ${folder})
  execute_process(
    COMMAND ${CISTERN_NPM} ci --omit=dev --ignore-scripts --no-audit --no-fund --fetch-retries=0 --fetch-timeout=20000
    WORKING_DIRECTORY ${folder}
    TIMEOUT 120
    RESULT_VARIABLE status
    OUTPUT_VARIABLE output
    ERROR_VARIABLE output)
  if(status EQUAL 0)
    file(WRITE ${folder}/fetched ${lock})
    set(${result} ${folder}/node_modules PARENT_SCOPE)
  else()
    set(CISTERN_REPORT_PAGE_NOT_FETCHED ${lock} CACHE INTERNAL "The lock file whose packages npm could not fetch")
    file(WRITE ${folder}/npm.log "${output}")
    set(${problem} "npm could not fetch its packages (${folder}/npm.log says why)" PARENT_SCOPE)
  endif()
endfunction()

set(cistern_report_page_problem "")
if(CISTERN_REPORT_PAGE)
  find_program(CISTERN_NODE node)
  if(CISTERN_NODE)
    cistern_find_report_packages(cistern_report_page_modules cistern_report_page_problem)
  else()
    set(cistern_report_page_problem "node isn't found")
  endif()
endif()

# The browser test takes what it needs from there too.
set(CISTERN_REPORT_PAGE_MODULES "${cistern_report_page_modules}" CACHE INTERNAL "Packages of the report's page")
if(cistern_report_page_modules)
  set(cistern_report_page_source ${CMAKE_CURRENT_BINARY_DIR}/report_template.cpp)
  file(GLOB cistern_report_page_files CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*)
  add_custom_command(
    OUTPUT ${cistern_report_page_source}
    COMMAND ${CISTERN_NODE} ${CMAKE_CURRENT_LIST_DIR}/build.mjs ${cistern_report_page_modules} ${cistern_report_page_source}
    DEPENDS ${cistern_report_page_files}
    COMMENT "Bundling the page of cistern-trace report"
    VERBATIM)
  message(STATUS "cistern-trace has report: its packages are in ${cistern_report_page_modules}")
elseif(CISTERN_REPORT_PAGE STREQUAL "AUTO")
  message(STATUS "cistern-trace is built without report: ${cistern_report_page_problem}. Install nodejs and npm, and run "
                 ".ci/setup or configure with -DCISTERN_REPORT_PAGE=ON")
elseif(CISTERN_REPORT_PAGE)
  message(FATAL_ERROR "CISTERN_REPORT_PAGE is ${CISTERN_REPORT_PAGE}, but ${cistern_report_page_problem}")
endif()
