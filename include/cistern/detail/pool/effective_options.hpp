// effective_options: turns the options a user asked for into those a pool works with.
#pragma once

#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/oversize_list.hpp>
#include <cistern/pool_options.hpp>

namespace cistern::detail {

/// Checks `asked`, fills in defaults, lowers what is beyond the implementation's bounds, and applies
/// CISTERN_PASS_THROUGH from the environment. Throws `std::invalid_argument` naming the field, its value and
/// the bound where a field can't be honoured.
[[nodiscard]] pool_options effective_options(const pool_options& asked);

/// The same for the standard's options, which are never refused.
[[nodiscard]] pool_options from_standard(const std::pmr::pool_options& asked) noexcept;

/// Whether what comes from `upstream` is pages of the system.
[[nodiscard]] bool gives_pages(const std::pmr::memory_resource* upstream) noexcept;

/// Whether a bucket of a pool with these (effective) options serves a request; `last`: see `last_byte`.
[[nodiscard]] inline bool served_by_bucket(std::size_t last, std::size_t alignment,
                                           const pool_options& options) noexcept {
  return last < options.largest_required_pool_block && alignment <= page_bytes && !options.pass_through;
}

/// The size of the block that a pool with these options gives for a request.
[[nodiscard]] inline std::size_t granted_block_bytes(std::size_t bytes, std::size_t alignment,
                                                     const pool_options& options) noexcept {
  if (options.pass_through) {
    return bytes;
  }
  bytes = bytes == 0 ? 1 : bytes;
  const std::size_t last = last_byte(bytes, alignment);
  return served_by_bucket(last, alignment, options) ? class_block_bytes(class_of(last))
                                                    : oversize_list::granted_bytes(bytes);
}

}  // namespace cistern::detail
