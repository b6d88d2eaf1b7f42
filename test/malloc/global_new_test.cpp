// A program linked with cistern::global_new: every form of operator new and delete, before, in and after
// main.
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <future>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/address_space.hpp"
#include "../support/death.hpp"
#include "../support/threads.hpp"
#include <unistd.h>

namespace {

// Of the blocks that malloc gives, the C library says what is usable; of the heap's it would read nonsense.
// The heap has 112 bytes for 100, the C library 104.
struct alignas(128) over_aligned {
  char content[200];
};

bool is_aligned(const void* block, std::size_t alignment) {
  return reinterpret_cast<std::uintptr_t>(block) % alignment == 0;
}

struct before_and_after_main {
  std::map<std::string, std::vector<int>> content;
  before_and_after_main() {
    for (int i = 0; i < 1'000; ++i)
      content["a key too long for the string itself " + std::to_string(i)].resize(50);
  }
  ~before_and_after_main() {
    content.clear();
    auto* late = new std::string(1'000, 'x');
    if (late->back() != 'x') std::abort();
    delete late;
  }
} used_outside_of_main;

// Distance of neighbours tells whose heap it is: 1,100 bytes of this one lie 1,280 apart, and do so where a
// hardened build keeps 8 bytes more with each; 1,120 in the C library.
bool comes_from_the_pool() {
  std::vector<char*> blocks(100);
  for (char*& block : blocks) block = static_cast<char*>(::operator new(1'100));
  int neighbours = 0;
  for (std::size_t i = 1; i < blocks.size(); ++i) neighbours += blocks[i] - blocks[i - 1] == 1'280 ? 1 : 0;
  for (char* block : blocks) ::operator delete(block);
  return neighbours > 50;
}

int handler_calls = 0;

}  // namespace

BOOST_AUTO_TEST_CASE(operator_new_is_the_pools) {
  BOOST_TEST(comes_from_the_pool());
}

BOOST_AUTO_TEST_CASE(every_form_allocates_and_frees) {
  constexpr std::align_val_t wide{256};
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{100}, std::size_t{5'000},
                                  std::size_t{2} << 20, std::size_t{50} << 20}) {
    ::operator delete(::operator new(bytes));
    ::operator delete(::operator new(bytes), bytes);
    ::operator delete[](::operator new[](bytes));
    ::operator delete[](::operator new[](bytes), bytes);
    ::operator delete(::operator new(bytes, std::nothrow), std::nothrow);
    ::operator delete[](::operator new[](bytes, std::nothrow), std::nothrow);
    void* block = ::operator new(bytes, wide);
    BOOST_TEST(is_aligned(block, 256));
    ::operator delete(block, wide);
    ::operator delete(::operator new(bytes, wide), bytes, wide);
    ::operator delete[](::operator new[](bytes, wide), wide);
    ::operator delete[](::operator new[](bytes, wide), bytes, wide);
    block = ::operator new(bytes, wide, std::nothrow);
    BOOST_TEST(is_aligned(block, 256));
    ::operator delete(block, wide, std::nothrow);
    block = ::operator new[](bytes, wide, std::nothrow);
    BOOST_TEST(is_aligned(block, 256));
    ::operator delete[](block, wide, std::nothrow);
  }
  ::operator delete(nullptr);
  ::operator delete[](nullptr, std::size_t{10});
  ::operator delete (nullptr, std::size_t{10}, wide);
}

BOOST_AUTO_TEST_CASE(expressions_and_containers_work) {
  const auto one = std::make_unique<over_aligned>();
  const auto many = std::make_unique<over_aligned[]>(7);
  BOOST_TEST(is_aligned(one.get(), 128));
  BOOST_TEST(is_aligned(many.get(), 128));
  BOOST_TEST(used_outside_of_main.content.size() == 1'000u);
  std::ostringstream text;
  for (int i = 0; i < 1'000; ++i) text << i << ' ';
  BOOST_TEST(std::regex_search(text.str(), std::regex("99[0-9] ")));
  std::ifstream status("/proc/self/status");
  std::string line;
  std::vector<std::string> lines;
  while (std::getline(status, line)) lines.push_back(line);
  BOOST_TEST(lines.size() > 10u);
  auto shared = std::make_shared<std::string>(100, 'y');
  const std::weak_ptr<std::string> weak = shared;
  shared.reset();
  BOOST_TEST(weak.expired());
}

BOOST_AUTO_TEST_CASE(exceptions_pass) {
  for (int i = 0; i < 100; ++i) {
    BOOST_CHECK_THROW(throw std::runtime_error(std::string(200, 'e')), std::runtime_error);
    BOOST_CHECK_THROW((void)std::string().at(1), std::out_of_range);
  }
}

BOOST_AUTO_TEST_CASE(refusal_is_bad_alloc_or_null) {
  for (const std::size_t bytes : {SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / 4}) {
    BOOST_CHECK_THROW((void)::operator new(bytes), std::bad_alloc);
    BOOST_CHECK_THROW((void)::operator new[](bytes, std::align_val_t{64}), std::bad_alloc);
    BOOST_TEST(::operator new(bytes, std::nothrow) == nullptr);
    BOOST_TEST(::operator new[](bytes, std::align_val_t{64}, std::nothrow) == nullptr);
  }
}

BOOST_AUTO_TEST_CASE(the_new_handler_is_called_until_it_gives_up) {
  handler_calls = 0;
  std::set_new_handler([] {
    if (++handler_calls % 3 == 0) throw std::bad_alloc();
  });
  BOOST_CHECK_THROW((void)::operator new(SIZE_MAX / 2), std::bad_alloc);
  BOOST_TEST(handler_calls == 3);
  BOOST_TEST(::operator new(SIZE_MAX / 2, std::nothrow) == nullptr);
  BOOST_TEST(handler_calls == 6);
  BOOST_TEST(::operator new (SIZE_MAX / 2, std::align_val_t{64}, std::nothrow) == nullptr);
  BOOST_TEST(handler_calls == 9);
  std::set_new_handler([] {
    ++handler_calls;
    std::set_new_handler(nullptr);
  });
  BOOST_CHECK_THROW((void)::operator new(SIZE_MAX / 2), std::bad_alloc);
  BOOST_TEST(handler_calls == 10);
}

BOOST_AUTO_TEST_CASE(a_handler_that_makes_room_is_worth_it) {
  const auto child = cistern::test_support::run_and_die([] {
    static void* reserve = ::operator new (std::size_t{100} << 20);
    cistern::test_support::leave_address_space(std::size_t{400} << 20);
    std::set_new_handler([] {
      if (reserve == nullptr) throw std::bad_alloc();
      ::operator delete(std::exchange(reserve, nullptr));
    });
    try {
      for (;;) (void)::operator new (std::size_t{40} << 20);
    } catch (const std::bad_alloc&) {
      ::_exit(reserve == nullptr ? 0 : 11);
    }
  });
  BOOST_TEST(child.description == "exited with 0");
}

BOOST_AUTO_TEST_CASE(small_blocks_run_out_with_an_exception_too) {
  const auto child = cistern::test_support::run_and_die([] {
    cistern::test_support::leave_address_space(std::size_t{200} << 20);
    struct link {
      link* next;
      std::array<char, 500> content;
    };
    link* chain = nullptr;
    try {
      for (;;) chain = new link{chain, {}};
    } catch (const std::bad_alloc&) {
      while (chain != nullptr) delete std::exchange(chain, chain->next);
    }
    delete new link;
  });
  BOOST_TEST(child.description == "exited with 0");
}

BOOST_AUTO_TEST_CASE(threads_use_it_to_their_very_end) {
  struct last_words {
    std::string text = std::string(100, 'z');
    ~last_words() { text += std::string(100, 'z'); }
  };
  std::vector<std::future<std::size_t>> results;
  for (int i = 0; i < 20; ++i) {
    results.push_back(std::async(std::launch::async, [i] {
      thread_local last_words words;
      std::map<int, std::string> content;
      for (int k = 0; k < 500; ++k) content[k] = words.text + std::to_string(i);
      return content.size();
    }));
  }
  for (auto& result : results) BOOST_TEST(result.get() == 500u);
}

BOOST_AUTO_TEST_CASE(a_forked_child_goes_on) {
  const auto child = cistern::test_support::run_and_die([] {
    std::map<int, std::string> content;
    for (int i = 0; i < 1'000; ++i) content[i] = std::string(100, 'c');
    std::thread([&] { content.clear(); }).join();
  });
  BOOST_TEST(child.description == "exited with 0");
}
