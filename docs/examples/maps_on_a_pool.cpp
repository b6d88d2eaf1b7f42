// Maps that aren't pmr on a pool: std::unordered_map, and boost::unordered_flat_map where Boost has it.
//
// One alias each is all that changes. The program counts words in both maps, with cistern's allocator and
// with the standard one. Ends with 0 if the counts agree, the memory came from the pool, and all of it went
// back.
#include <cistern/pool_allocator.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#if __has_include(<boost/unordered/unordered_flat_map.hpp>)
#include <boost/unordered/unordered_flat_map.hpp>
#define HAS_FLAT_MAP 1
#else
#define HAS_FLAT_MAP 0
#endif

namespace {

using pool = cistern::unsynchronized_pool_resource;
template <class T>
using on_pool = cistern::pool_allocator<T, pool>;
using word = std::string_view;
using entry = std::pair<const word, int>;

std::vector<std::string> some_words() {
  std::mt19937 random(1);
  std::vector<std::string> words;
  for (int i = 0; i < 100'000; ++i) words.push_back("word " + std::to_string(random() % 5000));
  return words;
}

template <class Map>
Map counted(const std::vector<std::string>& words, Map counts) {
  for (const std::string& each : words) ++counts[each];
  for (int i = 0; i < 1000; ++i) counts.erase("word " + std::to_string(i));
  return counts;
}

template <class A, class B>
bool same(const A& a, const B& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [key, count] : a) {
    const auto found = b.find(key);
    if (found == b.end() || found->second != count) return false;
  }
  return true;
}

}  // namespace

int main() {
  pool memory;
  const auto words = some_words();
  bool good = true;
  const auto report = [&](const char* name, bool agrees) {
    const std::size_t bytes = memory.statistics().in_use_bytes;
    std::cout << name << ": " << (agrees ? "the same counts" : "OTHER counts") << ", " << bytes
              << " bytes in use\n";
    good = good && agrees && bytes > 50'000;
  };
  {
    const auto plain = counted(words, std::unordered_map<word, int>());
    using map = std::unordered_map<word, int, std::hash<word>, std::equal_to<>, on_pool<entry>>;
    const map pooled = counted(words, map(on_pool<entry>(&memory)));
    report("std::unordered_map", same(plain, pooled));
  }
#if HAS_FLAT_MAP
  {
    const auto plain = counted(words, boost::unordered_flat_map<word, int>());
    using map = boost::unordered_flat_map<word, int, boost::hash<word>, std::equal_to<>, on_pool<entry>>;
    const map pooled = counted(words, map(on_pool<entry>(&memory)));
    report("boost::unordered_flat_map", same(plain, pooled));
  }
#else
  std::cout << "boost::unordered_flat_map: this Boost has none\n";
#endif
  return good && memory.statistics().in_use_bytes == 0 ? 0 : 1;
}
