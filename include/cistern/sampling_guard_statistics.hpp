// sampling_guard_statistics: what a sampled guard did, of an adaptor or of a pool.
#pragma once

#include <cistern/detail/base/abi.hpp>

#include <cstddef>
#include <cstdint>

namespace cistern {

/// What a sampled guard did, and what it takes.
///
/// `slots_in_use + slots_quarantined <= slots`; the rest was never used. It takes addresses for `2 * slots +
/// 1` pages, memory for those of the slots that were ever used, and about 100 bytes for each slot.
struct sampling_guard_statistics {
  std::size_t slots = 0;              ///< 0: it is off, or the system refused the memory.
  std::size_t slots_in_use = 0;       ///< With a live block.
  std::size_t slots_quarantined = 0;  ///< With a freed one, which nobody may touch until its turn comes.
  std::uint64_t sampled = 0;          ///< Allocations put against a guard page.
  std::uint64_t too_large = 0;        ///< Picked, but larger or more aligned than a page.
  std::uint64_t no_slot = 0;          ///< Picked, but every slot was in use.
  std::uint64_t refused = 0;          ///< Times the system refused to open or to close a page.

  friend bool operator==(const sampling_guard_statistics&, const sampling_guard_statistics&) = default;
};

}  // namespace cistern
