// The spans of one class: blocks out of them and back, and when a span is none of the class any more.
//
// Plan: 1. spans of every class waste little, and grow with what is out; 2. blocks are distinct, aligned, new
// ones in order of address, and each call takes from one span; 3. blocks put back, the last one of a span;
// 4. random programs beside a model; 5. all spans leave together; 6. a span alone with fewer blocks; 7. a
// span that begins behind its first page; 8. pages without a block out lose their memory, and no block is
// lost.
#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/class_spans.hpp>
#include <cistern/detail/pool/page_heap.hpp>
#include <cistern/detail/pool/upstream_account.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/barely_aligned_resource.hpp"
#include "../support/pool_checks.hpp"
#include "../support/pool_parts.hpp"

using cistern::detail::class_alignment;
using cistern::detail::class_block_bytes;
using cistern::detail::class_of;
using cistern::detail::class_spans;
using cistern::detail::cut_class_count;
using cistern::detail::free_block;
using cistern::detail::largest_cut_block_bytes;
using cistern::detail::magazine;
using cistern::detail::most_blocks_per_chunk;
using cistern::detail::page_bytes;
using cistern::detail::page_heap;
using cistern::detail::span;
using cistern::detail::span_list;
using cistern::detail::upstream_account;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

// The spans of one class over a heap, used as a pool uses them.
struct ground {
  explicit ground(std::size_t block) : index(class_of(block - 1)), block_bytes(class_block_bytes(index)) {}
  ground(const ground&) = delete;
  ground& operator=(const ground&) = delete;
  ~ground() { heap.release(); }

  span* add_span(std::uint32_t pages, std::size_t most_blocks = most_blocks_per_chunk) {
    BOOST_REQUIRE(heap.grow(pages));
    span* const run = heap.try_take(pages);
    spans.add(run, index, most_blocks);
    return run;
  }
  std::vector<std::byte*> take(std::size_t most) {
    const magazine taken = spans.take(block_bytes, most);
    BOOST_REQUIRE(length(taken.head) == taken.blocks);
    std::vector<std::byte*> blocks;
    for (free_block* block = taken.head; block != nullptr;) {
      free_block* const next = block->next();
      blocks.push_back(static_cast<std::byte*>(block->handed_out()));
      block = next;
    }
    check();
    return blocks;
  }
  // True: its span left the class, and the heap has it again.
  bool put(std::byte* block) {
    span* const home = heap.span_of(block);
    const bool gone = spans.put(free_block::make(block, block_bytes, nullptr), home);
    if (gone) (void)heap.give(home, 0);
    check();
    return gone;
  }
  std::size_t discard(std::size_t most_spans = SIZE_MAX) {
    const span* first = nullptr;
    std::size_t bytes = 0;
    (void)spans.discard(block_bytes, most_spans, first, bytes);
    check();
    return bytes;
  }
  void check() const {
    spans.check_invariants(index);
    heap.check_invariants();
  }

  unsigned index;
  std::size_t block_bytes;
  barely_aligned_resource below;
  cistern::testing::checking_resource upstream{&below};
  upstream_account account{&upstream, SIZE_MAX};
  page_heap heap{account};
  class_spans spans;
};

constexpr std::size_t kib = 1024;

std::vector<std::byte*> take_all(ground& g) {
  std::vector<std::byte*> all;
  while (g.spans.has_block()) {
    for (std::byte* block : g.take(100)) all.push_back(block);
  }
  return all;
}

std::size_t page_number(const std::byte* address) {
  return reinterpret_cast<std::uintptr_t>(address) / page_bytes;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_span_of_any_class_wastes_an_eighth_at_most) {
  for (unsigned index = 0; index < cut_class_count; ++index) {
    const std::size_t block_bytes = class_block_bytes(index);
    const std::size_t bytes = class_spans::least_span_pages(index) * page_bytes;
    BOOST_TEST_INFO("blocks of " << block_bytes << " bytes");
    BOOST_TEST(bytes >= block_bytes);
    BOOST_TEST(bytes % block_bytes <= bytes / 8);
    BOOST_TEST(bytes <= 2 * block_bytes + 8 * page_bytes);
  }
  static_assert(class_block_bytes(cut_class_count - 1) == largest_cut_block_bytes);
}

