// usage_error: arguments that make no sense.
#pragma once

#include <stdexcept>

namespace cistern::tool {

/// The text says which, and what would make sense.
class usage_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace cistern::tool
