#include <cistern/bad_allocation.hpp>

#include <cstdio>

namespace cistern {

bad_allocation::bad_allocation(const char* reason, std::size_t requested_bytes, std::size_t limit_bytes,
                               std::size_t held_bytes) noexcept
    : requested_bytes_(requested_bytes) {
  // Cut short rather than fail: the buffer holds every text of the library with three full-size numbers.
  std::snprintf(text_.data(), text_.size(), "cistern: %s: %zu bytes requested, limit %zu, held %zu", reason,
                requested_bytes, limit_bytes, held_bytes);
}

bad_allocation::bad_allocation(const char* reason, std::size_t requested_bytes, std::size_t needed_bytes,
                               std::size_t limit_bytes, std::size_t held_bytes) noexcept
    : requested_bytes_(requested_bytes) {
  std::snprintf(text_.data(), text_.size(),
                "cistern: %s: %zu bytes requested, which take %zu, limit %zu, held %zu", reason,
                requested_bytes, needed_bytes, limit_bytes, held_bytes);
}

}  // namespace cistern
