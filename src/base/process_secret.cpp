#include <cistern/detail/base/process_secret.hpp>

#include <cstring>

#include "split_mix.hpp"
#include <sys/auxv.h>

namespace cistern::detail {

constinit std::atomic<std::uint64_t> process_secret{0};

// Relaxed, as all loads: whoever writes it writes the same.
[[gnu::constructor]] void learn_process_secret() noexcept {
  std::uint64_t words[2] = {1, 0};
  if (const auto* const given = reinterpret_cast<const void*>(::getauxval(AT_RANDOM)); given != nullptr) {
    std::memcpy(words, given, sizeof words);
  }
  process_secret.store(words[0] * split_mix_step + words[1], std::memory_order_relaxed);
}

}  // namespace cistern::detail
