// So many large blocks that nothing of the system may be spent on each: mappings, addresses, pages.
#include <cstdlib>
#include <thread>
#include <vector>

#include "contract.hpp"
#include <malloc.h>
#include <unistd.h>

namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20U;
constexpr std::size_t most_mappings = 300;  // where each block had one, the system's limit of 65,530 was met

void only_shared_mappings() {
  if (!contract::is_cistern() || contract::is_hardened()) contract::skip("others may map each");
}

/// Blocks of one size, of each of which one byte is written.
class touched_blocks {
 public:
  touched_blocks(std::size_t count, std::size_t bytes, std::size_t touched)
      : bytes_(bytes), touched_(touched), all_(count) {}

  void allocate() {
    for (std::size_t i = 0; i < all_.size(); ++i) {
      all_[i] = static_cast<unsigned char*>(malloc(bytes_));
      MUST(all_[i] != nullptr);
      all_[i][touched_] = tag(i);
    }
  }
  /// Each second one from `first` on, which must be as it was written.
  void free_every_other(std::size_t first) {
    for (std::size_t i = first; i < all_.size(); i += 2) {
      MUST(all_[i][touched_] == tag(i));
      free(all_[i]);
    }
  }

 private:
  static unsigned char tag(std::size_t index) noexcept { return static_cast<unsigned char>(index % 251); }

  std::size_t bytes_;
  std::size_t touched_;
  std::vector<unsigned char*> all_;
};

}  // namespace

CONTRACT_CASE(many_large_blocks_leave_no_addresses_and_no_pages_behind) {
  only_shared_mappings();
  constexpr std::size_t count = 160'000;
  touched_blocks blocks(count, 200'000, 0);
  const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t resident_before = contract::resident_bytes();
  const std::size_t mapped_before = contract::mapped_bytes();
  for (int round = 0; round < 2; ++round) {
    blocks.allocate();
    MUST(contract::mappings() < most_mappings);
    // The page that is written, and records.
    MUST(contract::resident_bytes() < resident_before + count * page * 5 / 4);
    blocks.free_every_other(0);
    MUST(contract::mappings() < most_mappings);
    blocks.free_every_other(1);
    MUST(contract::mappings() < most_mappings);
    MUST(contract::mapped_bytes() < mapped_before + 256 * mebibyte);  // of 31 GiB
    MUST(contract::resident_bytes() < resident_before + 64 * mebibyte);
  }
}

CONTRACT_CASE(many_large_blocks_take_few_mappings) {
  only_shared_mappings();
  constexpr std::size_t bytes = 140'000;
  touched_blocks blocks(150'000, bytes, bytes / 2);
  const auto others_still_get_mappings = [] {
    MUST(contract::mappings() < most_mappings);
    std::thread([] { free(contract::hide(malloc(100))); }).join();
  };
  blocks.allocate();
  others_still_get_mappings();
  blocks.free_every_other(0);
  malloc_trim(0);
  others_still_get_mappings();
  blocks.free_every_other(1);
  malloc_trim(0);
  others_still_get_mappings();
}
