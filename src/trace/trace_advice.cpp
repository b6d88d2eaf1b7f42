#include <cistern/adaptor/trace_advice.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/resource_or_new_delete.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <ostream>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "../base/statistics_text.hpp"

namespace cistern {
namespace {

constexpr unsigned no_class = detail::class_count;

/// The class that serves a request, or `no_class`.
[[nodiscard]] unsigned class_for(const trace_event& event) noexcept {
  const std::size_t alignment = std::has_single_bit(event.alignment) ? event.alignment : 1;
  if (alignment > detail::page_bytes) return no_class;
  const std::size_t last = detail::last_byte(std::max<std::size_t>(event.bytes, 1), alignment);
  return last < detail::largest_block_bytes ? detail::class_of(last) : no_class;
}

/// Lives through a trace as a pool would that keeps every block it ever had.
class pool_model {
 public:
  explicit pool_model(std::pmr::memory_resource* memory) : live_(memory), threads_(memory) {}

  void see(const trace_event& event);
  [[nodiscard]] trace_advice result() &&;

 private:
  struct block {
    unsigned size_class;
    std::size_t bytes;
    std::uint64_t thread;
  };

  void allocate(const trace_event& event);
  void deallocate(std::uint64_t number, std::uint64_t thread);

  trace_advice advice_;
  std::array<size_advice, detail::class_count> classes_{};  // `final_blocks`: live now.
  std::size_t requested_bytes_ = 0;
  std::size_t live_bytes_ = 0;
  std::size_t idle_bytes_ = 0;
  std::size_t most_idle_bytes_ = 0;  // So far.
  std::pmr::unordered_map<std::uint64_t, block> live_;
  std::pmr::unordered_set<std::uint64_t> threads_;
};

void pool_model::see(const trace_event& event) {
  threads_.insert(event.thread);
  switch (event.call) {
    case trace_call::allocate:
      allocate(event);
      break;
    case trace_call::deallocate:
      deallocate(event.block, event.thread);
      break;
    case trace_call::reallocate:  // A pool has none: both blocks are there for a moment.
      allocate(event);
      deallocate(event.old_block, event.thread);
      break;
    case trace_call::failed_allocate:
      break;
  }
}

void pool_model::allocate(const trace_event& event) {
  const unsigned size_class = class_for(event);
  live_.insert_or_assign(event.block, block{size_class, event.bytes, event.thread});
  ++advice_.allocations;
  advice_.largest_request_bytes = std::max<std::size_t>(advice_.largest_request_bytes, event.bytes);
  advice_.largest_alignment = std::max<std::size_t>(advice_.largest_alignment, event.alignment);
  requested_bytes_ += event.bytes;
  advice_.peak_requested_bytes = std::max(advice_.peak_requested_bytes, requested_bytes_);
  if (size_class == no_class) {
    ++advice_.unpooled;
    live_bytes_ += event.bytes;
  } else {
    size_advice& one = classes_[size_class];
    const std::size_t block_bytes = detail::class_block_bytes(size_class);
    ++one.allocations;
    ++one.final_blocks;
    live_bytes_ += block_bytes;
    if (one.final_blocks > one.peak_blocks) {
      one.peak_blocks = one.final_blocks;
    } else {
      // All that was idle up to now had to stay for this block to be there.
      ++one.reused;
      idle_bytes_ -= block_bytes;
      advice_.reused_idle_bytes = most_idle_bytes_;
    }
  }
  advice_.peak_bytes = std::max(advice_.peak_bytes, live_bytes_);
}

void pool_model::deallocate(std::uint64_t number, std::uint64_t thread) {
  const auto found = live_.find(number);
  if (found == live_.end()) return;  // From before the trace.
  const block freed = found->second;
  live_.erase(found);
  requested_bytes_ -= freed.bytes;
  if (freed.thread != thread) ++advice_.frees_elsewhere;
  if (freed.size_class == no_class) {
    live_bytes_ -= freed.bytes;
    return;
  }
  --classes_[freed.size_class].final_blocks;
  const std::size_t block_bytes = detail::class_block_bytes(freed.size_class);
  live_bytes_ -= block_bytes;
  idle_bytes_ += block_bytes;
  most_idle_bytes_ = std::max(most_idle_bytes_, idle_bytes_);
}

trace_advice pool_model::result() && {
  advice_.threads = threads_.size();
  for (unsigned i = 0; i < detail::class_count; ++i) {
    if (classes_[i].allocations == 0) continue;
    classes_[i].block_bytes = detail::class_block_bytes(i);
    advice_.sizes.push_back(classes_[i]);
  }
  return std::move(advice_);
}

}  // namespace

pool_options trace_advice::options() const noexcept {
  constexpr std::size_t step_bytes = std::size_t{64} << 10;
  pool_options suggested;
  if (largest_request_bytes > detail::default_largest_block_bytes) {
    suggested.largest_required_pool_block =
        std::min(detail::good_size(largest_request_bytes), detail::largest_block_bytes);
  }
  const std::size_t idle_bytes = reused_idle_bytes + (sizes.size() + 1) * step_bytes;
  suggested.max_idle_bytes = (idle_bytes + step_bytes - 1) / step_bytes * step_bytes;
  return suggested;
}

std::ostream& operator<<(std::ostream& out, const trace_advice& advice) {
  using detail::in_binary_units;
  using detail::with_thousands;
  detail::text_table totals(detail::text_table::first_column::left);
  const auto add = [&](const char* name, std::uint64_t value) {
    totals.add_row({name, with_thousands(value)});
  };
  const auto add_bytes = [&](const char* name, std::size_t bytes) {
    totals.add_row(
        {name, with_thousands(bytes), "B", bytes < 1024 ? "" : "(" + in_binary_units(bytes) + ")"});
  };
  add("allocations", advice.allocations);
  add("threads", advice.threads);
  add("freed by another thread", advice.frees_elsewhere);
  add_bytes("largest request", advice.largest_request_bytes);
  add("largest alignment", advice.largest_alignment);
  add_bytes("peak, as requested", advice.peak_requested_bytes);
  add_bytes("peak, in blocks", advice.peak_bytes);
  add_bytes("idle before reuse", advice.reused_idle_bytes);
  add("outside all buckets", advice.unpooled);

  detail::text_table sizes;
  sizes.add_row({"block", "allocations", "reused", "peak", "live at the end"});
  sizes.add_rule();
  for (const size_advice& one : advice.sizes) {
    sizes.add_row({in_binary_units(one.block_bytes), with_thousands(one.allocations),
                   detail::percentage(one.reused, one.allocations), with_thousands(one.peak_blocks),
                   with_thousands(one.final_blocks)});
  }

  const pool_options options = advice.options();
  std::string text = totals.text() + "\n" + (advice.sizes.empty() ? "" : sizes.text() + "\n");
  text += advice.needs_synchronized() ? "cistern::synchronized_pool_resource pool({"
                                      : "cistern::unsynchronized_pool_resource pool({";
  if (options.largest_required_pool_block != 0) {
    text += ".largest_required_pool_block = " + std::to_string(options.largest_required_pool_block) + ", ";
  }
  text += ".max_idle_bytes = " + std::to_string(options.max_idle_bytes) + "});\n";
  return out.write(text.data(), static_cast<std::streamsize>(text.size()));  // Past width and fill.
}

trace_advice advise(trace_reader& trace, std::pmr::memory_resource* memory,
                    const trace_advice_options& options) {
  pool_model model(resource_or_new_delete(memory));
  bool is_cut_off = false;
  try {
    for (trace_event event; trace.next(event);) model.see(event);
  } catch (const trace_error& error) {
    if (!options.up_to_the_cut || error.fault() != trace_fault::truncated) throw;
    is_cut_off = true;
  }
  trace_advice advice = std::move(model).result();
  advice.cut_off = is_cut_off;
  return advice;
}

}  // namespace cistern
