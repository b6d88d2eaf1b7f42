// pool_model: what a pool has to know of its live blocks, kept by other means: where they lie, what is in
// them.
#pragma once

#include <cistern/detail/base/size_classes.hpp>
#include <cistern/pool_options.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "pool_checks.hpp"

namespace cistern::test_support {

/// Throws std::logic_error where a pool and its model differ.
inline void demand(bool condition, const char* what) {
  if (!condition) throw std::logic_error(std::string("pool and model differ: ") + what);
}

/// The size of the block that a request gets from a pool with these (effective) options, by the contract
/// alone. `bytes` at most `PTRDIFF_MAX`.
[[nodiscard]] inline std::size_t expected_grant(const pool_options& options, std::size_t bytes,
                                                std::size_t alignment) {
  if (options.pass_through) return bytes;
  const std::size_t whole = bytes == 0 ? 1 : bytes;
  const std::size_t rounded = (whole + alignment - 1) / alignment * alignment;
  if (alignment <= detail::page_bytes && rounded <= options.largest_required_pool_block) {
    return detail::good_size(rounded);
  }
  return (whole + 15) / 16 * 16;
}

/// A block in the hands of its user.
struct model_block : user_block {
  std::size_t granted_bytes = 0;  ///< By `expected_grant`.
  std::size_t known_bytes = 0;    ///< What the user was told, and may touch.
};

/// The live blocks. Each is filled when it comes, and must still be so when it goes.
class pool_model {
 public:
  [[nodiscard]] bool empty() const { return live_.empty(); }
  [[nodiscard]] std::size_t size() const { return live_.size(); }
  /// Sum of the granted bytes.
  [[nodiscard]] std::size_t in_use_bytes() const { return in_use_bytes_; }

  void add(model_block block) {
    demand(block.ptr != nullptr, "no block and no exception");
    demand(block.aligned(), "alignment");
    fill(block, block.known_bytes);
    // In null mode a block may be of no bytes, but it still has an address of its own.
    const std::uintptr_t begin = reinterpret_cast<std::uintptr_t>(block.ptr);
    const std::uintptr_t end = begin + std::max<std::size_t>(block.granted_bytes, 1);
    const auto next = taken_.lower_bound(begin);
    demand(next == taken_.end() || end <= next->first, "a block reaches into the next one");
    demand(next == taken_.begin() || std::prev(next)->second <= begin, "a block begins within another one");
    taken_.emplace_hint(next, begin, end);
    in_use_bytes_ += block.granted_bytes;
    live_.push_back(block);
  }

  /// Takes a block out, to be freed; `index` below `size()`.
  model_block take(std::size_t index) {
    std::swap(live_[index], live_.back());
    const model_block block = live_.back();
    live_.pop_back();
    demand(filled(block, block.known_bytes), "the content of a live block");
    taken_.erase(reinterpret_cast<std::uintptr_t>(block.ptr));
    in_use_bytes_ -= block.granted_bytes;
    return block;
  }

  /// Every block still has its content.
  void check() const {
    demand(std::all_of(live_.begin(), live_.end(), [](const auto& b) { return filled(b, b.known_bytes); }),
           "the content of a live block");
  }

  void clear() {
    live_.clear();
    taken_.clear();
    in_use_bytes_ = 0;
  }

 private:
  std::vector<model_block> live_;
  std::map<std::uintptr_t, std::uintptr_t> taken_;  // begin and end of each
  std::size_t in_use_bytes_ = 0;
};

}  // namespace cistern::test_support
