// Pooled objects under AddressSanitizer: who touches one that isn't on loan is reported, the user's functions
// and what they own are not. Without a checker the same pools do the same, unwatched.
#include <cistern/detail/base/asan.hpp>
#include <cistern/detail/objects/object_guard.hpp>
#include <cistern/object_pool.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <memory_resource>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"

#if CISTERN_ASAN
#include <sanitizer/lsan_interface.h>
#endif

using namespace cistern;

namespace {

struct message {
  std::vector<std::string> parts;
  std::array<char, 100> bytes{};
  bool valid = true;
};

// Each function touches its object.
struct touching_lifecycle {
  bool* fails = nullptr;

  message create() {
    if (fails != nullptr && *fails) {
      throw std::runtime_error("create");
    }
    message made;
    made.parts.emplace_back(500, 'c');
    return made;
  }
  void reset(message& one) {
    one.parts.emplace_back(500, 'r');
    if (fails != nullptr && *fails) {
      throw std::runtime_error("reset");
    }
  }
  bool validate(message& one) { return std::exchange(one.valid, true); }
  void destroy(message&& one) noexcept { one.parts.clear(); }
  std::size_t retained_bytes(const message& one) noexcept { return one.parts.size(); }
  bool clean(const message& one) const noexcept { return one.bytes[0] == 0; }
};

struct flag_lifecycle {
  bool create() { return true; }
};

struct sociable_lifecycle {
  static constexpr bool touched_while_idle = true;
  message create() { return {}; }
};

template <class Policy>
using message_pool = object_pool<message, touching_lifecycle, Policy>;

template <class Pool>
auto* one_given_back(Pool& pool) {
  typename Pool::value_type* object = nullptr;
  {
    const auto one = pool.acquire();
    object = one.get();
  }
  return object;
}

template <class Object>
void write_first_byte(Object* object) {
  *reinterpret_cast<volatile char*>(object) = 1;
}

struct misuse {
  const char* name;
  std::function<void(std::pmr::memory_resource*)> run;
};

// What the pool sees to by itself, over any resource.
template <class Policy>
const misuse of_idle_objects[] = {
    {"write to the first byte after give_back",
     [](auto* r) {
       message_pool<Policy> pool({}, {}, r);
       write_first_byte(one_given_back(pool));
     }},
    {"read the last member after give_back",
     [](auto* r) {
       message_pool<Policy> pool({}, {}, r);
       const volatile message* const object = one_given_back(pool);
       (void)object->valid;
     }},
    {"write to an object of one byte",
     [](auto* r) {
       object_pool<bool, flag_lifecycle, Policy> pool({}, {}, r);
       write_first_byte(one_given_back(pool));
     }},
    {"write behind an object of one byte on loan",
     [](auto* r) {
       object_pool<bool, flag_lifecycle, Policy> pool({}, {}, r);
       const auto one = pool.acquire();
       write_first_byte(one.get() + 1);
     }},
    {"write after evict_if looked",
     [](auto* r) {
       message_pool<Policy> pool({}, {}, r);
       auto* const object = one_given_back(pool);
       (void)pool.evict_if([](const message&) { return false; });
       write_first_byte(object);
     }},
};

// What the resource that has the memory back must see to.
template <class Policy>
const misuse of_objects_that_are_gone[] = {
    {"write to a discarded object",
     [](auto* r) {
       message_pool<Policy> pool({}, {}, r);
       auto one = pool.acquire();
       auto* const object = one.get();
       one.discard();
       write_first_byte(object);
     }},
    {"write to an object of a pool that is gone",
     [](auto* r) {
       message* object = nullptr;
       {
         message_pool<Policy> pool({}, {}, r);
         object = one_given_back(pool);
       }
       write_first_byte(object);
     }},
};

[[maybe_unused]] void check_reported(const misuse& m, std::pmr::memory_resource* resource) {
  const auto seen = test_support::run_and_die([&] { m.run(resource); });
  BOOST_TEST(seen.stderr_text.find("ERROR: AddressSanitizer") != std::string::npos,
             m.name << " went unnoticed: the child " << seen.description);
}

template <class Policy>
void check_all_reported() {
  auto* const new_delete = std::pmr::new_delete_resource();
  std::pmr::synchronized_pool_resource standard_pool;
  for (const misuse& m : of_idle_objects<Policy>) {
    check_reported(m, new_delete);
    check_reported(m, &standard_pool);
  }
  for (const misuse& m : of_objects_that_are_gone<Policy>) {
    check_reported(m, new_delete);
  }
}

// All that a pool does with an object. The resource touches what it has back.
template <class Policy>
void check_unreported() {
  testing::checking_resource checking;
  bool fails = false;
  {
    message_pool<Policy> pool({.max_size = 20}, {&fails}, &checking);
    pool.warm(3);
    message adopted;
    adopted.parts.emplace_back("adopted");
    BOOST_TEST(pool.adopt(std::move(adopted)));
    {
      auto one = pool.acquire();
      auto other = pool.acquire();
      one->parts.push_back(other->parts.front());
      other->valid = false;  // replaced when it is acquired next
      BOOST_TEST(one.detach().parts.size() >= 2U);
    }
    for (int i = 0; i < 5; ++i) {
      (void)pool.acquire();
    }
    (void)pool.evict_if([](const message& m) { return m.parts.front() == "adopted"; });
    BOOST_CHECK_THROW((void)pool.evict_if([](const message&) -> bool { throw std::runtime_error("no"); }),
                      std::runtime_error);
    {
      const auto one = pool.acquire();
      fails = true;
    }
    pool.invalidate_all();
    BOOST_CHECK_THROW((void)pool.acquire(), pool_error);
    fails = false;
    pool.acquire().discard();
    (void)pool.acquire();
    (void)pool.trim();
    BOOST_TEST(pool.check_invariants());
  }
  BOOST_TEST(checking.outstanding_blocks() == 0U);
  BOOST_TEST(checking.errors() == 0U);
}

template <class Policy>
void check_contents_stay() {
  message_pool<Policy> pool;
  {
    auto one = pool.acquire();
    one->parts = {std::string(1000, 'x'), "short"};
    one->bytes.back() = 'b';
  }
  const auto again = pool.acquire();
  BOOST_TEST(again->parts.at(0) == std::string(1000, 'x'));
  BOOST_TEST(again->parts.at(1) == "short");
  BOOST_TEST(again->bytes.back() == 'b');
}

}  // namespace

