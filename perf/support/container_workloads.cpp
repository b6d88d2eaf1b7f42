#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "support/keep.hpp"
#include "support/random.hpp"
#include "support/slots.hpp"
#include "support/workload.hpp"

namespace perf {
namespace {

constexpr std::size_t elements = 1000;
constexpr std::size_t rebuilt_elements = 50'000;

/// A workload whose repetition calls `work(resource, random)`, counted as `operations` operations.
template <class Work>
workload container(std::string name, std::string operation, std::size_t operations, Work work) {
  return {.name = std::move(name),
          .operation = std::move(operation),
          .memory_operations = 30 * static_cast<std::int64_t>(operations),
          .run = [=](benchmark::State& state, std::pmr::memory_resource* resource) {
            random_source random(21);
            time_batches(state, operations, [&] { work(resource, random); });
          }};
}

void list(std::pmr::memory_resource* resource, random_source&) {
  std::pmr::list<std::uint64_t> values(resource);
  for (std::size_t i = 0; i < elements; ++i) values.push_back(i);
  keep(&values);
}

void map(std::pmr::memory_resource* resource, random_source& random) {
  std::pmr::map<std::uint64_t, std::uint64_t> values(resource);
  for (std::size_t i = 0; i < elements; ++i) values.emplace(random.next(), i);
  keep(&values);
}

void unordered_map(std::pmr::memory_resource* resource, random_source& random) {
  std::pmr::unordered_map<std::uint64_t, std::uint64_t> values(resource);
  for (std::size_t i = 0; i < elements; ++i) values.emplace(random.next(), i);
  keep(&values);
}

/// 50,000 strings by number, built, visited and torn down: too many for the near caches, so it matters where
/// the blocks lie that an earlier, equally large map has left behind in the order of its hashes.
void rebuild(std::pmr::memory_resource* resource, random_source& random) {
  std::pmr::unordered_map<std::uint64_t, std::pmr::string> values(resource);
  for (std::size_t i = 0; i < rebuilt_elements; ++i)
    values.try_emplace(random.next(), 16 + random.below(48), 'x');
  std::uint64_t sum = 0;
  for (const auto& [number, text] : values) sum += number + static_cast<unsigned char>(text.front());
  keep_value(sum);
}

/// One vector of up to 4,096 numbers (32 KiB), grown from nothing.
void vector_growth(std::pmr::memory_resource* resource, random_source& random) {
  std::pmr::vector<std::uint64_t> values(resource);
  const std::size_t count = 1 + random.below(4096);
  for (std::size_t i = 0; i < count; ++i) values.push_back(i);
  keep(values.data());
}

void vector_of_strings(std::pmr::memory_resource* resource, random_source& random) {
  std::pmr::vector<std::pmr::string> values(resource);
  for (std::size_t i = 0; i < elements; ++i) values.emplace_back(16 + random.below(100), 'x');
  keep(values.data());
}

/// One string of up to 4 KiB, grown by 16 bytes at a time.
void string_append(std::pmr::memory_resource* resource, random_source& random) {
  std::pmr::string text(resource);
  const std::size_t pieces = 1 + random.below(256);
  for (std::size_t i = 0; i < pieces; ++i) text.append("0123456789abcdef", 16);
  keep(text.data());
}

using string_list = std::pmr::list<std::pmr::string>;

void append_string(string_list& strings, random_source& random) {
  strings.emplace_back(24 + random.below(100), static_cast<char>('a' + random.below(26)));
}

/// Erases about half of the strings, in the order of the list.
void erase_in_order(string_list& strings, random_source& random) {
  for (auto it = strings.begin(); it != strings.end();) {
    it = (random.next() >> 63U) != 0 ? strings.erase(it) : std::next(it);
  }
}

/// Erases half of the strings, in random order.
void erase_at_random(string_list& strings, random_source& random) {
  std::vector<string_list::iterator> places;
  for (auto it = strings.begin(); it != strings.end(); ++it) places.push_back(it);
  shuffle(places, random);
  places.resize(places.size() / 2);
  for (const auto place : places) strings.erase(place);
}

/// Walks a list of 100,000 strings, half of which were erased and replaced by new ones four times over.
workload walk(std::string name, void (*erase_half)(string_list&, random_source&)) {
  return {.name = "walk/" + std::move(name),
          .operation = "element visited",
          .run = [erase_half](benchmark::State& state, std::pmr::memory_resource* resource) {
            constexpr std::size_t count = 100'000;
            random_source random(22);
            string_list strings(resource);
            while (strings.size() < count) append_string(strings, random);
            for (int round = 0; round < 4; ++round) {
              erase_half(strings, random);
              while (strings.size() < count) append_string(strings, random);
            }
            time_batches(state, count, [&] {
              std::uint64_t sum = 0;
              for (const auto& text : strings) sum += static_cast<unsigned char>(text.front());
              keep_value(sum);
            });
          }};
}

}  // namespace

std::vector<workload> container_workloads() {
  std::vector<workload> all;
  all.push_back(container("list/build", "element added + removed", elements, list));
  all.push_back(container("map/build", "element added + removed", elements, map));
  all.push_back(container("unordered_map/build", "element added + removed", elements, unordered_map));
  all.push_back(
      container("unordered_map/rebuild", "element added, visited, removed", rebuilt_elements, rebuild));
  all.push_back(container("vector/growth", "vector grown + destroyed", 1, vector_growth));
  all.push_back(container("vector/strings", "string added + removed", elements, vector_of_strings));
  all.push_back(container("string/append", "string grown + destroyed", 1, string_append));
  all.push_back(walk("ordered-churn", erase_in_order));
  all.push_back(walk("random-churn", erase_at_random));
  // Containers whose nodes are all of one size: the floor can serve them too. A node is two links and the
  // value in a list; colour, three links, key and value in a map.
  all[0].one_block_bytes = 2 * sizeof(void*) + sizeof(std::uint64_t);
  all[1].one_block_bytes = 4 * sizeof(void*) + 2 * sizeof(std::uint64_t);
  return all;
}

}  // namespace perf
