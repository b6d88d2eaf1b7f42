#include <cistern/detail/base/misuse.hpp>
#include <cistern/detail/pool/free_list.hpp>

#include "../base/signal_text.hpp"

namespace cistern::detail {

void overwritten_free_block(const void* place) noexcept {
  signal_text text;
  text.add("cistern: a free block was written to, at ").add_address(place);
  text.add(": by who gave it back, or beyond the end of the block before it");
  misuse_found(text.c_str());
}

void freed_before(const void* block) noexcept {
  signal_text text;
  text.add("cistern: the block at ").add_address(block).add(" is given back, and was given back before");
  misuse_found(text.c_str());
}

}  // namespace cistern::detail
