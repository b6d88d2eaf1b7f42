#include <cistern/object_pool_statistics.hpp>

#include <numeric>

namespace cistern {

std::string_view to_string(destroy_reason reason) noexcept {
  static constexpr std::array<std::string_view, destroy_reason_count> names{
      "closed",    "surplus", "idle",        "expired",  "invalid", "unclean",
      "discarded", "evicted", "invalidated", "detached", "orphaned"};
  return names[static_cast<std::size_t>(reason)];
}

std::uint64_t object_pool_statistics::destroyed_total() const noexcept {
  return std::accumulate(destroyed.begin(), destroyed.end(), std::uint64_t{0});
}

}  // namespace cistern
