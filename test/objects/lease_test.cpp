// Leases: moving, swapping, and what happens to an empty one.
#include <cistern/lease.hpp>

#include <utility>

#include <boost/test/unit_test.hpp>

#include "../support/object_pool_support.hpp"

using namespace cistern;
using namespace cistern::test;

BOOST_AUTO_TEST_CASE(an_empty_lease_is_false_and_gives_back_nothing) {
  lease<int> none;
  BOOST_TEST(!none);
  BOOST_TEST(none.get() == nullptr);
  none.give_back();
  BOOST_TEST(!none);
}

BOOST_AUTO_TEST_CASE(moving_hands_the_object_over) {
  tally counts;
  thing_pool pool({.max_size = 2}, {&counts});
  auto a = pool.acquire();
  const int id = a->id;
  lease<thing> b(std::move(a));
  BOOST_TEST(!a);  // NOLINT: moved-from leases are empty
  BOOST_TEST(b->id == id);
  auto c = pool.acquire();
  c = std::move(b);  // gives back what c held
  BOOST_TEST(c->id == id);
  BOOST_TEST(pool.idle() == 1U);
  auto& self = c;
  c = std::move(self);
  BOOST_TEST(c->id == id);
}

BOOST_AUTO_TEST_CASE(swapping_exchanges_the_objects) {
  tally counts;
  thing_pool pool({.max_size = 2}, {&counts});
  auto a = pool.acquire();
  auto b = pool.acquire();
  swap(a, b);
  BOOST_TEST(a->id == 1);
  BOOST_TEST(b->id == 0);
  lease<thing> none;
  a.swap(none);
  BOOST_TEST(!a);
  BOOST_TEST((*none).id == 1);
}

BOOST_AUTO_TEST_CASE(age_is_the_age_of_the_object) {
  manual_clock::reset();
  tally counts;
  thing_pool pool({.max_size = 1}, {&counts}, nullptr, &manual_clock::now);
  pool.acquire().give_back();
  manual_clock::advance(90s);
  BOOST_TEST((pool.acquire().age() == 90s));
}
