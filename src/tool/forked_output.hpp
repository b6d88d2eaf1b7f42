// forked_output: what is written by work that a fork of this process does.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>

namespace cistern::tool {

/// What `work` writes, done in a fork that ends with it. While this is called there may be no other thread.
/// Throws `std::system_error`, and `std::runtime_error` if the fork fails.
[[nodiscard]] std::string forked_output(const std::function<void(std::ostream&)>& work);

}  // namespace cistern::tool
