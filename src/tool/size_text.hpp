// size_text: sizes in bytes as people write them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace cistern::tool {

/// "4096", "64K", "100M", "2G": K, M and G are powers of 1024. None if it is anything else, or too large.
[[nodiscard]] std::optional<std::uint64_t> size_from_text(std::string_view text) noexcept;

}  // namespace cistern::tool
