#include <cistern/detail/base/memory_checker.hpp>
#include <cistern/detail/base/os_pages.hpp>
#include <cistern/detail/pool/class_spans.hpp>

#include <algorithm>
#include <bit>

#include "broken_invariant.hpp"
#include "list_walk.hpp"

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

// ---- pages of a span ----

constexpr std::uint32_t most_span_pages = 64;
static_assert(most_span_bytes(largest_cut_block_bytes) == most_span_pages * page_bytes);
constexpr page_set page_bit(std::size_t page) noexcept {
  return page_set{1} << page;
}

std::size_t page_of(const span& home, const free_block* block) noexcept {
  return static_cast<std::size_t>(reinterpret_cast<const std::byte*>(block) - home.base()) / page_bytes;
}

// Calls `visit(offset)` for each block that was ever out and begins in a page, the last one first.
template <class F>
void for_each_block_in(const span& home, std::size_t page, std::size_t block_bytes, F visit) noexcept {
  const auto first_of = [&](std::size_t of) { return (of * page_bytes + block_bytes - 1) / block_bytes; };
  for (std::size_t i = std::min<std::size_t>(first_of(page + 1), home.carved); i > first_of(page); --i) {
    visit((i - 1) * block_bytes);
  }
}

// Pages in which some block was out, and none is now.
page_set idle_pages(const span& home, std::size_t block_bytes) noexcept {
  std::array<std::uint16_t, most_span_pages> free_blocks{};  // that lie in a page, whole or in part
  const auto count = [&](std::size_t offset) {
    for (std::size_t page = offset / page_bytes; page <= (offset + block_bytes - 1) / page_bytes; ++page) {
      ++free_blocks[page];
    }
  };
  for (const free_block* block = home.free; block != nullptr; block = block->next()) {
    count(static_cast<std::size_t>(reinterpret_cast<const std::byte*>(block) - home.base()));
  }
  for (page_set left = home.unlinked; left != 0; left &= left - 1) {
    for_each_block_in(home, static_cast<std::size_t>(std::countr_zero(left)), block_bytes, count);
  }
  // A page that new blocks are still to be cut from is not for us.
  const std::size_t pages =
      home.carved == home.capacity ? home.pages : home.carved * block_bytes / page_bytes;
  page_set idle = 0;
  for (std::size_t page = 0; page < pages; ++page) {
    const std::size_t first = page * page_bytes / block_bytes;
    const std::size_t last = ((page + 1) * page_bytes - 1) / block_bytes;
    const std::size_t end = std::min<std::size_t>(last + 1, home.carved);
    idle |= end > first && free_blocks[page] == end - first ? page_bit(page) : 0;
  }
  return idle;
}

// From now on no block that begins in one of these pages is in the list.
void unlink_pages(span& home, page_set pages, std::size_t block_bytes) noexcept {
  free_block* linked = nullptr;
  free_block* last = nullptr;
  for (free_block* block = home.free; block != nullptr;) {
    free_block* const next = block->next();
    if ((pages & page_bit(page_of(home, block))) == 0) {
      (last != nullptr ? last->next(block) : static_cast<void>(linked = block));
      last = block;
    }
    block = next;
  }
  if (last != nullptr) {
    last->next(nullptr);
  }
  home.free = linked;
  for (; pages != 0; pages &= pages - 1) {
    const auto page = static_cast<std::size_t>(std::countr_zero(pages));
    bool begins_one = false;
    for_each_block_in(home, page, block_bytes, [&](std::size_t) { begins_one = true; });
    home.unlinked |= begins_one ? page_bit(page) : 0;
  }
}

void link_page(span& home, std::size_t page, std::size_t block_bytes) noexcept {
  if ((home.unlinked & page_bit(page)) != 0) {
    home.unlinked &= ~page_bit(page);
    home.has_changed = true;
    for_each_block_in(home, page, block_bytes, [&](std::size_t offset) {
      auto* const block = reinterpret_cast<free_block*>(home.base() + offset);
      block->next(home.free);
      home.free = block;
    });
  }
}

// The first page in order of address whose blocks are in no list.
void link_next_page(span& home, std::size_t block_bytes) noexcept {
  link_page(home, static_cast<std::size_t>(std::countr_zero(home.unlinked)), block_bytes);
}

