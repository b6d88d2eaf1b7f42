// lazy_array: what was never used isn't there, and what was used stays as it is.
//
// Plan: an array in memory with a pattern; entries that are used; the rest untouched; clearing; many threads.
#include <cistern/detail/base/mutex.hpp>
#include <cistern/detail/base/no_lock.hpp>
#include <cistern/detail/pool/lazy_array.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <new>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

using cistern::detail::lazy_array;

namespace {

struct entry {
  std::size_t number = 7;
};
constexpr unsigned count = 100;  // more than a word of bits
using plain_array = lazy_array<entry, count, cistern::detail::no_lock>;

}  // namespace

BOOST_AUTO_TEST_CASE(what_was_never_used_is_not_written_to) {
  alignas(plain_array) std::array<std::byte, sizeof(plain_array)> memory{};
  memory.fill(std::byte{0xa5});
  const auto keep = [&] { asm volatile("" : : "r"(memory.data()) : "memory"); };  // else the pattern is dead
  keep();
  auto* const array = new (memory.data()) plain_array;
  keep();
  (*array)[3].number = 1;
  const auto touched =
      std::count_if(memory.begin(), memory.end(), [](std::byte b) { return b != std::byte{0xa5}; });
  BOOST_TEST(touched <= 2 * 8 + 2 * static_cast<int>(sizeof(entry)));  // the bits, the lock and the entry
  array->~plain_array();
}

BOOST_AUTO_TEST_CASE(entries_are_made_once) {
  plain_array array;
  for (unsigned i = 0; i < count; ++i) BOOST_TEST((array.find(i) == nullptr));
  for (const unsigned i : {0U, 63U, 64U, 99U}) {
    BOOST_TEST(array[i].number == 7U);
    array[i].number = i;
    BOOST_TEST(array[i].number == i);
    BOOST_TEST(&array.used(i) == array.find(i));
  }
  BOOST_TEST((array.find(1) == nullptr));
  BOOST_TEST((array.find(65) == nullptr));
  array.clear();
  for (unsigned i = 0; i < count; ++i) BOOST_TEST((array.find(i) == nullptr));
  BOOST_TEST(array[64].number == 7U);
}

BOOST_AUTO_TEST_CASE(threads_make_an_entry_once) {
  struct number {
    std::atomic<unsigned> value{0};
  };
  lazy_array<number, count, cistern::detail::mutex> array;
  constexpr unsigned threads = 4;
  std::vector<std::thread> team;
  for (unsigned t = 0; t < threads; ++t) {
    team.emplace_back([&] {
      for (unsigned i = 0; i < count; ++i) array[i].value.fetch_add(1, std::memory_order_relaxed);
    });
  }
  for (std::thread& each : team) each.join();
  for (unsigned i = 0; i < count; ++i) BOOST_TEST(array[i].value.load() == threads);
}
