// How much memory a region of a page heap takes.
#pragma once

#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/span.hpp>

#include <cstddef>
#include <cstdint>

namespace cistern::test_support {

/// Bytes that upstream is asked for where a region has so many pages.
[[nodiscard]] constexpr std::size_t region_bytes_of(std::size_t pages) {
  return pages * detail::page_bytes + detail::heap_region::records_bytes_for(pages);
}

/// Pages of the region that so many bytes of upstream are.
[[nodiscard]] constexpr std::size_t pages_of_region(std::size_t bytes) {
  return (bytes - region_bytes_of(0)) / (region_bytes_of(1) - region_bytes_of(0));
}

}  // namespace cistern::test_support
