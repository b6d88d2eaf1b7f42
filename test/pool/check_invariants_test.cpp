// check_invariants, of both engines: each of a span's records is broken behind their backs, and they end with
// a word that says which.
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/detail/pool/bucket_set.hpp>
#include <cistern/detail/pool/depot.hpp>
#include <cistern/detail/pool/span.hpp>
#include <cistern/detail/pool/upstream_account.hpp>

#include <cstddef>
#include <memory_resource>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"
#include "../support/pool_parts.hpp"
#include "../support/regions.hpp"

using cistern::detail::class_block_bytes;
using cistern::detail::class_of;
using cistern::detail::free_block;
using cistern::detail::heap_region;
using cistern::detail::page_bytes;
using cistern::detail::span;
using cistern::test_support::dies_saying;

namespace {

constexpr unsigned class_1k = class_of(1023);
constexpr unsigned class_2k = class_of(2047);

// Knows which memory it gave, and so where the records of a region lie.
class noting_resource final : public std::pmr::memory_resource {
 public:
  // Of a region of pages.
  [[nodiscard]] span& span_of(const void* block) const {
    for (const given& each : given_) {
      if (static_cast<std::size_t>(static_cast<const std::byte*>(block) - each.memory) < each.bytes) {
        const std::size_t pages = cistern::test_support::pages_of_region(each.bytes);
        return *reinterpret_cast<heap_region*>(each.memory + pages * page_bytes)->run_of(block);
      }
    }
    throw std::logic_error("no block of this upstream");
  }

 private:
  struct given {
    std::byte* memory;
    std::size_t bytes;
  };

  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    void* const memory = std::pmr::new_delete_resource()->allocate(bytes, alignment);
    given_.push_back({static_cast<std::byte*>(memory), bytes});
    return memory;
  }
  void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override {
    std::erase_if(given_, [&](const given& each) { return each.memory == memory; });
    std::pmr::new_delete_resource()->deallocate(memory, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  std::vector<given> given_;
};

struct ground {
  noting_resource upstream;
  cistern::pool_options options = cistern::test_support::effective({});
  cistern::detail::upstream_account account{&upstream, options.max_bytes};
};

struct one_thread : ground {
  void* take(unsigned index) {
    return engine[index].head != nullptr ? engine[index].pop() : engine.try_allocate(index);
  }
  void put(unsigned index, void* block) { (void)engine[index].try_push(block, class_block_bytes(index)); }

  cistern::detail::bucket_set engine{options, account};
};

struct many_threads : ground {
  many_threads() = default;
  many_threads(const many_threads&) = delete;
  many_threads& operator=(const many_threads&) = delete;
  ~many_threads() { engine.release({}); }

  void* take(unsigned index) { return engine.try_allocate(index, nullptr); }
  void put(unsigned index, void* block) { engine.deallocate(index, block); }

  cistern::detail::depot engine{options, account};
};

// The same in lists that caches handed over.
struct many_threads_with_caches : many_threads {
  void put(unsigned index, void* block) {
    kept_ = {free_block::make(block, class_block_bytes(index), kept_.head), kept_.blocks + 1};
    if (kept_.blocks == 2) {
      engine.put(index, std::exchange(kept_, {}));
    }
  }

 private:
  cistern::detail::magazine kept_;
};

using engines = std::tuple<one_thread, many_threads, many_threads_with_caches>;

// Blocks of two classes are out, and some are free in their spans.
template <class Engine>
struct used : Engine {
  used() {
    for (int i = 0; i < 200; ++i) blocks.push_back(this->take(class_1k));
    for (int i = 0; i < 20; ++i) others.push_back(this->take(class_2k));
    for (int i = 100; i < 200; ++i) this->put(class_1k, blocks[static_cast<std::size_t>(i)]);
    (void)this->engine.trim(0);
  }
  [[nodiscard]] span& first_span() const { return this->upstream.span_of(blocks.front()); }
  [[nodiscard]] span& span_with_free_blocks() const {
    for (const void* const block : blocks) {
      if (span& each = this->upstream.span_of(block); each.free != nullptr) return each;
    }
    throw std::logic_error("none");
  }

  template <class Break>
  [[nodiscard]] bool dies_of(const char* expected, Break breaks) {
    this->engine.check_invariants();
    return dies_saying(expected, [&] {
      breaks();
      this->engine.check_invariants();
    });
  }

  std::vector<void*> blocks;
  std::vector<void*> others;
};

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(a_spans_counts, Engine, engines) {
  used<Engine> u;
  BOOST_TEST(u.dies_of("blocks of 1024 bytes: a span's counts don't agree",
                       [&] { ++u.span_with_free_blocks().out; }));
  BOOST_TEST(u.dies_of("a span's counts don't agree", [&] { ++u.first_span().carved; }));
  BOOST_TEST(u.dies_of("a span's counts don't agree", [&] {
    span& home = u.span_with_free_blocks();
    home.free = home.free->next();
  }));
  BOOST_TEST(u.dies_of("a span is in the wrong list", [&] { u.span_with_free_blocks().out = 0; }));
  BOOST_TEST(u.dies_of("unlinked pages that are not its own",
                       [&] { u.first_span().unlinked = std::uint64_t{1} << 63; }));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_spans_class_and_use, Engine, engines) {
  used<Engine> u;
  const char* const expected = "a span is used for something else";
  BOOST_TEST(u.dies_of(expected, [&] { u.first_span().index = class_2k; }));
  BOOST_TEST(u.dies_of(expected, [&] { u.first_span().use = cistern::detail::span_use::single; }));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_spans_place_among_the_pages, Engine, engines) {
  used<Engine> u;
  BOOST_TEST(u.dies_of("a run's records don't agree", [&] {
    span& first = u.first_span();
    ++first.home()->slots()[first.first_page + first.pages - 1];
  }));
  BOOST_TEST(u.dies_of("a page leads to no record", [&] {
    span& first = u.first_span();
    first.home()->slots()[first.first_page] = UINT32_MAX;
  }));
  BOOST_TEST(u.dies_of("a run's records don't agree", [&] { ++u.first_span().first_page; }));
  BOOST_TEST(u.dies_of("a region's free pages are miscounted", [&] { u.first_span().is_free = true; }));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_span_that_its_class_has_lost, Engine, engines) {
  used<Engine> u;
  BOOST_TEST(u.dies_of("sums differ", [&] {
    span& lost = u.first_span();  // not the first one in its list
    lost.previous->next = lost.next;
    lost.next->previous = lost.previous;
  }));
}

// As where a free comes with the wrong size.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_block_in_the_list_of_another_class, Engine, engines) {
  used<Engine> u;
  BOOST_TEST(u.dies_of("blocks of 1024 bytes: a free block is in no span of its class", [&] {
    u.put(class_1k, u.others[0]);
    u.put(class_1k, u.others[1]);
  }));
}
