#include "support/allocation_script.hpp"

#include <cistern/adaptor/trace_reader.hpp>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <unordered_map>

#include "support/keep.hpp"

namespace perf {
namespace {

/// Gives out places of a table, those that came back last first.
class places {
 public:
  std::uint32_t take() {
    if (free_.empty()) return used_++;
    const std::uint32_t place = free_.back();
    free_.pop_back();
    return place;
  }
  void give_back(std::uint32_t place) { free_.push_back(place); }
  [[nodiscard]] std::size_t used() const { return used_; }

 private:
  std::vector<std::uint32_t> free_;
  std::uint32_t used_ = 0;
};

std::uint32_t narrow(std::uint64_t number, const char* what) {
  if (number > std::numeric_limits<std::int32_t>::max()) {
    throw std::runtime_error("a trace has " + std::to_string(number) + what + ", too many to replay");
  }
  return static_cast<std::uint32_t>(number);
}

}  // namespace

allocation_script::allocation_script(const std::filesystem::path& trace) {
  cistern::trace_reader reader(cistern::trace_from_file(trace));
  std::unordered_map<std::uint64_t, step> live;
  places table;
  std::size_t live_bytes = 0;
  const auto free = [&](step one) {
    one.frees = 1;
    steps_.push_back(one);
    table.give_back(one.place);
    live_bytes -= one.bytes;
  };
  for (cistern::trace_event event; reader.next(event);) {
    if (event.block == 0) continue;  // refused when recorded, or a free of something from before
    if (event.call != cistern::trace_call::deallocate) {
      const std::uint32_t bytes = narrow(std::max<std::uint64_t>(event.bytes, 1), " bytes in a block");
      const std::uint32_t alignment = narrow(std::max<std::uint64_t>(event.alignment, 1), " as an alignment");
      const step one{.place = table.take(), .bytes = bytes, .alignment = alignment & 0x7FFFFFFFU, .frees = 0};
      steps_.push_back(one);
      live.emplace(event.block, one);
      live_bytes += bytes;
      peak_bytes_ = std::max(peak_bytes_, live_bytes);
    }
    const bool frees = event.call == cistern::trace_call::deallocate;
    if (const auto found = live.find(frees ? event.block : event.old_block); found != live.end()) {
      free(found->second);
      live.erase(found);
    }
  }
  std::vector<step> left;
  for (const auto& [number, one] : live) left.push_back(one);
  std::sort(left.begin(), left.end(), [](const step& a, const step& b) { return a.place < b.place; });
  for (const step& one : left) free(one);
  if (steps_.empty()) throw std::runtime_error(trace.string() + " has no allocation");
  blocks_.resize(table.used());
}

template <class Write>
void allocation_script::perform(std::pmr::memory_resource* resource, Write write) {
  for (const step& one : steps_) {
    void*& block = blocks_[one.place];
    if (one.frees != 0) {
      resource->deallocate(block, one.bytes, one.alignment);
    } else {
      block = resource->allocate(one.bytes, one.alignment);
      write(block, one.bytes);
    }
  }
}

void allocation_script::replay(std::pmr::memory_resource* resource) {
  perform(resource, [](void* block, std::size_t) {
    *static_cast<std::byte*>(block) = std::byte{1};
    keep(block);
  });
}

void allocation_script::replay_and_fill(std::pmr::memory_resource* resource) {
  perform(resource, [](void* block, std::size_t bytes) {
    auto* const all = static_cast<volatile std::byte*>(block);
    for (std::size_t i = 0; i < bytes; i += 4096) all[i] = std::byte{1};
    all[bytes - 1] = std::byte{1};
  });
}

}  // namespace perf
