#include "demo/never_frees.hpp"

#include <algorithm>
#include <atomic>

namespace demo {
namespace {

constexpr std::size_t chunk_bytes = std::size_t{1} << 20U;

/// What is left of the chunk that a thread is cutting up.
struct rest {
  std::uint64_t life = 0;
  void* start = nullptr;
  std::size_t bytes = 0;
};

}  // namespace

std::uint64_t never_frees::new_life() {
  static std::atomic<std::uint64_t> lives{0};
  return ++lives;
}

void never_frees::rewind() {
  const std::scoped_lock lock(mutex_);
  life_ = new_life();
  used_ = 0;
}

void* never_frees::do_allocate(std::size_t bytes, std::size_t alignment) {
  thread_local rest mine;
  if (mine.life != life_) mine = {life_, nullptr, 0};
  if (mine.start == nullptr || std::align(alignment, bytes, mine.start, mine.bytes) == nullptr) {
    const std::span<std::byte> fresh = next_chunk(bytes + alignment);
    mine = {life_, fresh.data(), fresh.size()};
    std::align(alignment, bytes, mine.start, mine.bytes);
  }
  void* block = mine.start;
  mine.start = static_cast<std::byte*>(block) + bytes;
  mine.bytes -= bytes;
  return block;
}

std::span<std::byte> never_frees::next_chunk(std::size_t at_least_bytes) {
  const std::scoped_lock lock(mutex_);
  if (used_ == chunks_.size() || chunks_[used_].bytes < at_least_bytes) {
    const std::size_t bytes = std::max(chunk_bytes, at_least_bytes);
    const auto place = chunks_.begin() + static_cast<std::ptrdiff_t>(used_);
    chunks_.insert(place, {std::make_unique_for_overwrite<std::byte[]>(bytes), bytes});
  }
  const chunk& next = chunks_[used_++];
  return {next.memory.get(), next.bytes};
}

}  // namespace demo
