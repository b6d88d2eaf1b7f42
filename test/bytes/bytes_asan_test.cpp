// Buffers, loans and chains under AddressSanitizer: what nobody may touch is reported, also by a plain
// library in an instrumented program.
#include <cistern/buffer.hpp>
#include <cistern/byte_lease.hpp>
#include <cistern/chain.hpp>
#include <cistern/detail/base/asan.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <cstddef>
#include <functional>
#include <memory_resource>
#include <string>
#include <string_view>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"

using cistern::buffer;
using cistern::byte_lease;
using cistern::chain;

namespace {

template <class Byte>
void read(const Byte* at) {
  (void)*static_cast<const volatile Byte*>(at);
}

struct misuse {
  const char* name;
  std::function<void(std::pmr::memory_resource*)> run;
};

const std::string long_text(5'000, 'x');

// What the byte types see to by themselves, over any resource.
const misuse inside_a_block[] = {
    {"read past the view",
     [](auto* r) {
       const buffer b("hello", r);
       read(b.view().data() + 6);
     }},
    {"write past the prepared region",
     [](auto* r) {
       buffer b(r);
       b.append("hello");
       *const_cast<volatile std::byte*>(b.prepare(10).data() + 11) = std::byte{1};
     }},
    {"write to what was prepared before a commit",
     [](auto* r) {
       buffer b("hello", r);
       auto* const room = b.prepare(10).data();
       b.commit(2);
       *const_cast<volatile std::byte*>(room + 5) = std::byte{1};
     }},
    {"read what was truncated",
     [](auto* r) {
       buffer b(std::string_view(long_text), r);
       const std::string_view view = b.view();
       b.truncate(10);
       read(view.data() + 100);
     }},
    {"write past a loan",
     [](auto* r) {
       byte_lease l(r, 1'000);
       *const_cast<volatile std::byte*>(l.bytes().data() + 1'001) = std::byte{1};
     }},
    {"read past a chain's bytes",
     [](auto* r) {
       chain c(r);
       c.append("hello");
       read(c.front().data() + 6);
     }},
    {"read what a chain has consumed",
     [](auto* r) {
       chain c(r);
       c.append(long_text);
       const auto* const front = c.front().data();
       c.consume(100);
       read(front + 50);
     }},
    {"read what was cut off in a copy",
     [](auto* r) {
       chain c(r);
       c.append(std::string_view(long_text).substr(0, 1'000));
       const auto* const front = c.front().data();
       const chain cut = c.split(100);
       read(front + 50);
     }},
    {"write to a given up region",
     [](auto* r) {
       chain c(r);
       auto* const room = c.prepare(100).data();
       c.commit(0);
       *const_cast<volatile std::byte*>(room + 50) = std::byte{1};
     }},
};

// What the resource that has the block back must see to.
const misuse of_blocks_given_back[] = {
    {"read a given-back loan",
     [](auto* r) {
       byte_lease l(r, 1'000);
       const auto* const bytes = l.bytes().data();
       l.give_back();
       read(bytes + 50);
     }},
    {"read a view of a buffer that is gone",
     [](auto* r) {
       std::string_view view;
       {
         const buffer b(std::string_view(long_text), r);
         view = b.view();
       }
       read(view.data() + 100);
     }},
    {"read a view of a buffer that has moved to another block",
     [](auto* r) {
       buffer b("hello", r);
       const std::string_view view = b.view();
       b.append(long_text);
       read(view.data());
     }},
    {"read a view of a chain that was cleared",
     [](auto* r) {
       chain c(r);
       c.append("hello");
       const auto* const front = c.front().data();
       c.clear();
       read(front);
     }},
};

[[maybe_unused]] void check_reported(const misuse& m, std::pmr::memory_resource* resource) {
  const auto seen = cistern::test_support::run_and_die([&] { m.run(resource); });
  BOOST_TEST(seen.stderr_text.find("ERROR: AddressSanitizer") != std::string::npos,
             m.name << " went unnoticed: the child " << seen.description);
}

}  // namespace

BOOST_AUTO_TEST_CASE(misuse_is_reported) {
  if constexpr (cistern::detail::asan_build) {
    auto* const new_delete = std::pmr::new_delete_resource();
    cistern::unsynchronized_pool_resource pool;
    cistern::synchronized_pool_resource shared_pool;
    std::pmr::unsynchronized_pool_resource standard_pool;
    for (const misuse& m : inside_a_block) {
      for (auto* resource : std::vector<std::pmr::memory_resource*>{new_delete, &pool, &standard_pool}) {
        check_reported(m, resource);
      }
    }
    for (const misuse& m : of_blocks_given_back) {
      check_reported(m, new_delete);
      check_reported(m, &pool);
      check_reported(m, &shared_pool);
    }
  }
}