BOOST_AUTO_TEST_CASE(spans_grow_with_what_is_out_up_to_a_bound) {
  for (unsigned index = 0; index < cut_class_count; ++index) {
    ground g(class_block_bytes(index));
    const std::uint32_t least_pages = class_spans::least_span_pages(index);
    const std::size_t most_bytes =
        std::max({least_pages * page_bytes, 8 * g.block_bytes, g.block_bytes <= 512 ? 16 * kib : 64 * kib});
    std::uint32_t before = least_pages;
    BOOST_TEST_INFO("blocks of " << g.block_bytes << " bytes");
    BOOST_TEST(g.spans.next_span_pages(index) == least_pages);
    while (g.spans.out_blocks() * g.block_bytes < 16 * most_bytes) {
      if (!g.spans.has_block()) (void)g.add_span(g.spans.next_span_pages(index));
      (void)g.take(1'000);
      const std::uint32_t pages = g.spans.next_span_pages(index);
      BOOST_REQUIRE(pages >= before);
      BOOST_REQUIRE(pages % least_pages == 0U);
      BOOST_REQUIRE(pages * page_bytes <= most_bytes);
      // Two pages at once, where one has much left over.
      const bool is_untidy = g.block_bytes == 320 || g.block_bytes == 384;
      BOOST_REQUIRE(pages * page_bytes <=
                    (is_untidy ? 2 : least_pages) * page_bytes + g.spans.out_blocks() * g.block_bytes / 8);
      before = pages;
    }
    BOOST_TEST(before * page_bytes > most_bytes - least_pages * page_bytes);
  }
}

BOOST_AUTO_TEST_CASE(new_blocks_are_distinct_and_aligned_and_come_in_order_of_address) {
  for (unsigned index = 0; index < cut_class_count; ++index) {
    ground g(class_block_bytes(index));
    BOOST_TEST(!g.spans.has_block());
    span* const home = g.add_span(2 * class_spans::least_span_pages(index));
    BOOST_TEST(g.spans.bytes() == home->bytes());
    std::vector<std::byte*> blocks;
    while (g.spans.has_block()) {
      for (std::byte* block : g.take(7)) blocks.push_back(block);
      BOOST_TEST(g.spans.out_blocks() == blocks.size());
      BOOST_TEST(g.spans.carved_blocks() == blocks.size());
    }
    BOOST_TEST(blocks.size() == home->bytes() / g.block_bytes);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      BOOST_REQUIRE(blocks[i] == home->base() + i * g.block_bytes);
      BOOST_REQUIRE(reinterpret_cast<std::uintptr_t>(blocks[i]) % class_alignment(index) == 0U);
      BOOST_REQUIRE((g.heap.span_of(blocks[i]) == home));
    }
    for (std::byte* block : blocks) (void)g.put(block);
  }
}

BOOST_AUTO_TEST_CASE(a_call_takes_from_one_span) {
  ground g(1024);
  const span* const first = g.add_span(1);
  const std::vector<std::byte*> four = g.take(100);
  BOOST_TEST(four.size() == 4U);
  BOOST_TEST(!g.spans.has_block());
  const span* const second = g.add_span(2);
  const std::vector<std::byte*> three = g.take(3);
  (void)g.put(four[2]);
  (void)g.put(four[1]);
  // The one that was full until a block came back comes first.
  const std::vector<std::byte*> two = g.take(100);
  BOOST_TEST((two == std::vector<std::byte*>{four[1], four[2]}));
  const std::vector<std::byte*> five = g.take(100);
  BOOST_TEST(five.size() == 5U);
  BOOST_TEST(five[0] == three[2] + 1024);
  BOOST_TEST(first->is_full());
  BOOST_TEST(second->is_full());
}

BOOST_AUTO_TEST_CASE(the_last_block_put_back_takes_its_span_out_of_the_class) {
  for (const std::size_t block_bytes : {std::size_t{16}, std::size_t{112}, 3 * kib, 32 * kib}) {
    ground g(block_bytes);
    span* const home = g.add_span(class_spans::least_span_pages(g.index));
    const std::vector<std::byte*> blocks = g.take(1'000);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      BOOST_TEST(g.spans.carved_blocks() == blocks.size());
      BOOST_TEST(g.put(blocks[i]) == (i + 1 == blocks.size()));
    }
    BOOST_TEST(home->bytes() > 0U);
    BOOST_TEST(g.spans.bytes() + g.spans.out_blocks() + g.spans.carved_blocks() == 0U);
    BOOST_TEST(!g.spans.has_block());
    BOOST_TEST(g.heap.idle_regions_bytes() == g.heap.pages_bytes());
  }
}

