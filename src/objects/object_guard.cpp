#include <cistern/detail/base/memory_checker.hpp>
#include <cistern/detail/objects/object_guard.hpp>

#include <cstring>

namespace cistern::detail {

void guard(const guarded_object& one) noexcept {
  unguard(one);
  std::memcpy(one.copy, one.object, one.object_bytes);
  forbid_access(one.object, one.room_bytes);
}

// Not what nobody forbade: memcheck goes on knowing which of its bytes were never written.
void unguard(const guarded_object& one) noexcept {
  if (is_forbidden(one.object)) {
    allow_access_again(one.object, one.object_bytes);
  }
}

}  // namespace cistern::detail
