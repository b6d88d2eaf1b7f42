// growth_finder: blocks that grew step by step, as a vector's do that nobody has told how long it gets.
#pragma once

#include <cstdint>
#include <memory_resource>
#include <unordered_map>
#include <vector>

namespace cistern::detail {

/// What grew at one call site.
struct growth_facts {
  std::uint64_t chains = 0;        ///< That became as large as they got in two steps or more.
  std::uint64_t steps = 0;         ///< In all of them: allocations that one of the right size would save.
  std::uint64_t copied_bytes = 0;  ///< From old blocks to new ones.
  std::uint64_t largest_bytes = 0;

  friend bool operator==(const growth_facts&, const growth_facts&) = default;
};

/// A step is a reallocation to more; or a block, followed by the free, at the same site, of a smaller one
/// that it had made, by the same thread and before it allocates anything else, where the new one is 1.2
/// to 2.5 times as large. One step alone is no growth: it may be chance. Blocks are numbered as in a trace.
/// Not thread-safe.
class growth_finder {
 public:
  explicit growth_finder(std::pmr::memory_resource* memory)
      : live_(memory), newest_(memory), facts_(memory), replaced_(memory) {}

  /// All throw `std::bad_alloc`. O(1) on average.
  void allocate(std::uint64_t block, std::uint64_t bytes, std::uint64_t thread, std::uint32_t site);
  /// Whether it is a step, or may be the first one.
  bool free(std::uint64_t block, std::uint64_t thread, std::uint32_t site);
  /// `moved`: the block has another address than before.
  void reallocate(std::uint64_t old_block, std::uint64_t block, std::uint64_t bytes, std::uint64_t thread,
                  std::uint32_t site, bool moved);

  [[nodiscard]] growth_facts at(std::uint32_t site) const {
    return site < facts_.size() ? facts_[site] : growth_facts();
  }
  /// By block number: those that a later step of the same growth took the place of.
  [[nodiscard]] const std::pmr::vector<bool>& replaced() const noexcept { return replaced_; }

 private:
  struct grown_block {
    std::uint64_t bytes = 0;
    std::uint32_t site = 0;
    std::uint32_t steps = 0;         // That led to it.
    std::uint64_t first_block = 0;   // While it is one step: the block that this one replaced,
    std::uint64_t first_copied = 0;  // and what was copied from it.
  };

  void take_step(std::uint64_t old_block, const grown_block& old, grown_block& grown, std::uint64_t copied);
  void mark_replaced(std::uint64_t block);

  std::pmr::unordered_map<std::uint64_t, grown_block> live_;
  std::pmr::unordered_map<std::uint64_t, std::uint64_t> newest_;  // Of each thread.
  std::pmr::vector<growth_facts> facts_;
  std::pmr::vector<bool> replaced_;
};

}  // namespace cistern::detail
