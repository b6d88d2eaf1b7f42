#include <cistern/adaptor/trace_replay.hpp>
#include <cistern/detail/base/give_back.hpp>
#include <cistern/detail/base/possible_size.hpp>
#include <cistern/resource_or_new_delete.hpp>

#include <algorithm>
#include <bit>
#include <new>
#include <optional>
#include <ostream>
#include <string>
#include <unordered_map>

#include "../base/statistics_text.hpp"

namespace cistern {
namespace {

/// The blocks that live in a replay. Frees what is left when it ends.
class replay_blocks {
 public:
  replay_blocks(std::pmr::memory_resource* resource, const replay_options& options, replay_report& report)
      : resource_(resource),
        check_content_(options.check_content),
        report_(report),
        blocks_(resource_or_new_delete(options.memory)) {}
  replay_blocks(const replay_blocks&) = delete;
  replay_blocks& operator=(const replay_blocks&) = delete;
  ~replay_blocks() {
    for (const auto& [number, one] : blocks_) give_back(number, one);
  }

  void allocate(const trace_event& event);
  void deallocate(const trace_event& event);
  void reallocate(const trace_event& event);
  void free_the_rest();

 private:
  struct block {
    std::byte* ptr;
    std::size_t bytes;
    std::size_t alignment;
  };

  /// Both ends of a block, where neighbours would write.
  static constexpr std::size_t patterned_bytes = 32;

  [[nodiscard]] static std::byte pattern(std::uint64_t number, std::size_t position) noexcept {
    return static_cast<std::byte>((number * 0x9E3779B97F4A7C15 + position * 0xD6E8FEB86659FD93) >> 56);
  }
  template <class Visit>
  static void for_each_position(const block& one, const Visit& visit) {
    const std::size_t front_bytes = std::min(one.bytes, patterned_bytes);
    for (std::size_t i = 0; i < front_bytes; ++i) visit(i);
    for (std::size_t i = std::max(front_bytes, one.bytes - front_bytes); i < one.bytes; ++i) visit(i);
  }
  [[nodiscard]] std::optional<block> take(std::uint64_t number);
  void give_back(std::uint64_t number, const block& one);

  std::pmr::memory_resource* resource_;
  bool check_content_;
  replay_report& report_;
  std::uint64_t live_bytes_ = 0;
  std::pmr::unordered_map<std::uint64_t, block> blocks_;
};

void replay_blocks::allocate(const trace_event& event) {
  const std::size_t alignment = std::has_single_bit(event.alignment) ? event.alignment : 1;
  const auto entry = blocks_.try_emplace(event.block).first;  // First, so that no block can get lost.
  void* volatile got = nullptr;  // Volatile: the compiler takes the alignment for granted.
  try {
    detail::expect_possible_size(event.bytes);  // whatever the resource is
    got = resource_->allocate(event.bytes, alignment);
  } catch (const std::bad_alloc&) {
    blocks_.erase(entry);
    ++report_.refused;
    return;
  } catch (...) {
    blocks_.erase(entry);
    throw;
  }
  block& one = entry->second;
  one = {static_cast<std::byte*>(got), event.bytes, alignment};
  ++report_.allocations;
  live_bytes_ += event.bytes;
  report_.peak_live_bytes = std::max(report_.peak_live_bytes, live_bytes_);
  if (reinterpret_cast<std::uintptr_t>(one.ptr) % alignment != 0) ++report_.misaligned;
  if (check_content_) {
    for_each_position(one, [&](std::size_t i) { one.ptr[i] = pattern(event.block, i); });
  }
}

void replay_blocks::deallocate(const trace_event& event) {
  const std::optional<block> freed = take(event.block);
  if (!freed) return;
  if (freed->bytes != event.bytes || freed->alignment != event.alignment) ++report_.mismatched_frees;
  give_back(event.block, *freed);
}

/// As a program does it that has no `realloc`: first the new block, then the old one goes.
void replay_blocks::reallocate(const trace_event& event) {
  allocate(event);
  if (event.old_block == 0 && event.old_address == 0) return;  // Of no block, as an allocation.
  if (const std::optional<block> freed = take(event.old_block)) give_back(event.old_block, *freed);
}

/// A block that is to be freed; none where it is from before the trace, or was refused.
std::optional<replay_blocks::block> replay_blocks::take(std::uint64_t number) {
  if (number == 0) ++report_.foreign_frees;
  const auto found = blocks_.find(number);
  if (found == blocks_.end()) return std::nullopt;
  const block one = found->second;
  blocks_.erase(found);
  ++report_.deallocations;
  return one;
}

void replay_blocks::give_back(std::uint64_t number, const block& one) {
  bool whole = true;
  if (check_content_) {
    for_each_position(one, [&](std::size_t i) { whole = whole && one.ptr[i] == pattern(number, i); });
  }
  if (!whole) ++report_.damaged;
  live_bytes_ -= one.bytes;
  detail::give_back(*resource_, one.ptr, one.bytes, one.alignment);
}

void replay_blocks::free_the_rest() {
  report_.left_live = blocks_.size();
  while (!blocks_.empty()) {
    const auto [number, one] = *blocks_.begin();
    blocks_.erase(blocks_.begin());
    give_back(number, one);
  }
}

void perform_all(trace_reader& trace, replay_blocks& blocks, replay_report& report) {
  for (trace_event event; trace.next(event);) {
    switch (event.call) {
      case trace_call::allocate:
        blocks.allocate(event);
        break;
      case trace_call::deallocate:
        blocks.deallocate(event);
        break;
      case trace_call::reallocate:
        blocks.reallocate(event);
        break;
      case trace_call::failed_allocate:
        ++report.failed_in_trace;
        break;
    }
  }
}

}  // namespace

replay_report replay(trace_reader& trace, std::pmr::memory_resource* resource,
                     const replay_options& options) {
  replay_report report;
  const auto started = std::chrono::steady_clock::now();
  replay_blocks blocks(resource_or_new_delete(resource), options, report);
  try {
    perform_all(trace, blocks, report);
  } catch (const trace_error& error) {
    if (!options.up_to_the_cut || error.fault() != trace_fault::truncated) throw;
    report.cut_off = true;
  }
  blocks.free_the_rest();
  report.elapsed = std::chrono::steady_clock::now() - started;
  return report;
}

std::ostream& operator<<(std::ostream& out, const replay_report& report) {
  detail::text_table table(detail::text_table::first_column::left);
  const auto add = [&](const char* name, std::uint64_t value) {
    table.add_row({name, detail::with_thousands(value)});
  };
  add("allocations", report.allocations);
  add("deallocations", report.deallocations);
  add("refused by the resource", report.refused);
  add("failed when recorded", report.failed_in_trace);
  add("frees of blocks from before", report.foreign_frees);
  add("frees with other size or alignment", report.mismatched_frees);
  add("misaligned", report.misaligned);
  add("damaged", report.damaged);
  add("live at the end", report.left_live);
  add("peak live bytes", report.peak_live_bytes);
  add("nanoseconds", static_cast<std::uint64_t>(report.elapsed.count()));
  const std::string text = table.text();  // Written past the stream's width and fill.
  return out.write(text.data(), static_cast<std::streamsize>(text.size()));
}

}  // namespace cistern
