// bucket_walks: what is done to all buckets of a pool in turn, whether or not they have locks.
#pragma once

#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/bucket.hpp>

#include <algorithm>
#include <cstddef>

namespace cistern::detail {

// `Buckets` offers `visit(index, f)`, which calls `f(bucket&)` with that bucket to itself, and
// `trim(index, surplus_bytes&)`, which gives idle chunks back while there is a surplus, and returns their
// bytes.

/// Calls `f(index)` for each class, the largest blocks first, while `surplus_bytes` is above zero.
template <class F>
void from_largest(const std::size_t& surplus_bytes, F f) {
  for (unsigned i = class_count; i-- > 0 && surplus_bytes > 0;) {
    f(i);
  }
}

/// The idle bytes of all buckets.
template <class Buckets>
[[nodiscard]] std::size_t idle_bytes(Buckets& buckets) {
  std::size_t bytes = 0;
  for (unsigned i = 0; i < class_count; ++i) {
    bytes += buckets.visit(i, [&](const bucket& b) { return b.idle_bytes(class_block_bytes(i)); });
  }
  return bytes;
}

/// Gives chunks back until at most `keep_bytes` are idle. Returns the bytes given back.
template <class Buckets>
std::size_t trim_to(Buckets& buckets, std::size_t keep_bytes) {
  const std::size_t idle = idle_bytes(buckets);
  std::size_t surplus_bytes = idle - std::min(idle, keep_bytes);
  std::size_t given_back_bytes = 0;
  from_largest(surplus_bytes, [&](unsigned i) { given_back_bytes += buckets.trim(i, surplus_bytes); });
  return given_back_bytes;
}

}  // namespace cistern::detail
