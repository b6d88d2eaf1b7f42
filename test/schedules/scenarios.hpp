// scenarios: what the program `schedules` runs for each seed, and what its scenarios share.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <random>
#include <vector>

namespace cistern::test_support {

using random_numbers = std::minstd_rand;

struct scenario {
  const char* name;
  void (*run)(random_numbers&, std::uint64_t seed);
};
[[nodiscard]] std::vector<scenario> memory_scenarios();
[[nodiscard]] std::vector<scenario> object_scenarios();

/// Ends the program, which says what, and which seed of which scenario it was.
[[noreturn]] void fail(const char* what);
inline void demand(bool condition, const char* what) {
  if (!condition) fail(what);
}

/// Forks, and waits for the child, in which `body` must return.
void run_in_child(const std::function<void()>& body);

/// One of some values.
template <class T>
[[nodiscard]] T one_of(random_numbers& random, std::initializer_list<T> values) {
  return values.begin()[random() % values.size()];
}

}  // namespace cistern::test_support
