#include <cistern/detail/pool/free_list.hpp>

#include <cstdio>
#include <cstdlib>

namespace cistern::detail {

void overwritten_free_block(const void* place) noexcept {
  std::fprintf(stderr,
               "cistern: a free block was written to, at %p: by who gave it back, or beyond the end of the "
               "block before it\n",
               place);
  std::abort();
}

}  // namespace cistern::detail
