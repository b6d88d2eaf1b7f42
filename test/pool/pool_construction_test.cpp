// What making a pool takes: nothing from upstream, the default resource or new, until a block is asked for.
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory_resource>
#include <new>
#include <optional>
#include <tuple>
#include <vector>

#include <boost/test/unit_test.hpp>

namespace {

std::atomic<std::uint64_t> news{0};

void* counted(void* block) {
  ++news;
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

using pools = std::tuple<cistern::unsynchronized_pool_resource, cistern::synchronized_pool_resource>;

}  // namespace

// The other forms call these. Not inlined, or g++ takes malloc and the delete of others for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  return counted(std::malloc(bytes == 0 ? 1 : bytes));
}
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
  const auto step = static_cast<std::size_t>(alignment);
  return counted(std::aligned_alloc(step, (bytes + step) / step * step));
}
[[gnu::noinline]] void operator delete(void* block) noexcept {
  std::free(block);
}
[[gnu::noinline]] void operator delete(void* block, std::size_t) noexcept {
  std::free(block);
}
[[gnu::noinline]] void operator delete(void* block, std::align_val_t) noexcept {
  std::free(block);
}
[[gnu::noinline]] void operator delete(void* block, std::size_t, std::align_val_t) noexcept {
  std::free(block);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_pool_that_serves_nobody_takes_nothing, Pool, pools) {
  cistern::testing::checking_resource upstream;
  std::pmr::memory_resource* const before = std::pmr::set_default_resource(&upstream);
  // As many that tables of all pools have to grow.
  std::vector<std::optional<Pool>> many(300);
  const std::uint64_t news_before = news;
  for (std::size_t i = 0; i < many.size(); i += 3) {
    many[i].emplace();
    many[i + 1].emplace(std::pmr::pool_options{1024, 2048});
    many[i + 2].emplace(std::pmr::pool_options{1024, 2048}, &upstream);
  }
  const std::uint64_t news_of_pools = news - news_before;
  std::pmr::set_default_resource(before);
  BOOST_TEST(news_before != 0U);  // the vector's
  BOOST_TEST(news_of_pools == 0U);
  BOOST_TEST(upstream.allocations() == 0U);
}
