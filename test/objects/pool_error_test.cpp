// The error codes of object pools as std::error_code, and the exception that carries them.
#include <cistern/object_pool.hpp>
#include <cistern/page_resource.hpp>
#include <cistern/pool_error.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <exception>
#include <iterator>
#include <map>
#include <memory_resource>
#include <optional>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace cistern;

BOOST_AUTO_TEST_CASE(codes_are_error_codes_of_one_category) {
  const std::error_code code = pool_errc::timeout;
  BOOST_TEST(&code.category() == &pool_category());
  BOOST_TEST(std::string(code.category().name()) == "cistern.object_pool");
  BOOST_TEST((code == pool_errc::timeout));
  BOOST_TEST((code != pool_errc::closed));
  BOOST_TEST(bool(make_error_code(pool_errc::closed)));  // no code means success
}

BOOST_AUTO_TEST_CASE(every_code_has_a_message_of_its_own) {
  std::set<std::string> messages;
  for (const auto code : {pool_errc::closed, pool_errc::timeout, pool_errc::cancelled, pool_errc::exhausted,
                          pool_errc::would_deadlock, pool_errc::factory_failed}) {
    BOOST_TEST(messages.insert(make_error_code(code).message()).second);
  }
  BOOST_TEST(pool_category().message(99) == "unknown error 99");
}

BOOST_AUTO_TEST_CASE(the_exception_carries_code_text_and_cause) {
  static_assert(std::is_nothrow_copy_constructible_v<pool_error>);
  const auto cause = std::make_exception_ptr(std::runtime_error("refused"));
  const pool_error error(pool_errc::timeout, "waited in vain", cause);
  const std::system_error& base = error;
  BOOST_TEST((base.code() == pool_errc::timeout));
  BOOST_TEST(std::string(base.what()) == "waited in vain");
  BOOST_CHECK_THROW(std::rethrow_exception(error.cause()), std::runtime_error);
  BOOST_TEST(error.holders().empty());
  BOOST_TEST(!pool_error(pool_errc::closed, "closed").cause());
}

namespace {

// As many as that are in use, and one more is asked for.
template <class Call>
void with_refusal(std::size_t objects, Call call) {
  auto pool = make_object_pool({.max_size = objects, .empty = when_empty::fail}, [] { return 1; });
  std::vector<lease<int>> held;
  for (std::size_t i = 0; i < objects; ++i) {
    held.push_back(pool.acquire());
  }
  try {
    auto one_more = pool.acquire();
    BOOST_ERROR("must be refused");
  } catch (const pool_error& error) {
    call(error, held);
  }
}

/// Each block lies on pages of its own; those that hold an object can be closed.
class closable_blocks : public std::pmr::memory_resource {
 public:
  /// Returns how many. Whoever reads or writes there dies of it.
  template <class T>
  std::size_t close_around(const std::vector<lease<T>>& objects) {
    for (const lease<T>& each : objects) {
      const auto block = blocks_.upper_bound(reinterpret_cast<std::byte*>(each.get()));
      if (block != blocks_.begin()) closed_.insert(std::prev(block)->first);
    }
    protect(PROT_NONE);
    return closed_.size();
  }
  void open() {
    protect(PROT_READ | PROT_WRITE);
    closed_.clear();
  }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    auto* const block = static_cast<std::byte*>(pages()->allocate(bytes, alignment));
    blocks_.emplace(block, bytes);
    return block;
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    blocks_.erase(static_cast<std::byte*>(block));
    pages()->deallocate(block, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }
  void protect(int protection) {
    for (std::byte* const each : closed_) BOOST_REQUIRE(::mprotect(each, blocks_[each], protection) == 0);
  }

