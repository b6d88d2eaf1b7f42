// Uses an installed or embedded cistern as a newcomer would, and checks that it works.
#include <cistern/pool_statistics.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <iostream>
#include <memory_resource>
#include <numeric>
#include <string>
#include <vector>

int main() {
  cistern::testing::checking_resource upstream;  // Aborts on a leak.
  cistern::synchronized_pool_resource pool({.max_idle_bytes = std::size_t{1} << 20}, &upstream);
  {
    std::pmr::vector<int> numbers(&pool);
    for (int i = 1; i <= 1000; ++i) numbers.push_back(i);
    if (std::accumulate(numbers.begin(), numbers.end(), 0) != 500'500) return 1;
    std::pmr::vector<std::pmr::string> words(&pool);
    for (int i = 0; i < 100; ++i)
      words.emplace_back("a word that is too long to be stored in the string itself");
  }
  const cistern::pool_statistics statistics = pool.statistics();
  std::cout << statistics;
  if (statistics.in_use_bytes != 0 || statistics.upstream_bytes != upstream.outstanding_bytes()) return 2;
  return to_json(statistics).front() == '{' ? 0 : 3;
}
