#include <cistern/bad_allocation.hpp>
#include <cistern/pool_allocator.hpp>

#include <new>

namespace cistern::detail {

void refuse_array(std::size_t count, std::size_t element_bytes) {
  if (count > SIZE_MAX / element_bytes) {
    throw std::bad_array_new_length();
  }
  throw bad_allocation("request is larger than any object can be", count * element_bytes, PTRDIFF_MAX, 0);
}

}  // namespace cistern::detail
