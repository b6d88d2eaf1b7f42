// Which classes threads cache: all up to a size that is a block size itself.
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/magazine.hpp>

#include <boost/test/unit_test.hpp>

using namespace cistern::detail;  // NOLINT(google-build-using-namespace)

BOOST_AUTO_TEST_CASE(cached_classes_end_with_the_largest_cached_block) {
  BOOST_TEST(class_block_bytes(cached_class_count - 1) == largest_cached_block_bytes);
  BOOST_TEST(class_block_bytes(cached_class_count) > largest_cached_block_bytes);
  BOOST_TEST(cached_class_count < class_count);
}

BOOST_AUTO_TEST_CASE(a_new_magazine_is_empty) {
  const magazine none;
  BOOST_TEST((none.head == nullptr));
  BOOST_TEST(none.blocks == 0U);
}
