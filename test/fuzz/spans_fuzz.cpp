// Fuzz body: any program of bytes must leave a page heap, and spans of blocks in it, in agreement with a
// model of who has which run and which block.
#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/pool/class_spans.hpp>
#include <cistern/detail/pool/page_heap.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <stdexcept>
#include <vector>

#include "../support/fickle_resource.hpp"
#include "../support/program_bytes.hpp"

namespace {

using cistern::detail::class_block_bytes;
using cistern::detail::class_of;
using cistern::detail::class_spans;
using cistern::detail::free_block;
using cistern::detail::magazine;
using cistern::detail::page_bytes;
using run_record = cistern::detail::span;

constexpr std::array<unsigned, 4> classes{class_of(15), class_of(99), class_of(4'095), class_of(29'999)};

void demand(bool condition, const char* what) {
  if (!condition) throw std::logic_error(what);
}

/// Memory that somebody has, its ends marked.
struct piece {
  std::byte* base;
  std::size_t bytes;
  std::byte mark;

  void write() const {
    cistern::detail::asan_unpoison(base, bytes);
    base[0] = base[bytes - 1] = mark;
  }
  void check() const { demand(base[0] == mark && base[bytes - 1] == mark, "memory that two have"); }
};

class spans_program {
 public:
  explicit spans_program(std::span<const std::uint8_t> bytes) : program_(bytes) {}

  void run() {
    while (!program_.empty()) {
      step(program_.byte());
      check();
    }
    while (!runs_.empty()) give(runs_.size() - 1);
    for (std::size_t i = 0; i < classes.size(); ++i) {
      while (!blocks_[i].empty()) put(i, blocks_[i].size() - 1);
    }
    check();
    demand(heap_.free_bytes() == heap_.pages_bytes(), "pages are in use that nobody has");
    while (heap_.give_back_oldest() != 0) {
    }
    demand(checked_.outstanding_bytes() == 0, "idle regions don't go back");
  }

 private:
  struct owned_run {
    run_record* record;
    piece memory;
  };

