#include <cistern/detail/pool/listed_blocks.hpp>

namespace cistern::detail {
namespace {

// Whether the blocks freed last lie near each other. Those freed at random rarely make up whole spans, and
// cost a cache miss each to sort.
bool are_in_order(const free_block* list) noexcept {
  constexpr int most_steps = 16;
  constexpr std::uintptr_t near_bytes = std::uintptr_t{64} << 10;
  int steps = 0;
  int near_steps = 0;
  while (list != nullptr && list->next() != nullptr && steps < most_steps) {
    const free_block* const next = list->next();
    const auto from = reinterpret_cast<std::uintptr_t>(list);
    const auto to = reinterpret_cast<std::uintptr_t>(next);
    near_steps += (from < to ? to - from : from - to) <= near_bytes ? 1 : 0;
    ++steps;
    list = next;
  }
  return near_steps * 4 >= steps * 3;
}

}  // namespace

bool listed_blocks::is_ripe(std::size_t blocks, std::size_t in_use_blocks, const free_block* list) noexcept {
  return are_few(in_use_blocks, blocks) || are_in_order(list);
}

void listed_blocks::set_bit(std::atomic<std::uint64_t>& bits, unsigned index, bool value) noexcept {
  const std::uint64_t bit = std::uint64_t{1} << index;
  if (((bits.load(std::memory_order_relaxed) & bit) != 0) != value) {
    bits.fetch_xor(bit, std::memory_order_relaxed);  // one thread at a time notes of a class
  }
}

void listed_blocks::note(unsigned index, std::size_t blocks, bool is_ripe,
                         std::size_t pinned_bytes) noexcept {
  const bool exceeds_stay = is_long(index, blocks);
  const std::size_t bytes_before = bytes_of(index);
  const std::size_t bytes = blocks * class_block_bytes(index) + (exceeds_stay ? pinned_bytes : 0);
  if (bytes != bytes_before) {
    of_class_[index].store(bytes, std::memory_order_relaxed);
    add(bytes_, bytes - bytes_before);
  }
  set_bit(long_, index, exceeds_stay);
  set_bit(ripe_, index, is_ripe);
}

unsigned listed_blocks::longest_unused(reach wanted) const noexcept {
  const std::uint64_t any = long_.load(std::memory_order_relaxed);
  std::uint64_t found = wanted == reach::all ? any : any & ripe_.load(std::memory_order_relaxed);
  for (std::uint64_t left = any & ~found; left != 0; left &= left - 1) {
    const auto index = static_cast<unsigned>(std::countr_zero(left));
    found |= is_old(last_use(index)) ? std::uint64_t{1} << index : 0;
  }
  return first(found, [this](unsigned a, unsigned b) { return last_use(a) < last_use(b); });
}

}  // namespace cistern::detail
