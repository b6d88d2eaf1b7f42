// effective_options: turns the options a user asked for into those a pool works with.
#pragma once

#include <cistern/pool_options.hpp>

namespace cistern::detail {

/// Checks `asked`, fills in defaults, lowers what is beyond the implementation's bounds, and applies
/// CISTERN_PASS_THROUGH from the environment. Throws `std::invalid_argument` naming the field, its value and
/// the bound where a field can't be honoured.
[[nodiscard]] pool_options effective_options(const pool_options& asked);

/// The same for the standard's options, which are never refused.
[[nodiscard]] pool_options from_standard(const std::pmr::pool_options& asked) noexcept;

}  // namespace cistern::detail
