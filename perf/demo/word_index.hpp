// word_index: the demo's job: which words stand in which lines of which files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory_resource>

#include "demo/corpus.hpp"

namespace demo {

/// What an index says, boiled down: equal for equal indexes, however many threads built them.
struct index_digest {
  std::uint64_t words = 0;        ///< Different words.
  std::uint64_t occurrences = 0;  ///< Occurrences (file, line) of all words.
  std::uint64_t found = 0;        ///< Files that the queries found.
  std::uint64_t checksum = 0;     ///< Over every word with its entries in order.

  friend bool operator==(const index_digest&, const index_digest&) = default;
};

/// One pass over `input` with everything allocated from `resource`:
///
/// 1. Each of `threads` threads splits its share of the files into lines and words, and builds an
///    `unordered_map` from word to a vector of (file, line).
/// 2. Each thread merges its share of the words (chosen by hash), from every thread's part, into a sorted
///    `map` from word to a `map` from file to a vector of lines.
/// 3. Each thread looks up words and prefixes.
/// 4. Each thread destroys its own map, and the part that its neighbour built.
///
/// `resource` must be thread-safe if `threads > 1`.
index_digest index_words(const corpus& input, std::pmr::memory_resource* resource, std::size_t threads);

}  // namespace demo
