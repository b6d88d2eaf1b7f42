// The records of runs and regions: which run a block lies in, and lists of runs.
#include <cistern/detail/pool/span.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <new>
#include <random>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"

using cistern::detail::heap_region;
using cistern::detail::page_bytes;
using cistern::detail::span;
using cistern::detail::span_list;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

std::vector<span*> members(const span_list& list) {
  std::vector<span*> all;
  for (span* each = list.head(); each != nullptr; each = list.after(each)) all.push_back(each);
  return all;
}

// A heap_region of four pages in memory of its own, of which only the records are ever touched.
struct small_region {
  alignas(64) std::byte memory[4 * page_bytes + heap_region::records_bytes_for(4)]{};
  heap_region* record = new (memory + 4 * page_bytes) heap_region{};

  small_region() {
    record->base = memory;
    record->bytes = 4 * page_bytes;
    for (std::uint32_t slot = 0; slot < 4; ++slot) record->spans()[slot].slot = slot;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_record_knows_where_its_run_lies) {
  small_region one;
  span* const second = one.record->spans() + 2;
  second->first_page = 1;
  second->pages = 3;
  BOOST_TEST((second->home() == one.record));
  BOOST_TEST(second->base() == one.memory + page_bytes);
  BOOST_TEST(second->bytes() == 3 * page_bytes);
  BOOST_TEST(one.record->records_bytes() == 64U + 4 * 64 + 8 + 4 * 4);
  BOOST_TEST(one.record->holds(one.memory));
  BOOST_TEST(one.record->holds(one.memory + 4 * page_bytes - 1));
  BOOST_TEST(!one.record->holds(one.memory + 4 * page_bytes));
  BOOST_TEST(!one.record->holds(one.memory - 1));
}

BOOST_AUTO_TEST_CASE(a_run_is_found_from_any_of_its_pages) {
  small_region one;
  span* const second = one.record->spans() + 2;
  for (std::uint32_t page = 1; page < 4; ++page) one.record->slots()[page] = 2;
  BOOST_TEST((one.record->run_of(one.memory) == one.record->spans()));
  for (const std::size_t offset : {page_bytes, 2 * page_bytes - 1, 2 * page_bytes, 4 * page_bytes - 1}) {
    BOOST_TEST((one.record->run_of(one.memory + offset) == second));
  }
  one.record->is_one_run = true;
  BOOST_TEST((one.record->run_of(one.memory + 3 * page_bytes) == one.record->spans()));
  BOOST_TEST(one.record->spans()->bytes() == 4 * page_bytes);
  BOOST_TEST(one.record->records_bytes() == 64U + 64);
}

BOOST_AUTO_TEST_CASE(lists_are_what_a_deque_is) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      std::vector<span> spans(30);
      std::vector<span*> free;
      for (span& each : spans) free.push_back(&each);
      span_list lists[2];
      std::deque<span*> models[2];
      for (std::size_t step = 0; step < scaled(5'000); ++step) {
        const std::size_t which = below(random, 2);
        span_list& list = lists[which];
        std::deque<span*>& model = models[which];
        switch (random() % 8) {
          case 0:
            list.take_all(lists[1 - which]);
            model.insert(model.begin(), models[1 - which].begin(), models[1 - which].end());
            models[1 - which].clear();
            break;
          case 1:
          case 2:
            if (model.empty()) break;
            BOOST_REQUIRE((list.pop() == model.front()));
            free.push_back(model.front());
            model.pop_front();
            break;
          case 3:
          case 4: {
            if (model.empty()) break;
            const auto removed = model.begin() + static_cast<std::ptrdiff_t>(below(random, model.size()));
            list.remove(*removed);
            free.push_back(*removed);
            model.erase(removed);
            break;
          }
          default:
            if (free.empty()) break;
            list.push(free.back());
            model.push_front(free.back());
            free.pop_back();
        }
        for (std::size_t i = 0; i < 2; ++i) {
          BOOST_REQUIRE(lists[i].empty() == models[i].empty());
          BOOST_REQUIRE((members(lists[i]) == std::vector<span*>(models[i].begin(), models[i].end())));
        }
      }
    }
  }
}
