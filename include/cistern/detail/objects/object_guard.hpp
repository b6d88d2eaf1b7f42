// object_guard: while a memory checker looks on, who touches an object that nobody has on loan is reported.
#pragma once

#include <cstddef>

namespace cistern::detail {

/// Where an object lies, how much room is its alone, and where a copy of its bytes goes. Leak checkers don't
/// follow pointers out of memory that nobody may touch: what an idle object owns they find through the copy.
struct guarded_object {
  void* object;
  std::size_t object_bytes;
  std::size_t room_bytes;
  void* copy;
};

/// From now on the object is nobody's to touch. It may be so already.
void guard(const guarded_object& one) noexcept;
/// Now it may be touched, but not what lies behind it.
void unguard(const guarded_object& one) noexcept;

}  // namespace cistern::detail