BOOST_AUTO_TEST_CASE(misuse_is_reported) {
  if constexpr (detail::asan_build) {
    check_all_reported<shared>();
    check_all_reported<per_thread>();
  }
}

BOOST_AUTO_TEST_CASE(use_is_not_reported) {
  check_unreported<shared>();
  check_unreported<per_thread>();
}

BOOST_AUTO_TEST_CASE(an_object_is_as_its_last_user_left_it) {
  check_contents_stay<shared>();
  check_contents_stay<per_thread>();
}

BOOST_AUTO_TEST_CASE(who_has_reason_to_may_touch_idle_objects) {
  object_pool<message, sociable_lifecycle> pool;
  message* const object = one_given_back(pool);
  object->valid = false;
  BOOST_TEST(!pool.acquire()->valid);
}

BOOST_AUTO_TEST_CASE(what_idle_objects_own_is_no_leak) {
  const auto idle = std::make_unique<message_pool<shared>>();
  const auto cached = std::make_unique<message_pool<per_thread>>();
  idle->warm(10);
  cached->warm(10);
  (void)cached->acquire();
  BOOST_TEST(idle->idle() == 10U);
#if CISTERN_ASAN
  BOOST_TEST(__lsan_do_recoverable_leak_check() == 0);
#endif
}

BOOST_AUTO_TEST_CASE(a_guarded_object_is_whole_when_it_is_unguarded) {
  alignas(64) std::array<char, 128> room{};
  std::array<char, 40> copy{};
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{7}, std::size_t{8}, std::size_t{40}}) {
    const detail::guarded_object one{room.data() + 8, bytes, 120, copy.data()};
    room[8] = static_cast<char>(bytes);
    detail::guard(one);
    detail::guard(one);
    BOOST_TEST(copy[0] == static_cast<char>(bytes));
    detail::unguard(one);
    detail::unguard(one);
    BOOST_TEST(room[8] == static_cast<char>(bytes));
#if CISTERN_ASAN
    detail::guard(one);
    BOOST_TEST(__asan_address_is_poisoned(room.data() + 8));
    BOOST_TEST(__asan_address_is_poisoned(room.data() + 127));
    BOOST_TEST(!__asan_address_is_poisoned(room.data() + 7));
    detail::unguard(one);
    BOOST_TEST(!__asan_address_is_poisoned(room.data() + 7 + bytes));
    BOOST_TEST(__asan_address_is_poisoned(room.data() + 8 + bytes));
    __asan_unpoison_memory_region(room.data(), room.size());
#endif
  }
}
