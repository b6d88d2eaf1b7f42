// The pools keep the contract of [mem.res.pool] (the same source runs over the standard's own) and of the
// suite.
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>
#include <cistern/testing/resource_conformance.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <memory_resource>
#include <new>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/mpl/joint_view.hpp>
#include <boost/mpl/list.hpp>
#include <boost/test/unit_test.hpp>

using cistern::testing::checking_resource;

namespace {

// All that differs between the standard's pools and ours: the namespace.
namespace standard {
using std::pmr::pool_options;
using std::pmr::synchronized_pool_resource;
using std::pmr::unsynchronized_pool_resource;
}  // namespace standard

template <class Pool, class Options>
struct names {
  using pool = Pool;
  using options = Options;
};

using all_pools = boost::mpl::list<names<standard::unsynchronized_pool_resource, standard::pool_options>,
                                   names<standard::synchronized_pool_resource, standard::pool_options>,
                                   names<cistern::unsynchronized_pool_resource, cistern::pool_options>,
                                   names<cistern::synchronized_pool_resource, cistern::pool_options>>;
// Ours, made with the standard's options.
using mixed_pools = boost::mpl::list<names<cistern::unsynchronized_pool_resource, std::pmr::pool_options>,
                                     names<cistern::synchronized_pool_resource, std::pmr::pool_options>>;
using constructed_pools = boost::mpl::joint_view<all_pools, mixed_pools>;
using synchronized_pools =
    boost::mpl::list<names<standard::synchronized_pool_resource, standard::pool_options>,
                     names<cistern::synchronized_pool_resource, cistern::pool_options>>;

// The standard's default resource for as long as this lives.
class default_resource_scope {
 public:
  explicit default_resource_scope(std::pmr::memory_resource* resource)
      : before_(std::pmr::set_default_resource(resource)) {}
  ~default_resource_scope() { std::pmr::set_default_resource(before_); }
  default_resource_scope(const default_resource_scope&) = delete;
  default_resource_scope& operator=(const default_resource_scope&) = delete;

 private:
  std::pmr::memory_resource* before_;
};

template <class Options>
Options options_of(std::size_t max_blocks_per_chunk, std::size_t largest_required_pool_block) {
  Options options;
  options.max_blocks_per_chunk = max_blocks_per_chunk;
  options.largest_required_pool_block = largest_required_pool_block;
  return options;
}

// Bytes and alignment as fit for a block that is asked for again.
constexpr std::size_t small_bytes = 64;
constexpr std::size_t small_alignment = 8;

template <class Pool>
concept made_from_braces = requires(void (*take)(const Pool&), std::pmr::memory_resource* upstream) {
  take({{}, upstream});
};

}  // namespace

