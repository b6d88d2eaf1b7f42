// Boost.JSON on a pool: documents are parsed, changed and written with a Cistern pool as their storage.
//
// Boost.JSON takes a memory resource of Boost's own kind, so a class of two one-line functions stands
// between. Ends with 0 if each document came out as it does without a pool, if its memory came from the pool,
// and if all of it went back.
#include <cistern/unsynchronized_pool_resource.hpp>

#include <cstddef>
#include <iostream>
#include <string>

#include <boost/json/src.hpp>  // the whole library, compiled in here

namespace json = boost::json;

namespace {

/// A resource of Boost's kind over any pool.
template <class Pool>
class boost_resource final : public json::memory_resource {
 public:
  explicit boost_resource(Pool& pool) : pool_(pool) {}

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    return pool_.allocate(bytes, alignment);
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    pool_.deallocate(block, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const json::memory_resource& other) const noexcept override {
    return this == &other;
  }

  Pool& pool_;
};

std::string document(int number) {
  std::string text =
      R"({"request": )" + std::to_string(number) + R"(, "user": {"name": "a user with a long name"}, )";
  text += R"("items": [)";
  for (int i = 0; i < 50; ++i) {
    text += i == 0 ? "" : ", ";
    text += R"({"title": "an item whose title is not short", "price": )" + std::to_string(i) +
            R"(.5, "tags": ["a", "b"]})";
  }
  return text + "]}";
}

std::string answer(const std::string& text, const json::storage_ptr& storage) {
  json::value parsed = json::parse(text, storage);
  json::object& request = parsed.as_object();
  request["items"].as_array().push_back({{"title", "one more"}, {"price", 1.0}});
  request["answered"] = true;
  return json::serialize(parsed);
}

}  // namespace

int main() {
  cistern::unsynchronized_pool_resource pool;
  boost_resource adapter(pool);
  bool as_without = true;
  for (int number = 0; number < 1000; ++number) {
    const std::string text = document(number);
    as_without = as_without && answer(text, &adapter) == answer(text, {});
  }
  const auto statistics = pool.statistics();
  std::size_t hits = 0;
  std::size_t misses = 0;
  for (const auto& bucket : statistics.buckets) {
    hits += bucket.hits;
    misses += bucket.misses;
  }
  std::cout << "1,000 documents " << (as_without ? "as" : "NOT as") << " without a pool; " << hits
            << " allocations served from free lists, " << misses << " not; "
            << statistics.upstream_allocations << " from upstream; " << statistics.in_use_bytes
            << " bytes left in use\n";
  return as_without && hits > 100 * misses && statistics.in_use_bytes == 0 ? 0 : 1;
}
