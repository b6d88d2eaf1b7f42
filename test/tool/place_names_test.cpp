#define BOOST_TEST_MODULE place_names
#include "../../src/tool/place_names.hpp"

#include <string>

#include <boost/test/unit_test.hpp>

using cistern::tool::clean_text;
using cistern::tool::is_of_standard_library;

BOOST_AUTO_TEST_CASE(what_is_the_standard_librarys) {
  for (const char* const name :
       {"operator new(unsigned long)", "operator delete[](void*)", "std::string::reserve(unsigned long)",
        "void std::vector<app::part, std::allocator<app::part> >::_M_realloc_insert<app::part>(int)",
        "__gnu_cxx::new_allocator<int>::allocate(unsigned long)"}) {
    BOOST_TEST(is_of_standard_library(name), name);
  }
  for (const char* const name :
       {"main", "app::make(std::string const&)", "std_like::f()", "void app::f<std::string>()",
        "std::string app::text()", "", "operator+(app::a, app::b)", "<<<", ">>>("}) {
    BOOST_TEST(!is_of_standard_library(name), name);
  }
}

BOOST_AUTO_TEST_CASE(names_are_utf_8_without_control_characters) {
  BOOST_TEST(clean_text("größe") == "größe");
  BOOST_TEST(clean_text("a\xFFz") == "a\uFFFDz");
  BOOST_TEST(clean_text("a\nb\x1B[0m\x7F") == "a\uFFFDb\uFFFD[0m\uFFFD");
  BOOST_TEST(clean_text("\xC2\x85") == "\uFFFD");
  BOOST_TEST(clean_text("\xE2\x82") == "\uFFFD\uFFFD");
  BOOST_TEST(clean_text("") == "");
}