// --- Construction, [mem.res.pool.ctor]
// -----------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE_TEMPLATE(shape_of_the_class, Names, constructed_pools) {
  using pool = typename Names::pool;
  using options = typename Names::options;
  static_assert(std::derived_from<pool, std::pmr::memory_resource>);
  static_assert(std::is_default_constructible_v<pool>);
  static_assert(std::is_constructible_v<pool, std::pmr::memory_resource*>);
  static_assert(std::is_constructible_v<pool, const options&>);
  static_assert(std::is_constructible_v<pool, const options&, std::pmr::memory_resource*>);
  static_assert(!std::is_convertible_v<std::pmr::memory_resource*, pool>, "explicit");
  static_assert(!std::is_convertible_v<const options&, pool>, "explicit");
  static_assert(made_from_braces<pool>, "options and upstream together are not explicit");
  static_assert(!std::is_copy_constructible_v<pool> && !std::is_move_constructible_v<pool>);
  static_assert(!std::is_copy_assignable_v<pool> && !std::is_move_assignable_v<pool>);
  static_assert(std::has_virtual_destructor_v<pool>);
  static_assert(
      std::same_as<decltype(std::declval<const pool&>().upstream_resource()), std::pmr::memory_resource*>);
  static_assert(std::convertible_to<decltype(std::declval<const pool&>().options()), std::pmr::pool_options>);
  static_assert(std::same_as<decltype(std::declval<pool&>().release()), void>);
  BOOST_TEST(std::is_polymorphic_v<pool>);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(upstream_is_what_was_given_or_the_default_of_the_moment, Names,
                              constructed_pools) {
  using pool = typename Names::pool;
  using options = typename Names::options;
  checking_resource given;
  checking_resource the_default;
  const default_resource_scope scope(&the_default);
  BOOST_TEST(pool().upstream_resource() == &the_default);
  BOOST_TEST(pool(options()).upstream_resource() == &the_default);
  BOOST_TEST(pool(&given).upstream_resource() == &given);
  BOOST_TEST(pool(options(), &given).upstream_resource() == &given);

  pool made_before;
  std::pmr::set_default_resource(&given);
  BOOST_TEST(made_before.upstream_resource() == &the_default);
  BOOST_TEST(pool().upstream_resource() == &given);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(options_of_zero_mean_defaults, Names, constructed_pools) {
  const typename Names::pool pool(options_of<typename Names::options>(0, 0));
  const std::pmr::pool_options in_effect = pool.options();
  const std::pmr::pool_options by_default = typename Names::pool().options();
  BOOST_TEST(in_effect.max_blocks_per_chunk > 0u);
  BOOST_TEST(in_effect.largest_required_pool_block > 0u);
  BOOST_TEST(in_effect.max_blocks_per_chunk == by_default.max_blocks_per_chunk);
  BOOST_TEST(in_effect.largest_required_pool_block == by_default.largest_required_pool_block);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(options_in_effect_cover_what_was_asked, Names, constructed_pools) {
  const typename Names::pool pool(options_of<typename Names::options>(100, 1000));
  const std::pmr::pool_options in_effect = pool.options();
  BOOST_TEST(in_effect.max_blocks_per_chunk > 0u);
  BOOST_TEST(in_effect.max_blocks_per_chunk <= 100u);
  BOOST_TEST(in_effect.largest_required_pool_block >= 1000u);
  const typename Names::pool again(options_of<typename Names::options>(
      in_effect.max_blocks_per_chunk, in_effect.largest_required_pool_block));
  const std::pmr::pool_options settled = again.options();
  BOOST_TEST(settled.max_blocks_per_chunk == in_effect.max_blocks_per_chunk);
  BOOST_TEST(settled.largest_required_pool_block == in_effect.largest_required_pool_block);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(blocks_per_chunk_beyond_reason_are_lowered, Names, all_pools) {
  const typename Names::pool pool(options_of<typename Names::options>(SIZE_MAX, 1000));
  BOOST_TEST(std::pmr::pool_options(pool.options()).max_blocks_per_chunk < SIZE_MAX);
}

// --- Members, [mem.res.pool.mem]
// -----------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE_TEMPLATE(the_destructor_frees_what_was_not, Names, all_pools) {
  checking_resource upstream;
  {
    typename Names::pool pool(&upstream);
    for (std::size_t bytes = 1; bytes < 100'000; bytes *= 2) (void)pool.allocate(bytes);
    BOOST_TEST(upstream.outstanding_blocks() > 0u);
  }
  BOOST_TEST(upstream.outstanding_blocks() == 0u);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(release_frees_what_was_not_and_the_pool_goes_on, Names, all_pools) {
  checking_resource upstream;
  typename Names::pool pool(&upstream);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 1000; ++i) (void)pool.allocate(small_bytes, small_alignment);
    (void)pool.allocate(std::size_t{100} << 20);  // Beyond what any pool keeps in chunks.
    BOOST_TEST(upstream.outstanding_bytes() >= 1000 * small_bytes + (std::size_t{100} << 20));
    pool.release();
    BOOST_TEST(upstream.outstanding_blocks() == 0u);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(release_of_an_unused_pool_is_fine, Names, all_pools) {
  typename Names::pool pool;
  pool.release();
  pool.release();
  void* const block = pool.allocate(8);
  pool.deallocate(block, 8);
  BOOST_TEST(block != nullptr);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_freed_block_serves_the_next_request_without_upstream, Names, all_pools) {
  checking_resource upstream;
  typename Names::pool pool(&upstream);
  pool.deallocate(pool.allocate(small_bytes, small_alignment), small_bytes, small_alignment);
  const auto calls = upstream.allocations();
  for (int i = 0; i < 1000; ++i) {
    pool.deallocate(pool.allocate(small_bytes, small_alignment), small_bytes, small_alignment);
  }
  BOOST_TEST(upstream.allocations() <= calls + 1);  // a thread's cache comes after some requests
}

BOOST_AUTO_TEST_CASE_TEMPLATE(chunks_grow_so_upstream_is_asked_seldom, Names, all_pools) {
  checking_resource upstream;
  typename Names::pool pool(&upstream);
  for (int i = 0; i < 100'000; ++i) (void)pool.allocate(small_bytes, small_alignment);
  BOOST_TEST(upstream.allocations() < 1000u);
  pool.release();
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_chunk_has_no_more_blocks_than_allowed, Names, all_pools) {
  constexpr std::size_t blocks = 16;
  checking_resource upstream;
  typename Names::pool pool(options_of<typename Names::options>(blocks, 4096), &upstream);
  // Whatever the pool needs for itself it has got by now.
  pool.deallocate(pool.allocate(1, 1), 1, 1);
  const auto calls = upstream.allocations();
  const auto bytes = upstream.allocated_bytes();
  for (int i = 0; i < 1000; ++i) (void)pool.allocate(2048, 8);
  const auto average_bytes = (upstream.allocated_bytes() - bytes) / (upstream.allocations() - calls);
  BOOST_TEST(upstream.allocations() - calls >= 1000 / blocks);
  BOOST_TEST(average_bytes <= blocks * 2048 + 1024);
  pool.release();
}

BOOST_AUTO_TEST_CASE_TEMPLATE(requests_above_the_bound_go_to_upstream_and_back, Names, all_pools) {
  checking_resource upstream;
  typename Names::pool pool(options_of<typename Names::options>(0, 1024), &upstream);
  const std::size_t above = std::pmr::pool_options(pool.options()).largest_required_pool_block + 1;
  pool.deallocate(pool.allocate(above), above);
  const std::size_t held_bytes = upstream.outstanding_bytes();
  const auto calls = upstream.allocations();
  for (int i = 0; i < 10; ++i) {
    void* const block = pool.allocate(above);
    BOOST_TEST(upstream.outstanding_bytes() >= held_bytes + above);
    pool.deallocate(block, above);
    BOOST_TEST(upstream.outstanding_bytes() == held_bytes);
  }
  BOOST_TEST(upstream.allocations() >= calls + 10);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(blocks_are_aligned_to_their_power_of_two_size, Names, all_pools) {
  checking_resource upstream;
  typename Names::pool pool(&upstream);
  for (std::size_t bytes = 1; bytes <= 4096; bytes *= 2) {
    for (int i = 0; i < 20; ++i) {
      BOOST_TEST(reinterpret_cast<std::uintptr_t>(pool.allocate(bytes, bytes)) % bytes == 0u);
    }
  }
  pool.release();
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_failure_of_upstream_is_passed_on, Names, all_pools) {
  cistern::testing::failing_resource upstream;
  typename Names::pool pool(&upstream);
  upstream.fail_from_nth(1);
  BOOST_CHECK_THROW((void)pool.allocate(small_bytes), std::bad_alloc);
  BOOST_CHECK_THROW((void)pool.allocate(std::size_t{100} << 20), std::bad_alloc);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(equality_is_identity, Names, all_pools) {
  typename Names::pool one;
  typename Names::pool other;
  const std::pmr::memory_resource& base = one;
  BOOST_TEST((base == base));
  BOOST_TEST((base != other));
  BOOST_TEST(one.is_equal(one));
  BOOST_TEST(!one.is_equal(other));
  BOOST_TEST(!one.is_equal(*std::pmr::new_delete_resource()));
}

// --- In use
// --------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE_TEMPLATE(containers_of_containers_share_one_pool, Names, all_pools) {
  checking_resource upstream;
  typename Names::pool pool(&upstream);
  {
    std::pmr::map<std::pmr::string, std::pmr::vector<int>> index(&pool);
    for (int i = 0; i < 2000; ++i) {
      index[std::pmr::string("a key that is too long for the string itself ") +
            std::to_string(i % 500).c_str()]
          .push_back(i);
    }
    BOOST_TEST(index.size() == 500u);
    BOOST_TEST(index.begin()->second.size() == 4u);
    BOOST_TEST(index.begin()->first.get_allocator().resource() == &pool);
    BOOST_TEST(index.begin()->second.get_allocator().resource() == &pool);
  }
  const std::pmr::polymorphic_allocator<std::string> allocator(&pool);
  std::allocate_shared<std::string>(allocator, "shared").reset();
  pool.release();
  BOOST_TEST(upstream.outstanding_blocks() == 0u);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(pools_stack, Names, all_pools) {
  checking_resource upstream;
  typename Names::pool below(&upstream);
  typename Names::pool above(&below);
  std::pmr::vector<int> numbers(10'000, 7, &above);
  numbers.resize(20'000);
  BOOST_TEST(numbers[9'999] == 7);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(threads_free_what_others_allocated, Names, synchronized_pools) {
  constexpr int thread_count = 4;
  constexpr int blocks = 500;
  checking_resource upstream;
  typename Names::pool pool(&upstream);
  std::vector<std::vector<void*>> made(thread_count);
  const auto run = [&](auto action) {
    std::vector<std::thread> threads;
    for (int t = 0; t < thread_count; ++t)
      threads.emplace_back([action, t] { action(static_cast<std::size_t>(t)); });
    for (std::thread& thread : threads) thread.join();
  };
  for (int round = 0; round < 5; ++round) {
    run([&](std::size_t t) {
      for (int i = 0; i < blocks; ++i) made[t].push_back(pool.allocate(small_bytes, small_alignment));
    });
    run([&](std::size_t t) {
      std::vector<void*>& others = made[(t + 1) % thread_count];
      for (void* block : others) pool.deallocate(block, small_bytes, small_alignment);
      others.clear();
    });
  }
  BOOST_TEST(upstream.errors() == 0u);
  pool.release();
  BOOST_TEST(upstream.outstanding_blocks() == 0u);
}

// --- The suite for every resource
// ----------------------------------------------------------------------------------

namespace {

template <class Pool>
struct suite_subject : cistern::testing::conformance_subject {
  static constexpr bool thread_safe = std::same_as<Pool, cistern::synchronized_pool_resource>;
  static inline cistern::pool_options options;  // Not a template parameter: the suite takes long to compile.
  static auto make(std::pmr::memory_resource* upstream) { return std::make_unique<Pool>(options, upstream); }
};

struct named_options {
  const char* name;
  cistern::pool_options options;
};

const named_options option_sets[] = {
    {"default", {}},
    {"keep nothing idle", {.max_idle_bytes = 0, .max_idle_blocks_per_bucket = 0}},
    {"small chunks", {.max_blocks_per_chunk = 3, .largest_required_pool_block = 2000}},
    {"zero on free, not counting", {.zero_on_free = true, .count_operations = false}},
    {"pass through", {.pass_through = true}},
    {"limited", {.max_bytes = std::size_t{512} << 20}},
    {"no thread caches", {.thread_cache_bytes = 0}},
};

template <class Pool>
void run_suite() {
  for (const named_options& set : option_sets) {
    suite_subject<Pool>::options = set.options;
    BOOST_TEST_CONTEXT("options: " << set.name) {
      for (const std::string& failure : cistern::testing::conformance_failures<suite_subject<Pool>>()) {
        BOOST_ERROR(failure);
      }
    }
  }
  BOOST_TEST(cistern::testing::resource_conformance<suite_subject<Pool>>::cases().size() >= 10u);
}

}  // namespace

BOOST_AUTO_TEST_CASE(suite_over_unsynchronized_pools) {
  run_suite<cistern::unsynchronized_pool_resource>();
}
BOOST_AUTO_TEST_CASE(suite_over_synchronized_pools) {
  run_suite<cistern::synchronized_pool_resource>();
}
