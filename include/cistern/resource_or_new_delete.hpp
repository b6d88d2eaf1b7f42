// Null mode: the rule that a null resource means plain new/delete.
#pragma once

#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/detail/base/requirements.hpp>

#include <memory_resource>

namespace cistern {

/// Returns `resource`, or `std::pmr::new_delete_resource()` when `resource` is null.
///
/// Every part of the library that takes a `std::pmr::memory_resource*` passes it through here, so `nullptr`
/// always means plain new/delete. O(1); thread-safe.
[[nodiscard]] inline std::pmr::memory_resource* resource_or_new_delete(
    std::pmr::memory_resource* resource CISTERN_LIFETIMEBOUND) noexcept {
  return resource != nullptr ? resource : std::pmr::new_delete_resource();
}

}  // namespace cistern
