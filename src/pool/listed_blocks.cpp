#include <cistern/detail/pool/listed_blocks.hpp>

namespace cistern::detail {

void listed_blocks::note(unsigned index, std::size_t blocks) noexcept {
  const std::size_t bytes_before = bytes_of(index);
  const std::size_t bytes = blocks * class_block_bytes(index);
  if (bytes != bytes_before) {
    of_class_[index].store(bytes, std::memory_order_relaxed);
    bytes_.fetch_add(bytes - bytes_before, std::memory_order_relaxed);
  }
  const std::uint64_t bit = std::uint64_t{1} << index;
  const bool was_long = (long_.load(std::memory_order_relaxed) & bit) != 0;
  const bool is_long = blocks > stay_blocks(index);
  if (is_long && !was_long) {
    long_.fetch_or(bit, std::memory_order_relaxed);
  } else if (!is_long && was_long) {
    long_.fetch_and(~bit, std::memory_order_relaxed);
  }
}

}  // namespace cistern::detail
