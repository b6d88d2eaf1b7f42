// home_check: whether a block that came back is one of its span, in hardened builds.
#pragma once

#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/span.hpp>

#include <cstddef>

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
    if (offset % class_block_bytes(index) != 0) [[unlikely]] {
      given_back_wrongly(block, class_block_bytes(index), "is not the beginning of a block");
    }
    if (home->use == span_use::blocks && offset / class_block_bytes(index) >= home->carved) [[unlikely]] {
      given_back_wrongly(block, class_block_bytes(index), "is no block in use");
    }
  }
}

}  // namespace cistern::detail
