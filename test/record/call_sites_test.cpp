// Stacks are numbered: the same has the same number, and each is encoded once, up to where the tables are
// full.
#include "../../src/record/call_sites.hpp"

#include <cistern/adaptor/trace_reader.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/sanitizers.hpp"
#include "../support/trace_support.hpp"

using namespace cistern::detail;        // NOLINT(google-build-using-namespace)
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

using stack = std::vector<std::uintptr_t>;

/// Their pages aren't given back: one for all cases, that begins anew.
call_sites& new_sites() {
  static call_sites sites;
  BOOST_REQUIRE(sites.begin());
  return sites;
}

/// A trace of what hasn't been encoded yet. The rooms for it aren't all of a size.
trace_bytes trace_of(call_sites& sites, std::size_t frame_bytes = 8192) {
  trace_bytes trace = trace_header();
  trace_bytes payload(frame_bytes);
  sites.lock();
  for (;;) {
    const encoded_table made = sites.encode_next(payload);
    if (made.entries == 0) break;
    append_frame(trace, made.entries, made.kind, std::span(payload).first(made.bytes));
  }
  sites.unlock();
  append_end_mark(trace, 0);
  return trace;
}

struct read_sites {
  explicit read_sites(trace_bytes bytes)
      : trace(std::move(bytes)), reader(cistern::trace_from_memory(trace)) {
    cistern::trace_event event;
    BOOST_TEST(!reader.next(event));
  }
  trace_bytes trace;
  cistern::trace_reader reader;
};

/// Where in the process a stack leads through.
stack addresses_of(const cistern::trace_stacks& stacks, std::uint64_t number) {
  stack addresses;
  for (const cistern::trace_place& place : stacks.stack(number)) {
    addresses.push_back(place.address + (place.module != 0 ? stacks.module(place.module).load_address : 0));
  }
  return addresses;
}

std::uintptr_t here() {
  return reinterpret_cast<std::uintptr_t>(&here);
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_same_stack_has_the_same_number) {
  call_sites& sites = new_sites();
  BOOST_TEST(sites.number_of({}) == 0U);
  BOOST_TEST(sites.number_of(stack{1}) == 1U);
  BOOST_TEST(sites.number_of(stack{2}) == 2U);
  BOOST_TEST(sites.number_of(stack{1, 2}) == 3U);
  BOOST_TEST(sites.number_of(stack{2, 1}) == 4U);
  BOOST_TEST(sites.number_of(stack(64, 1)) == 5U);
  BOOST_TEST(sites.number_of(stack(63, 1)) == 6U);
  BOOST_TEST(sites.number_of(stack{1, 2}) == 3U);
  BOOST_TEST(sites.number_of(stack(64, 1)) == 5U);
  BOOST_REQUIRE(sites.begin());
  BOOST_TEST(sites.number_of(stack{1, 2}) == 1U);
}

BOOST_AUTO_TEST_CASE(what_is_encoded_is_what_is_read) {
  call_sites& sites = new_sites();
  std::vector<stack> all = {
      {here()}, {here() + 1, 5, here()}, {reinterpret_cast<std::uintptr_t>(&std::strlen), here()}};
  for (std::uintptr_t i = 1; i < 2000; ++i) all.emplace_back(1 + i % 64, here() + i);
  for (const stack& each : all) (void)sites.number_of(each);
  const read_sites read(trace_of(sites));
  const cistern::trace_stacks& stacks = read.reader.stacks();
  BOOST_REQUIRE(stacks.stacks() == all.size());
  for (std::size_t i = 0; i < all.size(); ++i) BOOST_TEST((addresses_of(stacks, i + 1) == all[i]));

  // Once only, and what has come since.
  BOOST_TEST(read_sites(trace_of(sites)).reader.stacks().stacks() == 0U);
  (void)sites.number_of(stack{77});
  const read_sites more(trace_of(sites));
  BOOST_TEST(more.reader.stacks().stacks() == 1U);
  BOOST_TEST(more.reader.stacks().modules() == 0U);
}