// Takes the memory of idle pages away; returns the bytes.
std::size_t discard_idle_pages(span& home, std::size_t block_bytes) noexcept {
  if (!home.has_changed || home.home()->is_one_run || home.begins_behind != 0 ||
      home.pages > most_span_pages) {
    return 0;
  }
  home.has_changed = false;
  const page_set idle = idle_pages(home, block_bytes);
  unlink_pages(home, idle, block_bytes);
  std::size_t bytes = 0;
  for (page_set left = idle; left != 0;) {
    const auto first = static_cast<unsigned>(std::countr_zero(left));
    const auto count = static_cast<unsigned>(std::countr_one(left >> first));
    if (discard_pages(home.base() + first * page_bytes, count * page_bytes)) {
      bytes += count * page_bytes;
    } else {
      for (unsigned page = first; page < first + count; ++page) {
        link_page(home, page, block_bytes);
      }
    }
    left &= first + count < most_span_pages ? ~page_set{0} << (first + count) : 0;
  }
  return bytes;
}

}  // namespace

std::uint32_t class_spans::least_span_pages(unsigned index) noexcept {
  return least_pages[index];
}

std::uint32_t class_spans::next_span_pages(unsigned index) const noexcept {
  const std::size_t block_bytes = class_block_bytes(index);
  const std::size_t least_bytes = least_pages[index] * page_bytes;
  const std::size_t out_bytes = out_ * block_bytes;
  // Two pages have less left over than one has twice: much of a small arena.
  const bool is_untidy = page_bytes % block_bytes >= page_bytes / 16 && block_bytes <= page_bytes / 8;
  const std::size_t tidy_bytes = is_untidy && out_bytes >= page_bytes ? 2 * page_bytes : least_bytes;
  const std::size_t wanted_bytes =
      std::clamp(out_bytes / 8, tidy_bytes, std::max(tidy_bytes, most_span_bytes(block_bytes)));
  return least_pages[index] * static_cast<std::uint32_t>(wanted_bytes / least_bytes);
}

std::uint32_t class_spans::next_small_span_blocks(unsigned index) const noexcept {
  constexpr std::size_t first_bytes = 768;
  constexpr unsigned end = computed_class_of(511);  // of larger ones too few would lie between records
  if (index >= end || bytes_ >= page_bytes / 2) {
    return 0;
  }
  const std::size_t wanted_bytes = std::max(first_bytes, 2 * bytes_);
  return static_cast<std::uint32_t>(std::max<std::size_t>(wanted_bytes / class_block_bytes(index), 1));
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
  run->unlinked = 0;
  run->has_changed = true;
  if (!run->home()->is_one_run) {
    // Blocks are found from any of its pages. The heap has said so of the last one, and may be reading it.
    std::uint32_t* const slots = run->home()->slots() + run->first_page;
    for (std::uint32_t page = 1; page + 1 < run->pages; ++page) {
      slots[page] = run->slot;
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
  if (from->free == nullptr && from->carved == from->capacity) [[unlikely]] {
    link_next_page(*from, block_bytes);
  }
  list_walk walk;
  while (taken.blocks < most && from->free != nullptr) {
    free_block* const block = from->free;
    from->free = walk.after(block);
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
  home->has_changed = true;
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
  return free == nullptr && offset % block_bytes == 0 && offset / block_bytes < home.carved &&
         !is_unlinked(block, home);
}

bool class_spans::discard(std::size_t block_bytes, std::size_t most_spans, const span*& first,
                          std::size_t& bytes) noexcept {
  for (; !open_.empty() && open_.head() != first; --most_spans) {
    if (most_spans == 0) {
      return false;
    }
    first = first != nullptr ? first : open_.head();
    bytes += discard_idle_pages(*open_.head(), block_bytes);
    open_.rotate();
  }
  return true;
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
      if (each->pages < most_span_pages && each->unlinked >> each->pages != 0) {
        broken_invariant("spans of blocks", block_bytes, "a span has unlinked pages that are not its own");
      }
      for (page_set left = each->unlinked; left != 0; left &= left - 1) {
        for_each_block_in(*each, static_cast<std::size_t>(std::countr_zero(left)), block_bytes,
                          [&](std::size_t) { ++free; });
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
