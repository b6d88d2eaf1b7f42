#include "recorded_blocks.hpp"

namespace cistern::detail {

/// What there was is dropped, but for the maps themselves: they read as zero bytes again.
bool recorded_blocks::begin() noexcept {
  if (!table_.is_there()) return table_.begin();
  for (std::size_t i = 0; i < regions; ++i) {
    region_map* const map = table_->maps[i].load(std::memory_order_relaxed);
    if (map != nullptr && !zeroed_pages<region_map>::drop(map)) return false;
  }
  return true;
}

/// Another thread may be making the same one. Whoever sees it finds zero bytes that the system has made
/// before.
recorded_blocks::region_map* recorded_blocks::make_map(std::uintptr_t block) noexcept {
  const std::uintptr_t region = block >> region_bits;
  if (region >= regions) return nullptr;
  region_map* const made = zeroed_pages<region_map>::map();
  if (made == nullptr) return nullptr;
  region_map* there = nullptr;
  if (table_->maps[region].compare_exchange_strong(there, made, std::memory_order_acq_rel)) return made;
  zeroed_pages<region_map>::unmap(made);
  return there;
}

bool recorded_blocks::insert(std::uintptr_t block) noexcept {
  region_map* map = map_of(block);
  if (map == nullptr) map = make_map(block);
  if (map == nullptr) return false;
  map->words[word_of(block)].fetch_or(bit_of(block), std::memory_order_relaxed);
  return true;
}

void recorded_blocks::erase(std::uintptr_t block) noexcept {
  region_map* const map = map_of(block);
  if (map != nullptr) map->words[word_of(block)].fetch_and(~bit_of(block), std::memory_order_relaxed);
}

}  // namespace cistern::detail
