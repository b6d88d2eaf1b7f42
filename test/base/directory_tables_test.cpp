// The tables of the directory of thread caches, which need no malloc.
#include "../../src/base/directory_tables.hpp"

#include <cistern/detail/base/thread_record.hpp>

#include <cstdint>
#include <set>
#include <vector>

#include <boost/test/unit_test.hpp>

using cistern::detail::cache_reference;
using cistern::detail::free_ids;
using cistern::detail::page_array;
using cistern::detail::pool_entries;
using cistern::detail::pool_entry;
using cistern::detail::thread_record;
using cistern::detail::thread_records;

BOOST_AUTO_TEST_CASE(entries_begin_empty_and_never_move) {
  pool_entries entries;
  std::vector<pool_entry*> places;
  for (std::uint32_t id = 0; id < 1'000; ++id) {
    BOOST_REQUIRE(entries.grow());
    BOOST_REQUIRE(entries.size() == id + 1);
    BOOST_REQUIRE(entries[id].serial == 0U);
    BOOST_REQUIRE(entries[id].pins == 0U);
    entries[id].serial = id + 1;
    places.push_back(&entries[id]);
  }
  for (std::uint32_t id = 0; id < 1'000; ++id) {
    BOOST_REQUIRE(&entries[id] == places[id]);
    BOOST_REQUIRE(entries[id].serial == id + 1);
  }
  BOOST_TEST(std::set<pool_entry*>(places.begin(), places.end()).size() == 1'000U);
}

BOOST_AUTO_TEST_CASE(the_lowest_free_id_comes_first) {
  free_ids ids;
  BOOST_TEST(ids.empty());
  BOOST_REQUIRE(ids.reserve(5'000));
  for (std::uint32_t id = 5'000; id-- > 0;) {
    ids.put(id);
  }
  BOOST_REQUIRE(ids.reserve(100'000));  // keeps what is there
  for (std::uint32_t id = 0; id < 5'000; ++id) {
    BOOST_REQUIRE(ids.take() == id);
  }
  BOOST_TEST(ids.empty());
  ids.put(7);
  ids.put(3);
  ids.put(5);
  BOOST_TEST(ids.take() == 3U);
}

BOOST_AUTO_TEST_CASE(a_record_is_fresh_whoever_had_it_before) {
  thread_records records;
  thread_record* const first = records.take();
  BOOST_REQUIRE(first != nullptr);
  first->table[3] = {.serial = 9, .cache = &records};
  first->rounds = 2;
  first->size = 256;
  first->all = page_array<cache_reference>::make(first->size);
  BOOST_REQUIRE(first->all != nullptr);
  records.put_back(*first);
  thread_record* const again = records.take();
  BOOST_TEST(again == first);
  BOOST_TEST(again->table[3].serial == 0U);
  BOOST_TEST(again->rounds == 0U);
  BOOST_TEST(again->all == again->table.data());
  BOOST_TEST(again->size == thread_record::table_size);
  BOOST_TEST((again->state == thread_record::phase::working));
}

BOOST_AUTO_TEST_CASE(records_of_lost_threads_serve_others_but_not_those_in_use) {
  thread_records records;
  std::set<thread_record*> all;
  for (int i = 0; i < 100; ++i) {
    all.insert(records.take());
  }
  BOOST_TEST(all.size() == 100U);
  thread_record* const kept = *all.begin();
  thread_record* const ending = *all.rbegin();
  ending->state = thread_record::phase::ended;
  records.put_back_all_but(kept);
  all.erase(kept);
  all.erase(ending);
  while (!all.empty()) {
    BOOST_REQUIRE(all.erase(records.take()) == 1U);  // each of the others, once
  }
}