BOOST_AUTO_TEST_CASE(random_programs_keep_the_counts) {
  for (const std::size_t block_bytes : {std::size_t{16}, std::size_t{80}, std::size_t{1000}, 20 * kib}) {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      BOOST_TEST_CONTEXT("seed " << seed << ", " << block_bytes << " bytes") {
        std::mt19937_64 random(seed);
        ground g(block_bytes);
        std::vector<user_block> out;
        std::map<const span*, std::size_t> out_of;  // blocks of each span
        for (std::size_t step = 0; step < scaled(1'000); ++step) {
          if (out.size() < 100 || (out.size() < 700 && random() % 2 == 0)) {
            if (!g.spans.has_block()) {
              const auto more = static_cast<std::uint32_t>(1 + below(random, 3));
              (void)g.add_span(more * class_spans::least_span_pages(g.index));
            }
            for (std::byte* block : g.take(1 + below(random, 20))) {
              out.push_back({block, g.block_bytes, 8, static_cast<unsigned char>(random())});
              cistern::detail::asan_unpoison(block, g.block_bytes);
              fill(out.back(), g.block_bytes);
              ++out_of[g.heap.span_of(block)];
            }
          } else {
            std::swap(out[below(random, out.size())], out.back());
            BOOST_REQUIRE(filled(out.back(), g.block_bytes));
            const span* const home = g.heap.span_of(out.back().ptr);
            const bool is_last = --out_of[home] == 0;
            BOOST_REQUIRE(g.put(out.back().data()) == is_last);
            if (is_last) out_of.erase(home);
            out.pop_back();
          }
          if (step % 16 == 0) {
            (void)g.discard(1 + below(random, 3));
            g.check();
          }
          std::size_t bytes = 0;
          for (const auto& [home, blocks] : out_of) {
            BOOST_REQUIRE(home->out == blocks);
            bytes += home->bytes();
          }
          BOOST_REQUIRE(g.spans.out_blocks() == out.size());
          BOOST_REQUIRE(g.spans.bytes() == bytes);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(all_spans_leave_together) {
  ground g(64);
  for (const std::size_t spans : {0U, 1U, 5U}) {
    std::vector<span*> added;
    for (std::size_t i = 0; i < spans; ++i) {
      added.push_back(g.add_span(1));
      (void)g.take(i % 2 == 0 ? 10 : 64);  // every other one is full
    }
    span_list left;
    g.spans.leave_to(left);
    g.check();
    BOOST_TEST(!g.spans.has_block());
    BOOST_TEST(g.spans.bytes() + g.spans.out_blocks() + g.spans.carved_blocks() == 0U);
    std::vector<span*> seen;
    while (!left.empty()) seen.push_back(left.pop());
    std::sort(added.begin(), added.end());
    std::sort(seen.begin(), seen.end());
    BOOST_TEST((seen == added));
    for (span* run : seen) (void)g.heap.give(run, 1);
  }
  BOOST_TEST(g.heap.idle_regions_bytes() == g.heap.pages_bytes());
}

BOOST_AUTO_TEST_CASE(a_span_alone_has_no_more_blocks_than_allowed) {
  for (const std::size_t most_blocks : {std::size_t{1}, std::size_t{3}, std::size_t{100}}) {
    for (const std::size_t block_bytes : {std::size_t{24}, std::size_t{640}, 8 * kib}) {
      ground g(block_bytes);
      span* const run = g.heap.try_take_alone(g.block_bytes, most_blocks, class_alignment(g.index));
      g.spans.add(run, g.index, most_blocks);  // rounded up to 64 bytes there may be room for another one
      const std::vector<std::byte*> blocks = g.take(1'000);
      BOOST_TEST(blocks.size() == most_blocks);
      BOOST_TEST(g.spans.bytes() == run->bytes());
      for (std::byte* block : blocks) BOOST_TEST((g.heap.span_of(block) == run));
      for (std::byte* block : blocks) (void)g.put(block);
      BOOST_TEST(g.upstream.outstanding_bytes() == 0U);
    }
  }
}

BOOST_AUTO_TEST_CASE(blocks_are_aligned_in_a_less_aligned_region_too) {
  std::size_t behind = 0;
  for (unsigned index = 0; index < cut_class_count; ++index) {
    ground g(class_block_bytes(index));
    const std::uint32_t pages = class_spans::least_span_pages(index);
    BOOST_TEST_CONTEXT("blocks of " << g.block_bytes << " bytes") {
      BOOST_REQUIRE(g.heap.grow(std::max(pages + 1, 8U), 64));
      span* const run = g.heap.try_take(pages, class_alignment(index));
      BOOST_REQUIRE(run != nullptr);
      behind += run->begins_behind;
      g.spans.add(run, index, most_blocks_per_chunk);
      const std::vector<std::byte*> blocks = g.take(10'000);
      BOOST_TEST(blocks.size() >= std::max<std::size_t>((pages * page_bytes - kib) / g.block_bytes, 1));
      const std::byte* const end = run->home()->base + run->home()->bytes;
      for (std::byte* block : blocks) {
        BOOST_REQUIRE(reinterpret_cast<std::uintptr_t>(block) % class_alignment(index) == 0U);
        BOOST_REQUIRE(block + g.block_bytes <= end);
        BOOST_REQUIRE((g.heap.span_of(block) == run));
        BOOST_REQUIRE(class_spans::is_out(block, g.block_bytes, *run));
      }
      for (std::byte* block : blocks) (void)g.put(block);
      BOOST_TEST(g.heap.idle_regions_bytes() == g.heap.pages_bytes());
    }
  }
  BOOST_TEST(behind != 0U);
}

BOOST_AUTO_TEST_CASE(pages_without_a_block_out_lose_their_memory_and_no_block) {
  for (const std::size_t block_bytes :
       {std::size_t{16}, std::size_t{112}, std::size_t{640}, 3 * kib, 5 * kib, 32 * kib}) {
    BOOST_TEST_CONTEXT("blocks of " << block_bytes << " bytes") {
      ground g(block_bytes);
      const std::uint32_t least_pages = class_spans::least_span_pages(g.index);
      span* const home = g.add_span(least_pages * std::max(1U, 16 / least_pages));
      const std::vector<std::byte*> blocks = take_all(g);
      for (std::byte* block : blocks) {
        cistern::detail::asan_unpoison(block, g.block_bytes);
        std::memset(block, 7, g.block_bytes);
      }
      const std::size_t kept = blocks.size() / 2;
      for (std::size_t i = 0; i < blocks.size(); ++i) {
        if (i != kept) (void)g.put(blocks[i]);
      }
      const std::size_t pages_in_use =
          page_number(blocks[kept] + g.block_bytes - 1) - page_number(blocks[kept]) + 1;
      const std::size_t touched_pages = (blocks.size() * g.block_bytes + page_bytes - 1) / page_bytes;
      BOOST_TEST(g.discard() == (touched_pages - pages_in_use) * page_bytes);
      BOOST_TEST(g.discard() == 0U);  // nothing came back since
      g.check();
      BOOST_TEST(class_spans::is_out(blocks[kept], g.block_bytes, *home));
      BOOST_TEST(!class_spans::is_out(blocks[0], g.block_bytes, *home));
      BOOST_TEST(std::all_of(blocks[kept], blocks[kept] + g.block_bytes,
                             [](std::byte each) { return each == std::byte{7}; }));
      std::vector<std::byte*> again = take_all(g);
      again.push_back(blocks[kept]);
      std::sort(again.begin(), again.end());
      BOOST_TEST((again == blocks));
      for (std::byte* block : again) {
        std::byte* const last = block + g.block_bytes - 1;
        const bool shares_page = page_number(last) >= page_number(blocks[kept]) &&
                                 page_number(last) <= page_number(blocks[kept] + g.block_bytes - 1);
        cistern::detail::asan_unpoison(last, 1);
        if (!shares_page) BOOST_REQUIRE((*last == std::byte{0}));
      }
      for (std::byte* block : again) (void)g.put(block);
      BOOST_TEST(g.heap.idle_regions_bytes() == g.heap.pages_bytes());
    }
  }
}

BOOST_AUTO_TEST_CASE(what_is_discarded_leaves_what_is_still_to_be_cut_alone) {
  ground g(64);
  (void)g.add_span(4);
  const std::vector<std::byte*> first = g.take(2 * 64 + 10);  // two pages and a part of the third
  for (std::size_t i = 1; i < first.size(); ++i) (void)g.put(first[i]);
  BOOST_TEST(g.discard() == page_bytes);  // the second
  std::vector<std::byte*> all = take_all(g);
  all.push_back(first[0]);
  std::sort(all.begin(), all.end());
  BOOST_TEST(all.size() == 4 * 64U);
  BOOST_TEST((std::adjacent_find(all.begin(), all.end()) == all.end()));
  for (std::byte* block : all) (void)g.put(block);
}

BOOST_AUTO_TEST_CASE(spans_are_discarded_in_turn) {
  ground g(64);
  std::vector<std::byte*> blocks;
  for (int i = 0; i < 3; ++i) {
    (void)g.add_span(2);
    for (std::byte* block : take_all(g)) blocks.push_back(block);
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (i % 128 != 0) (void)g.put(blocks[i]);
  }
  const span* first = nullptr;
  std::size_t bytes = 0;
  BOOST_TEST(!g.spans.discard(64, 2, first, bytes));
  BOOST_TEST(bytes == 2 * page_bytes);
  BOOST_TEST(g.spans.discard(64, 2, first, bytes));
  BOOST_TEST(bytes == 3 * page_bytes);
  g.check();
}

BOOST_AUTO_TEST_CASE(a_span_alone_keeps_its_memory) {
  ground g(64);
  span* const run = g.heap.try_take_alone(64, 300, 64);
  g.spans.add(run, g.index, 300);
  const std::vector<std::byte*> blocks = take_all(g);
  for (std::size_t i = 1; i < blocks.size(); ++i) (void)g.put(blocks[i]);
  BOOST_TEST(g.discard() == 0U);
  (void)g.put(blocks[0]);
}
