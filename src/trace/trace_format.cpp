#include "trace_format.hpp"

namespace cistern::detail {
namespace {

/// Table k: what a byte does to the checksum from k bytes further on. Eight at a time take a fifth of the
/// time of one at a time.
constexpr auto crc_tables = [] {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? value >> 1 ^ 0xEDB88320U : value >> 1;
    tables[0][byte] = value;
  }
  for (std::size_t k = 1; k < tables.size(); ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[k - 1][byte];
      tables[k][byte] = before >> 8 ^ tables[0][before & 0xFF];
    }
  }
  return tables;
}();

}  // namespace

std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before) noexcept {
  std::uint32_t crc = ~before;
  while (bytes.size() >= 8) {
    const std::uint64_t eight = get_little_endian<std::uint64_t>(bytes.data()) ^ crc;
    crc = 0;
    for (std::size_t i = 0; i < 8; ++i) crc ^= crc_tables[7 - i][eight >> (8 * i) & 0xFF];
    bytes = bytes.subspan(8);
  }
  for (const std::byte each : bytes) {
    crc = crc >> 8 ^ crc_tables[0][(crc ^ static_cast<std::uint32_t>(each)) & 0xFF];
  }
  return ~crc;
}

}  // namespace cistern::detail
