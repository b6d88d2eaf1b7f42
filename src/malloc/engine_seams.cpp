// What the heap's copy of the pool does without: options are given in effect, so nothing is checked, and the
// environment is read by the heap itself.
#include <cistern/detail/pool/bucket.hpp>
#include <cistern/detail/pool/effective_options.hpp>

namespace cistern::detail {

pool_options effective_options(const pool_options& asked) {
  pool_options options = asked;
  options.max_blocks_per_chunk = most_blocks_per_chunk;
  return options;
}

pool_options from_standard(const std::pmr::pool_options& /*asked*/) noexcept {
  return {};
}

}  // namespace cistern::detail
