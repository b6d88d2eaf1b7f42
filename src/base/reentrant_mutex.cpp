#include <cistern/detail/base/reentrant_mutex.hpp>
#include <cistern/detail/base/thread_directory.hpp>

namespace cistern::detail {

std::uintptr_t reentrant_mutex::self() noexcept {
  return reinterpret_cast<std::uintptr_t>(&this_thread_record);
}

}  // namespace cistern::detail
