#include "growth_finder.hpp"

#include <algorithm>

namespace cistern::detail {
namespace {

/// Vectors grow by 1.5 or 2; what rounds its sizes comes near that.
[[nodiscard]] bool is_step(std::uint64_t from_bytes, std::uint64_t to_bytes) noexcept {
  return to_bytes / 5 >= from_bytes / 4 && to_bytes > from_bytes && to_bytes / 5 <= from_bytes / 2;
}

}  // namespace

void growth_finder::allocate(std::uint64_t block, std::uint64_t bytes, std::uint64_t thread,
                             std::uint32_t site) {
  live_.insert_or_assign(block, grown_block{.bytes = bytes, .site = site});
  newest_.insert_or_assign(thread, block);
}

bool growth_finder::free(std::uint64_t block, std::uint64_t thread, std::uint32_t site) {
  const auto found = live_.find(block);
  if (found == live_.end()) return false;
  const grown_block old = found->second;
  live_.erase(found);
  if (old.site != site) return false;
  const auto newest = newest_.find(thread);
  if (newest == newest_.end()) return false;
  const auto grown = live_.find(newest->second);
  if (grown == live_.end() || grown->second.steps != 0 || grown->second.site != old.site) return false;
  if (!is_step(old.bytes, grown->second.bytes)) return false;
  take_step(block, old, grown->second, old.bytes);
  return true;
}

void growth_finder::reallocate(std::uint64_t old_block, std::uint64_t block, std::uint64_t bytes,
                               std::uint64_t thread, std::uint32_t site, bool moved) {
  const auto found = live_.find(old_block);
  const bool is_known = found != live_.end();
  const grown_block old = is_known ? found->second : grown_block();
  if (is_known) live_.erase(found);
  allocate(block, bytes, thread, site);
  if (is_known && bytes > old.bytes) take_step(old_block, old, live_[block], moved ? old.bytes : 0);
}

void growth_finder::take_step(std::uint64_t old_block, const grown_block& old, grown_block& grown,
                              std::uint64_t copied) {
  grown.steps = old.steps + 1;
  if (grown.steps == 1) {
    grown.first_block = old_block;
    grown.first_copied = copied;
    return;
  }
  if (facts_.size() <= grown.site) facts_.resize(grown.site + std::size_t{1});
  growth_facts& facts = facts_[grown.site];
  if (grown.steps == 2) {
    ++facts.chains;
    ++facts.steps;
    facts.copied_bytes += old.first_copied;
    mark_replaced(old.first_block);
  }
  ++facts.steps;
  facts.copied_bytes += copied;
  facts.largest_bytes = std::max(facts.largest_bytes, grown.bytes);
  mark_replaced(old_block);
}

void growth_finder::mark_replaced(std::uint64_t block) {
  if (replaced_.size() <= block) replaced_.resize(block + 1);
  replaced_[block] = true;
}

}  // namespace cistern::detail
