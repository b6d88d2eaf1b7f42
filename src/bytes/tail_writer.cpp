#include <cistern/detail/bytes/tail_writer.hpp>

#include <algorithm>

namespace cistern::detail {

void tail_writer::start() {
  const std::size_t wanted = owner_.block_ == nullptr ? smallest_block_bytes : likely_enough_bytes;
  owner_.make_room(std::min(wanted, owner_.size_headroom()));
}

void tail_writer::grow(std::size_t written_bytes, std::size_t wanted_bytes) {
  check_claim();
  owner_.check_growth(wanted_bytes);
  owner_.write_ += written_bytes;  // for as long as they may be moved
  try {
    owner_.make_room(wanted_bytes - written_bytes);
  } catch (...) {
    owner_.write_ -= written_bytes;
    throw;
  }
  owner_.write_ -= written_bytes;
  owner_.update_limit();
  claim_room();
}

}  // namespace cistern::detail
