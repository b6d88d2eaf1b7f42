#include <cistern/resource_or_new_delete.hpp>

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_CASE(null_means_new_delete) {
  BOOST_TEST(cistern::resource_or_new_delete(nullptr) == std::pmr::new_delete_resource());
}

BOOST_AUTO_TEST_CASE(anything_else_is_kept) {
  std::pmr::monotonic_buffer_resource resource;
  BOOST_TEST(cistern::resource_or_new_delete(&resource) == &resource);
}
