// object_pool_common: what the policies of object pools do alike: time, reports of holders, the factory's
// error.
#pragma once

#include <cistern/detail/slot_table.hpp>
#include <cistern/object_pool_options.hpp>
#include <cistern/pool_error.hpp>

#include <cstdint>
#include <exception>
#include <vector>

namespace cistern::detail {

// start + by, or the end of time.
[[nodiscard]] time_point later(time_point start, duration by) noexcept;

// The time by `clock`; if that is the system's, only as precise as a clock tick (1 to 4 ms), and cheap.
[[nodiscard]] time_point coarse_time(pool_clock clock) noexcept;

// Who holds the objects in slots 1 to `slots_used`, the longest held first, at most `most`.
[[nodiscard]] std::vector<outstanding_lease> collect_holders(const slot_table& slots,
                                                             std::uint32_t slots_used, time_point now,
                                                             std::size_t most);

// Throws pool_error (factory_failed) with `cause`, and what it says.
[[noreturn]] void throw_factory_failed(const std::exception_ptr& cause);

}  // namespace cistern::detail