  std::map<std::byte*, std::size_t> blocks_;
  std::set<std::byte*> closed_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(nothing_is_said_twice) {
  with_refusal(1, [](const pool_error& error, const auto&) {
    const std::string what = error.what();
    const std::string message = error.code().message();
    BOOST_TEST(what.find(message) != std::string::npos);
    BOOST_TEST(what.find(message) == what.rfind(message), what);
    BOOST_TEST(what.find("1 of 1 objects in use") == what.rfind("1 of 1 objects in use"));
    BOOST_TEST(what == error.what());
  });
  auto failing = make_object_pool({}, []() -> int { throw std::runtime_error("no connection"); });
  try {
    auto one = failing.acquire();
  } catch (const pool_error& error) {
    BOOST_TEST(std::string(error.what()) == "object_pool: the factory failed: no connection");
  }
}

// Gathering them takes O(objects), so a refusal that nobody looks at doesn't.
BOOST_AUTO_TEST_CASE(the_holders_are_those_at_the_time_of_asking) {
  with_refusal(20, [](const pool_error& error, auto& held) {
    BOOST_TEST(error.holders().size() == 16U);  // at most
    held.erase(held.begin() + 2, held.end());
    BOOST_TEST(error.holders().size() == 2U);
    held.pop_back();
    const pool_error copy = error;
    const std::string what = copy.what();
    BOOST_TEST(what.find("20 of 20 objects in use") != std::string::npos);  // then
    BOOST_TEST(what.find("held longest: for ") != std::string::npos);
    BOOST_TEST(what.find("s since ") == what.rfind("s since "));
    BOOST_TEST(error.what() == what);
  });
}

// So its work, under the lock, is the same whatever the number of objects: it doesn't touch one of them.
BOOST_AUTO_TEST_CASE(a_refusal_looks_at_no_object) {
  constexpr std::size_t objects = 1'000;
  closable_blocks memory;
  const auto make = [] { return std::array<char, 100>{}; };
  auto pool = make_object_pool({.max_size = objects}, make, {}, {}, {}, &memory);
  std::vector<decltype(pool.acquire())> held;
  while (held.size() < objects) held.push_back(pool.acquire());
  std::stop_source stopped;
  stopped.request_stop();
  std::vector<pool_error> errors;
  const auto refuse = [&](auto acquire) {
    try {
      (void)acquire();
    } catch (const pool_error& error) {
      errors.push_back(error);
    }
  };
  BOOST_REQUIRE(memory.close_around(held) > 1U);
  const bool tried = pool.try_acquire().has_value();
  refuse([&] { return pool.acquire_for(std::chrono::seconds(0)); });
  refuse([&] { return pool.acquire_for(std::chrono::hours(1), stopped.get_token()); });
  pool.close();
  refuse([&] { return pool.acquire(); });
  memory.open();
  BOOST_TEST(!tried);
  BOOST_REQUIRE(errors.size() == 3U);
  BOOST_TEST((errors[0].code() == pool_errc::timeout));
  BOOST_TEST(errors[0].holders().size() == 16U);  // now they are looked for
  BOOST_TEST((errors[1].code() == pool_errc::cancelled));
  BOOST_TEST((errors[2].code() == pool_errc::closed));
}

// Then it is asked for its text where it was thrown: nothing is unwound, and the pool's lock is held.
BOOST_AUTO_TEST_CASE(an_error_that_nobody_catches_ends_the_process) {
  const auto act = [] {
    ::alarm(60);
    std::set_terminate([] {
      try {
        throw;
      } catch (const std::exception& error) {
        ::_exit(std::string_view(error.what()).starts_with("object_pool: no object is idle") ? 42 : 1);
      }
    });
    auto pool = make_object_pool({.max_size = 1, .empty = when_empty::fail}, [] { return 1; });
    const lease<int> one = pool.acquire();
    [&]() noexcept { (void)pool.acquire(); }();
  };
  const pid_t child = ::fork();
  if (child == 0) {
    act();
    ::_exit(2);
  }
  int status = 0;
  BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
  BOOST_TEST((WIFEXITED(status) && WEXITSTATUS(status) == 42));
}

BOOST_AUTO_TEST_CASE(an_error_may_outlive_its_pool) {
  std::optional<pool_error> kept;
  lease<int> one;
  {
    auto pool = make_object_pool({.max_size = 1, .empty = when_empty::fail}, [] { return 1; });
    one = pool.acquire();
    try {
      (void)pool.acquire();
    } catch (const pool_error& error) {
      kept = error;
    }
  }
  BOOST_TEST(kept->holders().empty());
  BOOST_TEST(std::string(kept->what()) == "object_pool: no object is idle; 1 of 1 objects in use");
}