  void step(std::uint8_t what) {
    const std::size_t which = what / 16;
    switch (what % 16) {
      case 0:
      case 1:
      case 2:
        return take(1U + program_.byte() % 40U);
      case 3:
        return take(static_cast<std::uint32_t>(1U + program_.word() % 1'500U));
      case 4:
        return take_alone(1 + program_.word(), std::size_t{1} << program_.byte() % 13);
      case 5:
      case 6:
      case 7:
        if (!runs_.empty()) give(program_.byte() % runs_.size());
        return;
      case 8:
        if (!runs_.empty()) resize(runs_[program_.byte() % runs_.size()]);
        return;
      case 9: {
        if (which % 2 != 0) {
          const std::size_t of = which / 2 % classes.size();
          const run_record* first = nullptr;
          std::size_t bytes = 0;
          (void)spans_[of].discard(class_block_bytes(classes[of]), 1 + program_.byte() % 4U, first, bytes);
          return;
        }
        const bool any = heap_.idle_regions_bytes() != 0;
        demand((heap_.give_back_oldest() != 0) == any, "an idle region that doesn't go back");
        return;
      }
      case 10:
      case 11:
      case 12:
        return take_blocks(which % classes.size(), 1U + program_.byte() % 70U);
      case 13:
      case 14: {
        const std::size_t of = which % classes.size();
        for (unsigned left = program_.byte(); left != 0 && !blocks_[of].empty(); --left) {
          put(of, program_.byte() % blocks_[of].size());
        }
        return;
      }
      default:
        fickle_.follow(
            {.granted_before = program_.byte() % 4U,
             .failures = program_.byte() % 8U,
             .refused_above_bytes = which % 2 == 0 ? SIZE_MAX : std::size_t{1} << program_.byte() % 24});
    }
  }

  run_record* get(std::uint32_t pages) {
    try {
      if (!heap_.has_run(pages) && !heap_.grow(pages)) return nullptr;
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
    run_record* const record = heap_.try_take(pages);
    demand(record != nullptr && record->pages == pages, "no run where there is one");
    return record;
  }

  void take(std::uint32_t pages) {
    if (run_record* const record = get(pages); record != nullptr) add(record, pages * page_bytes);
  }
  void take_alone(std::size_t bytes, std::size_t alignment) {
    try {
      if (run_record* const record = heap_.try_take_alone(bytes, 1, alignment); record != nullptr) {
        demand(reinterpret_cast<std::uintptr_t>(record->base()) % alignment == 0,
               "the alignment of a run alone");
        add(record, bytes);
      }
    } catch (const std::bad_alloc&) {
    }
  }
  void add(run_record* record, std::size_t bytes) {
    runs_.push_back({record, {record->base(), bytes, next_mark()}});
    runs_.back().memory.write();
  }
  void give(std::size_t index) {
    const owned_run gone = runs_[index];
    gone.memory.check();
    demand(heap_.span_of(gone.memory.base) == gone.record, "the run of a block");
    runs_.erase(runs_.begin() + static_cast<std::ptrdiff_t>(index));
    heap_.give(gone.record, ++now_);
  }
  void resize(owned_run& one) {
    one.memory.check();
    const auto pages = static_cast<std::uint32_t>(1U + program_.byte() % 60U);
    const std::uint32_t before = one.record->pages;
    if (heap_.try_resize(one.record, pages, ++now_)) {
      demand(one.record->pages == pages, "the length of a run that changed");
      demand(one.memory.base[0] == one.memory.mark, "what was in a run that changed");
      if (!one.record->home()->is_one_run) one.memory.bytes = pages * page_bytes;
      one.memory.write();
    } else {
      demand(one.record->pages == before, "the length of a run that didn't change");
      one.memory.check();
    }
  }

  void take_blocks(std::size_t of, std::size_t most) {
    class_spans& spans = spans_[of];
    const std::size_t block_bytes = class_block_bytes(classes[of]);
    if (!spans.has_block()) {
      run_record* const record = get(spans.next_span_pages(classes[of]));
      if (record == nullptr) return;
      spans.add(record, classes[of], SIZE_MAX);
    }
    const magazine taken = spans.take(block_bytes, most);
    demand(taken.blocks >= 1 && taken.blocks <= most, "how many blocks are taken");
    std::size_t listed = 0;
    for (free_block* block = taken.head; block != nullptr; ++listed) {
      free_block* const next = block->next();
      blocks_[of].push_back({static_cast<std::byte*>(block->handed_out()), block_bytes, next_mark()});
      blocks_[of].back().write();
      block = next;
    }
    demand(listed == taken.blocks, "the length of a magazine");
  }
  void put(std::size_t of, std::size_t index) {
    const piece gone = blocks_[of][index];
    gone.check();
    blocks_[of].erase(blocks_[of].begin() + static_cast<std::ptrdiff_t>(index));
    run_record* const home = heap_.span_of(gone.base);
    if (spans_[of].put(free_block::make(gone.base, gone.bytes, nullptr), home)) heap_.give(home, ++now_);
  }

  void check() const {
    heap_.check_invariants();
    std::size_t used_bytes = 0;
    for (const owned_run& each : runs_) used_bytes += each.record->bytes();
    for (std::size_t i = 0; i < classes.size(); ++i) {
      spans_[i].check_invariants(classes[i]);
      demand(spans_[i].out_blocks() == blocks_[i].size(), "blocks that are out");
      used_bytes += spans_[i].bytes();
    }
    demand(used_bytes + heap_.free_bytes() == heap_.pages_bytes(), "pages that are in use");
    demand(heap_.held_bytes() == checked_.outstanding_bytes(), "what is held");
  }

  std::byte next_mark() { return static_cast<std::byte>(++marks_); }

  cistern::test_support::program_bytes program_;
  cistern::testing::checking_resource checked_;
  cistern::test_support::fickle_resource fickle_{&checked_};
  cistern::detail::upstream_account account_{&fickle_, std::size_t{24} << 20};
  cistern::detail::page_heap heap_{account_};
  std::array<class_spans, classes.size()> spans_;
  std::vector<owned_run> runs_;
  std::array<std::vector<piece>, classes.size()> blocks_;
  std::uint64_t now_ = 0;
  unsigned marks_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  spans_program(std::span(data, size_bytes)).run();
  return 0;
}
