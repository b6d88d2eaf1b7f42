#include "peeked_source.hpp"

#include <algorithm>
#include <span>
#include <utility>

namespace cistern::tool {
namespace {

[[nodiscard]] trace_source joined(std::vector<std::byte> first, trace_source rest) {
  return [first = std::move(first), at = std::size_t{0},
          rest = std::move(rest)](std::span<std::byte> into) mutable {
    if (at == first.size()) return rest(into);
    const std::size_t bytes = std::min(first.size() - at, into.size());
    std::copy_n(first.begin() + static_cast<std::ptrdiff_t>(at), bytes, into.begin());
    at += bytes;
    return bytes;
  };
}

}  // namespace

peeked_source peek(trace_source source, std::size_t bytes) {
  std::vector<std::byte> first(bytes);
  std::size_t got = 0;
  while (got < bytes) {
    const std::size_t more = source(std::span(first).subspan(got));
    if (more == 0) break;
    got += more;
  }
  first.resize(got);
  trace_source whole = joined(first, std::move(source));
  return {std::move(first), std::move(whole)};
}

}  // namespace cistern::tool
