// peeked_source: the first bytes of a source, looked at before it is known what it has.
#pragma once

#include <cistern/adaptor/trace.hpp>

#include <cstddef>
#include <vector>

namespace cistern::tool {

struct peeked_source {
  std::vector<std::byte> first;
  trace_source whole;  ///< These, and then the rest.
};

/// Reads so many bytes, or fewer if there aren't more. Throws what the source throws.
[[nodiscard]] peeked_source peek(trace_source source, std::size_t bytes);

}  // namespace cistern::tool
