// require_conformance: the conformance suite of the testing kit as checks of Boost.Test.
#pragma once

#include <cistern/testing/resource_conformance.hpp>

#include <memory_resource>
#include <string>

#include <boost/test/unit_test.hpp>

namespace cistern::test_support {

/// For subjects that may not ask upstream at all in a short case, which the suite takes for a fault.
inline std::pmr::memory_resource* asked_once(std::pmr::memory_resource* upstream) {
  upstream->deallocate(upstream->allocate(1), 1);
  return upstream;
}

template <class Subject>
void require_conformance() {
  for (const std::string& failure : testing::conformance_failures<Subject>()) BOOST_ERROR(failure);
  BOOST_TEST(testing::resource_conformance<Subject>::cases().size() >= 8u);
}

}  // namespace cistern::test_support
