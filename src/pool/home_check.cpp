#include <cistern/detail/base/misuse.hpp>
#include <cistern/detail/pool/home_check.hpp>

#include "../base/signal_text.hpp"

namespace cistern::detail {

void given_back_wrongly(const void* block, std::size_t block_bytes, const char* what) noexcept {
  signal_text text;
  text.add("cistern: ").add_address(block).add(", given back as one of ").add_bytes(block_bytes);
  text.add(", ").add(what);
  misuse_found(text.c_str());
}

}  // namespace cistern::detail
