#include "empty_blocks.hpp"

#include <cistern/detail/base/os_pages.hpp>

#include <array>
#include <atomic>
#include <cstdint>

#include "heap_pages.hpp"

namespace cistern::detail::empty_blocks {
namespace {

constexpr std::size_t block_bytes = 16;
constexpr std::size_t area_bytes = std::size_t{16} << 20;
constexpr std::size_t blocks = area_bytes / block_bytes;
constexpr std::size_t bits = 64;

constinit std::atomic<std::byte*> area{nullptr};
// Relaxed, as `next_place`: an address is handed from thread to thread by whatever orders that.
constinit std::array<std::atomic<std::uint64_t>, blocks / bits> out_bits{};
constinit std::atomic<std::size_t> next_place{0};

std::byte* make_area() noexcept {
  auto* const made = static_cast<std::byte*>(reserve_pages(area_bytes));
  if (made == nullptr) {
    return nullptr;
  }
  if (!heap_map.cover(made, area_bytes)) {
    unmap_pages(made, area_bytes);
    return nullptr;
  }
  heap_map.set(made, area_bytes, heap_pages::empty_code);
  std::byte* expected = nullptr;
  // Release pairs with the acquire in `try_allocate`: who gets an address finds it told.
  if (area.compare_exchange_strong(expected, made, std::memory_order_acq_rel)) {
    return made;
  }
  heap_map.set(made, area_bytes, 0);
  unmap_pages(made, area_bytes);
  return expected;
}

struct bit_place {
  std::atomic<std::uint64_t>& word;
  std::uint64_t bit;
};
bit_place bit_of(std::size_t place) noexcept {
  return {out_bits[place / bits], std::uint64_t{1} << (place % bits)};
}
std::size_t place_of(const void* block) noexcept {
  const std::byte* const begin = area.load(std::memory_order_acquire);
  return static_cast<std::size_t>(static_cast<const std::byte*>(block) - begin) / block_bytes;
}
bool begins_one(const void* block) noexcept {
  return reinterpret_cast<std::uintptr_t>(block) % block_bytes == 0;
}

}  // namespace

void* try_allocate() noexcept {
  constexpr int most_looks = 64;
  std::byte* begin = area.load(std::memory_order_acquire);
  if (begin == nullptr) {
    begin = make_area();
  }
  for (int looks = 0; begin != nullptr && looks < most_looks; ++looks) {
    const std::size_t place = next_place.fetch_add(1, std::memory_order_relaxed) % blocks;
    const auto [word, bit] = bit_of(place);
    if ((word.fetch_or(bit, std::memory_order_relaxed) & bit) == 0) {
      return begin + place * block_bytes;
    }
  }
  return nullptr;
}

bool is_out(const void* block) noexcept {
  const auto [word, bit] = bit_of(place_of(block));
  return begins_one(block) && (word.load(std::memory_order_relaxed) & bit) != 0;
}

bool try_deallocate(const void* block) noexcept {
  const auto [word, bit] = bit_of(place_of(block));
  return begins_one(block) && (word.fetch_and(~bit, std::memory_order_relaxed) & bit) != 0;
}

}  // namespace cistern::detail::empty_blocks