BOOST_AUTO_TEST_CASE(modules_have_names_and_build_ids) {
  call_sites& sites = new_sites();
  BOOST_TEST(module_at(0).end == 0U);  // There is none.
  const loaded_module own = module_at(here());
  BOOST_TEST((own.begin <= here() && here() < own.end));
  (void)sites.number_of(stack{here(), 1});
  sites.doubt_modules();  // It is there still.
  (void)sites.number_of(stack{here(), 2});
  const read_sites read(trace_of(sites));
  const cistern::trace_stacks& stacks = read.reader.stacks();
  BOOST_REQUIRE(stacks.modules() == 1U);
  const cistern::trace_module module = stacks.module(1);
  BOOST_TEST(module.path == std::filesystem::read_symlink("/proc/self/exe").string());
  BOOST_TEST(module.load_address == own.load_address);
  BOOST_TEST(
      (std::equal(module.build_id.begin(), module.build_id.end(), own.build_id.begin(), own.build_id.end())));
  BOOST_TEST(stacks.stack(1)[0].module == 1U);
  BOOST_TEST(stacks.stack(1)[0].address == here() - own.load_address);
  BOOST_TEST(stacks.stack(1)[1].module == 0U);
  BOOST_TEST(stacks.stack(1)[1].address == 1U);
}

BOOST_AUTO_TEST_CASE(threads_agree_on_numbers) {
  call_sites& sites = new_sites();
  constexpr std::uintptr_t count = 3000;
  std::vector<std::vector<std::uint32_t>> numbers(4, std::vector<std::uint32_t>(count));
  std::vector<std::thread> threads;
  threads.reserve(numbers.size());
  for (std::size_t t = 0; t < numbers.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::uintptr_t i = 0; i < count; ++i) {
        const std::uintptr_t which = t % 2 == 0 ? i : count - 1 - i;
        numbers[t][which] = sites.number_of(stack{here() + which, which, which});
      }
    });
  }
  for (std::thread& each : threads) each.join();
  for (const auto& each : numbers) BOOST_TEST((each == numbers[0]));
  auto sorted = numbers[0];
  std::sort(sorted.begin(), sorted.end());
  std::vector<std::uint32_t> expected(count);
  std::iota(expected.begin(), expected.end(), 1U);
  BOOST_TEST((sorted == expected));
  const read_sites read(trace_of(sites));
  for (std::uintptr_t i = 0; i < count; ++i) {
    BOOST_TEST((addresses_of(read.reader.stacks(), numbers[0][i]) == stack{here() + i, i, i}));
  }
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_unknown_and_the_rest_stays_known) {
  if (thread_sanitizer) return;  // There is but one thread.
  call_sites& sites = new_sites();
  for (std::uintptr_t i = 0; i < call_sites::most_stacks; ++i) {
    BOOST_REQUIRE(sites.number_of(stack{here() + i}) == i + 1);
  }
  BOOST_TEST(sites.number_of(stack{here() + call_sites::most_stacks}) == 0U);
  BOOST_TEST(sites.number_of(stack{1, 2}) == 0U);
  BOOST_TEST(sites.number_of(stack{here()}) == 1U);
  BOOST_TEST(sites.number_of(stack{here() + call_sites::most_stacks - 1}) == call_sites::most_stacks);
  const read_sites read(trace_of(sites, 60'000));
  BOOST_TEST(read.reader.stacks().stacks() == call_sites::most_stacks);
}

BOOST_AUTO_TEST_CASE(places_may_run_out_as_well) {
  if (thread_sanitizer) return;
  call_sites& sites = new_sites();
  stack deep(64, here());
  for (std::uintptr_t i = 0; i < call_sites::most_places / 64; ++i) {
    deep[0] = here() + i;
    BOOST_REQUIRE(sites.number_of(deep) == i + 1);
  }
  BOOST_TEST(sites.number_of(stack{7}) == 0U);
  deep[0] = here() + 3;
  BOOST_TEST(sites.number_of(deep) == 4U);
  const read_sites read(trace_of(sites, 60'000));
  BOOST_TEST(read.reader.stacks().stacks() == call_sites::most_places / 64);
}
