#include <cistern/detail/base/environment.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/class_spans.hpp>
#include <cistern/detail/pool/effective_options.hpp>
#include <cistern/page_resource.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace cistern::detail {
namespace {

/// Sizes from here up are taken for mistakes: a negative number or a wrong unit.
constexpr std::size_t absurd = std::size_t{1} << 40;

[[noreturn]] void refuse(const char* field, std::size_t value, const char* bound_text, std::size_t bound) {
  throw std::invalid_argument("cistern::pool_options::" + std::string(field) + " is " +
                              std::to_string(value) + ", must be " + bound_text + " " +
                              std::to_string(bound));
}

void refuse_absurd(const char* field, std::size_t value) {
  if (value >= absurd && value != no_limit) {
    refuse(field, value, "below", absurd);
  }
}

std::size_t largest_block(std::size_t asked_bytes) noexcept {
  if (asked_bytes == 0) {
    return default_largest_block_bytes;
  }
  return good_size(std::min(asked_bytes, largest_block_bytes));
}

}  // namespace

pool_options effective_options(const pool_options& asked) {
  refuse_absurd("max_blocks_per_chunk", asked.max_blocks_per_chunk);
  refuse_absurd("largest_required_pool_block", asked.largest_required_pool_block);
  refuse_absurd("thread_cache_bytes", asked.thread_cache_bytes);
  if (asked.max_bytes == 0) {
    refuse("max_bytes", asked.max_bytes, "at least", 1);
  }
  pool_options options = asked;
  if (options.max_blocks_per_chunk == 0 || options.max_blocks_per_chunk > most_blocks_per_chunk) {
    options.max_blocks_per_chunk = most_blocks_per_chunk;
  }
  options.largest_required_pool_block = largest_block(asked.largest_required_pool_block);
  if (options.max_idle_blocks_per_bucket == 0) {
    options.max_idle_bytes = 0;  // what no bucket keeps shall not lie idle for all of them either
  }
  // A thread's cache is idle memory too.
  options.thread_cache_bytes =
      std::min({options.thread_cache_bytes, options.thread_caches_total_bytes, options.max_idle_bytes});
  // Read at each construction, so that a program can be switched without recompiling it.
  if (environment_has_switches()) {
    options.pass_through = options.pass_through || environment_says_pass_through();
    if (options.sample_guard == 0) {
      options.sample_guard = environment_sample_guard();
    }
  }
  if (options.pass_through) {
    options.sample_guard = 0;
  }
  return options;
}

bool gives_pages(const std::pmr::memory_resource* upstream) noexcept {
  return upstream != nullptr && pages()->is_equal(*upstream);
}

pool_options from_standard(const std::pmr::pool_options& asked) noexcept {
  pool_options options;
  options.max_blocks_per_chunk = std::min(asked.max_blocks_per_chunk, most_blocks_per_chunk);
  options.largest_required_pool_block = std::min(asked.largest_required_pool_block, largest_block_bytes);
  return options;
}

}  // namespace cistern::detail
