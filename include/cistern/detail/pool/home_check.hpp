// home_check: whether a block that came back is one of its span, in hardened builds.
#pragma once

#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/span.hpp>

#include <cstddef>
#include <cstdint>

namespace cistern::detail {

/// Ends with the misuse that `block` was given back as one of so many bytes.
[[noreturn, gnu::cold]] void given_back_wrongly(const void* block, std::size_t block_bytes,
                                                const char* what) noexcept;

/// To be called where the span of a block that came back as one of class `index` is looked up anyway.
/// `home`: what `span_at` found. Ends with a misuse, in a hardened build, where it can't be; else nothing.
inline void expect_home(unsigned index, const void* block, const span* home) noexcept {
  if constexpr (hardened_build) {
    if (home == nullptr) [[unlikely]] {
      given_back_wrongly(block, class_block_bytes(index), "is no block of this pool");
    }
    const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(block) - home->base());
    if (home->is_free || offset >= home->bytes()) [[unlikely]] {
      given_back_wrongly(block, class_block_bytes(index), "is no block in use");
    }
    if (home->index != index) [[unlikely]] {
      given_back_wrongly(block, class_block_bytes(index), "is a block of another size");
    }
    // Of blocks that share a span there are no 4 GiB; and a division of so few bits takes half as long.
    const auto block_bytes = static_cast<std::uint32_t>(class_block_bytes(index));
    const bool is_shared = home->use == span_use::blocks;
    const auto number = is_shared ? static_cast<std::uint32_t>(offset) / block_bytes : 0;
    if (offset != std::size_t{number} * block_bytes) [[unlikely]] {
      given_back_wrongly(block, class_block_bytes(index), "is not the beginning of a block");
    }
    if (is_shared && number >= home->carved) [[unlikely]] {
      given_back_wrongly(block, class_block_bytes(index), "is no block in use");
    }
  }
}

/// The same for a block that is a run. Most are known by the record of their page; the rest of them, and what
/// can't be, by a walk over the region. `Supply`: see `span_supply`.
template <class Supply>
void expect_run(unsigned index, const void* block, const Supply& supply) noexcept {
  if (hardened_build && !supply.is_run_in_use(index, block)) [[unlikely]] {
    expect_home(index, block, supply.find(block));
  }
}

}  // namespace cistern::detail
