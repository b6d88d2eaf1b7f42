// no_limit: what an option is set to that bounds nothing.
#pragma once

#include <cistern/detail/base/abi.hpp>

#include <cstddef>
#include <cstdint>

namespace cistern {

/// "No limit", for every number of bytes, blocks or objects that an option bounds.
inline constexpr std::size_t no_limit = SIZE_MAX;

}  // namespace cistern
