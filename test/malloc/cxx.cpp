// C++: every form of new and delete, the new handler, and exceptions, which need memory themselves.
#include <algorithm>
#include <array>
#include <future>
#include <map>
#include <memory>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "contract.hpp"
#include <malloc.h>

using contract::fill;
using contract::hide;
using contract::is_aligned;
using contract::is_filled;

namespace {

constexpr std::array<std::size_t, 8> sizes{0, 1, 16, 100, 1000, 40'000, 500'000, 5'000'000};

void must_be_good(void* block, std::size_t bytes, std::size_t alignment) {
  MUST(block != nullptr);
  MUST(is_aligned(block, alignment));
  MUST(malloc_usable_size(block) >= bytes);
  fill(block, bytes, 1);
  MUST(is_filled(block, bytes, 1));
}

}  // namespace

CONTRACT_CASE(every_form_of_new_and_delete) {
  for (int round = 0; round < 100; ++round) {
    for (const std::size_t bytes : sizes) {
      if (round > 0 && bytes > 100'000) continue;
      const auto good = [&](void* block) {
        must_be_good(block, bytes, bytes > 8 ? __STDCPP_DEFAULT_NEW_ALIGNMENT__ : 8);
        return block;
      };
      ::operator delete(good(::operator new(bytes)));
      ::operator delete(good(::operator new(bytes)), bytes);
      ::operator delete(good(::operator new(bytes, std::nothrow)), std::nothrow);
      ::operator delete[](good(::operator new[](bytes)));
      ::operator delete[](good(::operator new[](bytes)), bytes);
      ::operator delete[](good(::operator new[](bytes, std::nothrow)), std::nothrow);
      for (std::size_t alignment = 1; alignment <= 65'536; alignment *= 4) {
        const auto align = std::align_val_t{alignment};
        const auto aligned = [&](void* block) {
          must_be_good(block, bytes, alignment);
          return block;
        };
        ::operator delete(aligned(::operator new(bytes, align)), align);
        ::operator delete(aligned(::operator new(bytes, align)), bytes, align);
        ::operator delete(aligned(::operator new(bytes, align, std::nothrow)), align, std::nothrow);
        ::operator delete[](aligned(::operator new[](bytes, align)), align);
        ::operator delete[](aligned(::operator new[](bytes, align)), bytes, align);
        ::operator delete[](aligned(::operator new[](bytes, align, std::nothrow)), align, std::nothrow);
      }
    }
  }
  ::operator delete(hide(static_cast<void*>(nullptr)));
  ::operator delete[](hide(static_cast<void*>(nullptr)), std::align_val_t{64});
}

CONTRACT_CASE(new_of_nothing_gives_unique_pointers) {
  std::vector<void*> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(::operator new(hide(std::size_t{0})));
  std::sort(blocks.begin(), blocks.end());
  MUST(std::adjacent_find(blocks.begin(), blocks.end()) == blocks.end());
  for (void* block : blocks) ::operator delete(block);
}

namespace {

template <class Operation>
bool throws_bad_alloc(Operation operation) {
  try {
    operation();
  } catch (const std::bad_alloc&) {
    return true;
  }
  return false;
}

}  // namespace

CONTRACT_CASE(new_of_too_much_throws_bad_alloc) {
  for (const std::size_t bytes : {SIZE_MAX, SIZE_MAX - 15, SIZE_MAX / 2 + 1, SIZE_MAX / 2}) {
    // libstdc++ 12 rounds the size of aligned blocks up, to 0.
    if (!contract::is_cistern() && bytes > SIZE_MAX - 256) continue;
    MUST(throws_bad_alloc([&] { hide(::operator new(hide(bytes))); }));
    MUST(throws_bad_alloc([&] { hide(::operator new[](hide(bytes))); }));
    MUST(throws_bad_alloc([&] { hide(::operator new (hide(bytes), std::align_val_t{256})); }));
    MUST(throws_bad_alloc([&] { hide(::operator new[](hide(bytes), std::align_val_t{256})); }));
    MUST(::operator new(hide(bytes), std::nothrow) == nullptr);
    MUST(::operator new[](hide(bytes), std::nothrow) == nullptr);
    MUST(::operator new (hide(bytes), std::align_val_t{256}, std::nothrow) == nullptr);
    MUST(::operator new[](hide(bytes), std::align_val_t{256}, std::nothrow) == nullptr);
  }
}

namespace {

int handler_calls = 0;

void give_up_at_the_third_call() {
  if (++handler_calls == 3) std::set_new_handler(nullptr);
}

struct own_error {};

void throw_own_error() {
  throw own_error();
}

}  // namespace

CONTRACT_CASE(the_new_handler_is_called_until_it_gives_up) {
  std::set_new_handler(give_up_at_the_third_call);
  MUST(throws_bad_alloc([] { hide(::operator new(hide(SIZE_MAX / 2))); }));
  MUST(handler_calls == 3);

  handler_calls = 0;
  std::set_new_handler(give_up_at_the_third_call);
  MUST(::operator new(hide(SIZE_MAX / 2), std::nothrow) == nullptr);
  MUST(handler_calls == 3);

  handler_calls = 0;
  std::set_new_handler(give_up_at_the_third_call);
  MUST(throws_bad_alloc([] { hide(::operator new (hide(SIZE_MAX / 2), std::align_val_t{128})); }));
  MUST(handler_calls == 3);
}

CONTRACT_CASE(what_the_new_handler_throws_comes_through) {
  std::set_new_handler(throw_own_error);
  bool caught = false;
  try {
    hide(::operator new(hide(SIZE_MAX / 2)));
  } catch (const own_error&) {
    caught = true;
  }
  MUST(caught);
}

CONTRACT_CASE(exceptions_and_containers_work) {
  for (int round = 0; round < 1000; ++round) {
    std::map<std::string, std::vector<std::shared_ptr<int>>> map;
    for (int i = 0; i < 30; ++i) {
      map[std::to_string(i * 7919) + " and a text that is not short"].push_back(std::make_shared<int>(i));
    }
    std::ostringstream text;
    for (const auto& [name, values] : map) text << name << values.size();
    MUST(text.str().size() > 30 * 29);
    try {
      throw std::runtime_error(text.str());
    } catch (const std::exception& error) {
      MUST(text.str() == error.what());
    }
  }
  std::vector<std::future<std::size_t>> futures;
  for (int i = 0; i < 20; ++i) {
    futures.push_back(std::async(std::launch::async, [i]() -> std::size_t {
      if (i % 2 == 0) throw std::length_error(std::string(1000, 'e'));
      return std::string(static_cast<std::size_t>(i), 'x').size();
    }));
  }
  std::size_t thrown = 0;
  for (auto& one : futures) {
    try {
      MUST(one.get() > 0);
    } catch (const std::length_error&) {
      ++thrown;
    }
  }
  MUST(thrown == 10);
}
