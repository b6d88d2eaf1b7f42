// block_request: the size and alignment with which a block can be given back.
#pragma once

#include <cstddef>

namespace cistern::detail {

/// What `deallocate` takes beside the pointer.
struct block_request {
  std::size_t bytes;
  std::size_t alignment;
};

}  // namespace cistern::detail
