#include <cistern/detail/base/memory_checker.hpp>
#include <cistern/detail/pool/class_spans.hpp>

#include <algorithm>

#include "broken_invariant.hpp"

namespace cistern::detail {
namespace {

constexpr auto least_pages = [] {
  std::array<std::uint8_t, cached_class_count> pages{};
  for (unsigned index = 0; index < cached_class_count; ++index) {
    pages[index] = static_cast<std::uint8_t>(fitting_pages(class_block_bytes(index)));
  }
  return pages;
}();

// A block that lives on holds its span. So spans of small blocks stay small, of which a survivor in a
// thousand would hold most; those of large blocks have room for eight.
constexpr std::size_t most_span_bytes(std::size_t block_bytes) noexcept {
  if (block_bytes > largest_cut_block_bytes) {
    return block_bytes;
  }
  return block_bytes <= 512 ? 4 * page_bytes : std::max(16 * page_bytes, 8 * block_bytes);
}

}  // namespace

std::uint32_t class_spans::least_span_pages(unsigned index) noexcept {
  return least_pages[index];
}

std::uint32_t class_spans::next_span_pages(unsigned index) const noexcept {
  const std::size_t block_bytes = class_block_bytes(index);
  const std::size_t least_bytes = least_pages[index] * page_bytes;
  const std::size_t wanted_bytes =
      std::clamp(out_ * block_bytes / 8, least_bytes, std::max(least_bytes, most_span_bytes(block_bytes)));
  return least_pages[index] * static_cast<std::uint32_t>(wanted_bytes / least_bytes);
}

void class_spans::add(span* run, unsigned index, std::size_t most_blocks) noexcept {
  run->use = span_use::blocks;
  run->index = static_cast<std::uint8_t>(index);
  run->free = nullptr;
  run->carved = 0;
  run->out = 0;
  run->capacity = static_cast<std::uint32_t>(
      std::min((run->bytes() - run->begins_behind) / class_block_bytes(index), most_blocks));
  open_.push(run);
  bytes_ += run->bytes();
  if (!run->home->is_one_run) {
    // Blocks are found from any of its pages. The heap has said so of the last one, and may be reading it.
    for (std::uint32_t page = 1; page + 1 < run->pages; ++page) {
      run[page].back = page;
    }
  }
}

magazine class_spans::take(std::size_t block_bytes, std::size_t most) noexcept {
  span* const from = open_.head();
  magazine taken;
  free_block* last = nullptr;
  const auto append = [&](free_block* block) {
    (last != nullptr ? last->next(block) : static_cast<void>(taken.head = block));
    last = block;
    ++taken.blocks;
  };
  while (taken.blocks < most && from->free != nullptr) {
    free_block* const block = from->free;
    from->free = block->next();
    append(block);
  }
  std::byte* const base = from->base();
  const std::uint32_t carved_before = from->carved;
  while (taken.blocks < most && from->carved < from->capacity) {
    append(reinterpret_cast<free_block*>(base + from->carved * block_bytes));
    ++from->carved;
  }
  last->next(nullptr);
  carved_ += from->carved - carved_before;
  from->out += static_cast<std::uint32_t>(taken.blocks);
  out_ += taken.blocks;
  if (from->is_full()) {
    open_.remove(from);
    full_.push(from);
  }
  return taken;
}

bool class_spans::put(free_block* block, span* home) noexcept {
  if (home->is_full()) {
    full_.remove(home);
    open_.push(home);
  }
  block->next(home->free);
  home->free = block;
  --out_;
  if (--home->out != 0) {
    return false;
  }
  open_.remove(home);
  carved_ -= home->carved;
  bytes_ -= home->bytes();
  return true;
}

magazine class_spans::take_watched(std::size_t block_bytes) noexcept {
  magazine taken;
  {
    const checker_pause pause;
    taken = take(block_bytes, 1);
  }
  allow_access(taken.head, sizeof(free_block));
  taken.head->next(nullptr);
  return taken;
}

bool class_spans::put_watched(void* block, std::size_t block_bytes, span* home) noexcept {
  forbid_access(block, block_bytes);
  const checker_pause pause;
  return put(static_cast<free_block*>(block), home);
}

bool class_spans::is_out(const void* block, std::size_t block_bytes, const span& home) noexcept {
  const checker_pause pause;
  const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(block) - home.base());
  const free_block* free = home.free;
  while (free != nullptr && free != block) {
    free = free->next();
  }
  return free == nullptr && offset % block_bytes == 0 && offset / block_bytes < home.carved;
}

void class_spans::leave_to(span_list& list) noexcept {
  list.take_all(open_);
  list.take_all(full_);
  out_ = 0;
  carved_ = 0;
  bytes_ = 0;
}

void class_spans::check_invariants(unsigned index) const noexcept {
  const checker_pause pause;
  const std::size_t block_bytes = class_block_bytes(index);
  std::size_t out = 0;
  std::size_t carved = 0;
  std::size_t bytes = 0;
  for (const span_list* list : {&open_, &full_}) {
    for (const span* each = list->head(); each != nullptr; each = list->after(each)) {
      if (each->use != span_use::blocks || each->index != index) {
        broken_invariant("spans of blocks", block_bytes, "a span is used for something else");
      }
      if (each->is_full() != (list == &full_) || (each->out == 0)) {
        broken_invariant("spans of blocks", block_bytes, "a span is in the wrong list");
      }
      std::size_t free = 0;
      for (const free_block* block = each->free; block != nullptr; block = block->next()) {
        ++free;
      }
      if (each->out + free != each->carved || each->carved > each->capacity) {
        broken_invariant("spans of blocks", block_bytes, "a span's counts don't agree with its blocks");
      }
      out += each->out;
      carved += each->carved;
      bytes += each->bytes();
    }
  }
  if (out != out_ || carved != carved_ || bytes != bytes_) {
    broken_invariant("spans of blocks", block_bytes, "sums differ from what the spans say");
  }
}

}  // namespace cistern::detail
