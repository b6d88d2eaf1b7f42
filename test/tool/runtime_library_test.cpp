#define BOOST_TEST_MODULE runtime_library
#include "../../src/tool/runtime_library.hpp"

#include <boost/test/unit_test.hpp>

using cistern::tool::is_of_runtime_library;

BOOST_AUTO_TEST_CASE(functions_by_name) {
  for (const char* const name :
       {"operator new(unsigned long)", "operator delete[](void*)", "std::string::reserve(unsigned long)",
        "void std::vector<app::part, std::allocator<app::part> >::_M_realloc_insert<app::part>(int)",
        "__gnu_cxx::new_allocator<int>::allocate(unsigned long)",
        "std::basic_ostream<char>& std::operator<< <char>(std::basic_ostream<char>&, char const*)"}) {
    BOOST_TEST(is_of_runtime_library(name, "/a/program"), name);
  }
  for (const char* const name :
       {"main", "app::make(std::string const&)", "std_like::f()", "void app::f<std::string>()",
        "std::string app::text()", "", "operator+(app::a, app::b)", "(anonymous namespace)::f(std::string)",
        "app::operator new(unsigned long)", "<<<", ">>>("}) {
    BOOST_TEST(!is_of_runtime_library(name, "/a/program"), name);
  }
}

BOOST_AUTO_TEST_CASE(functions_by_file) {
  for (const char* const path :
       {"/lib/x86_64-linux-gnu/libc.so.6", "/lib/libc-2.31.so", "/lib/libc.musl-x86_64.so.1", "libm.so.6",
        "/usr/lib/libstdc++.so.6.0.30", "/usr/lib/libc++.so.1", "/usr/lib/libc++abi.so.1", "libgcc_s.so.1",
        "/lib64/ld-linux-x86-64.so.2", "/a/libcistern-record.so"}) {
    BOOST_TEST(is_of_runtime_library("", path), path);
    BOOST_TEST(is_of_runtime_library("main", path), path);
  }
  for (const char* const path :
       {"", "/libc.so/program", "/usr/lib/libcrypto.so.3", "/usr/lib/libmath.so", "libz.so.1"}) {
    BOOST_TEST(!is_of_runtime_library("f", path), path);
  }
}
