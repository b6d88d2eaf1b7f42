// Boost.Test as a library of our own, where the packaged one was built for another standard library.
#include <boost/test/included/unit_test.hpp>
