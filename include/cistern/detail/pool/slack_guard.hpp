// slack_guard: what stands behind the bytes that were asked for, to the end of a block, to see it
// overwritten.
#pragma once

#include <cistern/detail/base/process_secret.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace cistern::detail {

/// What a block has beyond the bytes that were asked for begins with a pattern, and ends with how many were
/// asked for, sealed: they needn't be those that come with the free.
///
///     | asked bytes | pattern, up to 64 bytes | untouched | asked bytes, sealed |
namespace slack_guard {

/// The least slack that has room for one.
inline constexpr std::size_t least_bytes = sizeof(std::uint64_t);
inline constexpr std::size_t most_pattern_bytes = 64;
inline constexpr unsigned char pattern_byte = 0xd5;

[[nodiscard]] inline std::uint64_t seal_of(const void* block) noexcept {
  return (reinterpret_cast<std::uint64_t>(block) + 1) * 0x9e3779b97f4a7c15U ^
         process_secret.load(std::memory_order_relaxed);
}

/// How many bytes after those asked for have the pattern.
[[nodiscard]] inline std::size_t pattern_bytes(std::size_t bytes, std::size_t block_bytes) noexcept {
  return std::min(block_bytes - least_bytes - bytes, most_pattern_bytes);
}

inline void write(void* block, std::size_t bytes, std::size_t block_bytes) noexcept {
  auto* const begin = static_cast<unsigned char*>(block);
  std::memset(begin + bytes, pattern_byte, pattern_bytes(bytes, block_bytes));
  const std::uint64_t sealed = bytes ^ seal_of(block);
  std::memcpy(begin + block_bytes - sizeof sealed, &sealed, sizeof sealed);
}

/// What was asked for, as it stands there: beyond `block_bytes - least_bytes` where it was overwritten.
[[nodiscard]] inline std::size_t asked_bytes(const void* block, std::size_t block_bytes) noexcept {
  std::uint64_t sealed = 0;
  std::memcpy(&sealed, static_cast<const unsigned char*>(block) + block_bytes - sizeof sealed, sizeof sealed);
  return sealed ^ seal_of(block);
}

[[nodiscard]] inline bool is_whole(const void* block, std::size_t block_bytes) noexcept {
  const std::size_t bytes = asked_bytes(block, block_bytes);
  if (bytes > block_bytes - least_bytes) {
    return false;
  }
  const auto* const pattern = static_cast<const unsigned char*>(block) + bytes;
  return std::all_of(pattern, pattern + pattern_bytes(bytes, block_bytes),
                     [](unsigned char each) { return each == pattern_byte; });
}

/// Zeros, of a whole one, in all that was written.
inline void wipe(void* block, std::size_t block_bytes) noexcept {
  auto* const begin = static_cast<unsigned char*>(block);
  const std::size_t bytes = asked_bytes(block, block_bytes);
  std::memset(begin, 0, bytes + pattern_bytes(bytes, block_bytes));
  std::memset(begin + block_bytes - least_bytes, 0, least_bytes);
}

/// Another number of bytes is asked for: what is given up is cleared, and what is gained is what was there.
inline void resize(void* block, std::size_t bytes, std::size_t block_bytes) noexcept {
  const std::size_t before = asked_bytes(block, block_bytes);
  if (bytes < before) {
    std::memset(static_cast<unsigned char*>(block) + bytes, 0, before - bytes);
  }
  write(block, bytes, block_bytes);
}

}  // namespace slack_guard
}  // namespace cistern::detail
