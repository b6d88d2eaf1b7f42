// The directory of thread caches by itself, with owners that only count.
#include <cistern/detail/base/thread_directory.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/threads.hpp"
#include <pthread.h>

using cistern::detail::cache_owner;
using cistern::detail::cache_ticket;
using cistern::detail::enroll;
using cistern::detail::this_thread_record;
using cistern::detail::thread_record;
using cistern::test_support::require;
using cistern::test_support::run_thread;
using cistern::test_support::run_threads;

namespace {

class counting_owner final : public cache_owner {
 public:
  counting_owner() : ticket(enroll(*this)) {}
  ~counting_owner() { ticket.withdraw(); }
  counting_owner(const counting_owner&) = delete;
  counting_owner& operator=(const counting_owner&) = delete;

  void retire(void* cache) noexcept override {
    require(ticket.thread_takes_caches() == false, "a thread gives back a cache and may get another");
    last_retired = cache;
    ++retired;
  }

  /// The calling thread's cache; `made`, if it has none.
  void* cache_or(void* made) {
    void* const known = ticket.find();
    if (known != nullptr) {
      return known;
    }
    return ticket.thread_takes_caches() && ticket.remember(made) ? made : nullptr;
  }

  cache_ticket ticket;
  std::atomic<void*> last_retired{nullptr};
  std::atomic<int> retired{0};
};

int first_cache = 0;
int second_cache = 0;

}  // namespace

BOOST_AUTO_TEST_CASE(a_thread_finds_what_it_was_given_and_gives_it_back_at_its_end) {
  counting_owner owner;
  run_thread([&] {
    require(owner.ticket.find() == nullptr, "nothing yet");
    require(owner.ticket.at_hand() == nullptr, "nothing at hand yet");
    require(owner.cache_or(&first_cache) == &first_cache, "remembered");
    require(owner.ticket.at_hand() == &first_cache, "at hand");
    require(owner.ticket.find() == &first_cache, "found");
    require(owner.retired == 0, "not yet");
  });
  BOOST_TEST(owner.retired == 1);
  BOOST_TEST(owner.last_retired == &first_cache);
}

BOOST_AUTO_TEST_CASE(each_thread_has_its_own) {
  counting_owner owner;
  std::array<int, 8> caches{};
  run_threads(caches.size(), [&](std::size_t i) {
    require(owner.cache_or(&caches[i]) == &caches[i], "another thread's cache");
  });
  BOOST_TEST(owner.retired == 8);
}

// The caches go in the last of the rounds in which the system calls destructors of thread-specific keys, or,
// under ThreadSanitizer, in the last but one.
BOOST_AUTO_TEST_CASE(other_destructors_of_the_thread_still_find_the_cache) {
  static counting_owner owner;
  static std::atomic<int> found{0};
  static pthread_key_t key;
  const auto late = [](void* rounds) {
    found += owner.ticket.find() == &first_cache ? 1 : 0;
    if (rounds != nullptr && rounds != &second_cache) {
      ::pthread_setspecific(key, &second_cache);  // a second round
    }
  };
  BOOST_REQUIRE(::pthread_key_create(&key, late) == 0);
  run_thread([&] {
    struct at_exit {
      ~at_exit() { found += owner.ticket.find() == &first_cache ? 1 : 0; }
    };
    thread_local const at_exit local;
    (void)local;
    (void)owner.cache_or(&first_cache);
    ::pthread_setspecific(key, &first_cache);
  });
  BOOST_TEST(found == 3);
  BOOST_TEST(owner.retired == 1);
  ::pthread_key_delete(key);
}

BOOST_AUTO_TEST_CASE(nobody_finds_a_cache_of_an_owner_that_is_gone_or_renewed) {
  auto owner = std::make_unique<counting_owner>();
  (void)owner->cache_or(&first_cache);
  owner->ticket.renew();
  BOOST_TEST(owner->ticket.find() == nullptr);
  BOOST_TEST(owner->ticket.at_hand() == nullptr);
  owner.reset();
  counting_owner next;  // has the id of the one before
  BOOST_TEST(next.ticket.find() == nullptr);
  BOOST_TEST(next.cache_or(&second_cache) == &second_cache);
}

BOOST_AUTO_TEST_CASE(an_owner_may_die_before_its_threads_end) {
  counting_owner stays;
  run_thread([&] {
    auto owner = std::make_unique<counting_owner>();
    (void)owner->cache_or(&first_cache);
    (void)stays.cache_or(&second_cache);
    owner.reset();
  });
  BOOST_TEST(stays.retired == 1);
}

BOOST_AUTO_TEST_CASE(owners_die_while_threads_give_caches_back) {
  for (int round = 0; round < 200; ++round) {
    auto owner = std::make_unique<counting_owner>();
    std::atomic<int> ready{0};
    run_threads(4, [&](std::size_t i) {
      if (i != 0) {
        (void)owner->cache_or(&first_cache);
        ++ready;
        return;
      }
      while (ready < 3) {
        std::this_thread::yield();
      }
      owner.reset();
    });
  }
}

// Else the arrays of all threads would grow with the pools that ever were.
BOOST_AUTO_TEST_CASE(ids_of_dead_owners_are_used_again) {
  run_thread([] {
    for (std::uint32_t i = 0; i < 3 * thread_record::table_size; ++i) {
      counting_owner owner;
      require(owner.cache_or(&first_cache) == &first_cache, "remembered");
      require(this_thread_record->size == thread_record::table_size, "the thread's array has grown");
    }
  });
}

// More than a record's own table has room for: some share a place in it.
BOOST_AUTO_TEST_CASE(a_thousand_owners_in_one_thread) {
  constexpr std::size_t count = 1'000;
  std::vector<std::unique_ptr<counting_owner>> owners;
  for (std::size_t i = 0; i < count; ++i) {
    owners.push_back(std::make_unique<counting_owner>());
  }
  std::vector<int> caches(count);
  run_thread([&] {
    for (std::size_t i = 0; i < count; ++i) {
      require(owners[i]->cache_or(&caches[i]) == &caches[i], "another owner's cache");
    }
    for (std::size_t i = 0; i < count; ++i) {
      require(owners[i]->ticket.find() == &caches[i], "lost, or another owner's cache");
      require(owners[i]->ticket.at_hand() == &caches[i], "not at hand after `find`");
    }
  });
  for (std::size_t i = 0; i < count; ++i) {
    BOOST_REQUIRE(owners[i]->retired == 1);
    BOOST_REQUIRE(owners[i]->last_retired == &caches[i]);
  }
}
