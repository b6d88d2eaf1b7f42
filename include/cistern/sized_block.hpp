// sized_block: a block of memory and its size, as `allocate_at_least` returns it.
#pragma once

#include <cistern/detail/base/requirements.hpp>

#include <cstddef>

namespace cistern {

struct sized_block {
  void* ptr = nullptr;
  std::size_t bytes = 0;
};

}  // namespace cistern
