// never_destroyed: the object is made where it stands, and nothing ends its life.
#include <cistern/detail/base/never_destroyed.hpp>

#include <stdexcept>
#include <utility>

#include <boost/test/unit_test.hpp>

using cistern::detail::never_destroyed;

namespace {

int made = 0;
int destroyed = 0;

struct counted {
  int value;
  explicit counted(int v) : value(v) {
    if (v < 0) throw std::invalid_argument("negative");
    ++made;
  }
  ~counted() { ++destroyed; }
};

struct plain {
  int value = 7;
};

constinit never_destroyed<plain> early{std::in_place};
constinit never_destroyed<counted> late;

static_assert(sizeof(never_destroyed<counted>) == sizeof(counted));

}  // namespace

BOOST_AUTO_TEST_CASE(is_there_from_the_start) {
  BOOST_TEST(early->value == 7);
  BOOST_TEST((*early).value == 7);
}

BOOST_AUTO_TEST_CASE(is_made_on_demand_again_if_that_failed_and_never_destroyed) {
  BOOST_CHECK_THROW(late.make(-1), std::invalid_argument);
  BOOST_TEST(&late.make(3) == &*late);
  BOOST_TEST(late->value == 3);
  {
    never_destroyed<counted> local(std::in_place, 4);
    BOOST_TEST(local->value == 4);
  }
  BOOST_TEST(made == 2);
  BOOST_TEST(destroyed == 0);
}
