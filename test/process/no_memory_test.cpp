// No memory at any allocation of anything: every use of new and delete that the library makes itself, beside
// its resources, is refused once, and from then on. What is public is made, used and destroyed each time: the
// only exception is std::bad_alloc, and nothing stays behind.
#include <cistern/adaptor/failure_adaptor.hpp>
#include <cistern/adaptor/fallback_adaptor.hpp>
#include <cistern/adaptor/guarding_adaptor.hpp>
#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/adaptor/recording_adaptor.hpp>
#include <cistern/adaptor/sampling_guard_adaptor.hpp>
#include <cistern/adaptor/statistics_adaptor.hpp>
#include <cistern/adaptor/trace_advice.hpp>
#include <cistern/adaptor/trace_reader.hpp>
#include <cistern/adaptor/trace_replay.hpp>
#include <cistern/async_acquire.hpp>
#include <cistern/buffer.hpp>
#include <cistern/buffer_stream.hpp>
#include <cistern/byte_lease.hpp>
#include <cistern/chain.hpp>
#include <cistern/named_statistics.hpp>
#include <cistern/object_pool.hpp>
#include <cistern/page_resource.hpp>
#include <cistern/pool_allocator.hpp>
#include <cistern/pooled.hpp>
#include <cistern/process_pool.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory_resource>
#include <new>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/coroutine.hpp"
#include "../support/forking.hpp"
#include <unistd.h>

namespace {

/// What new does in this program.
struct memory_plan {
  long passes = -1;  ///< Allocations until one is refused; negative: none is.
  bool from_then_on = false;
  long refused = 0;
  long live_blocks = 0;
};
constinit memory_plan plan;

void* allocate(std::size_t bytes, std::size_t alignment) {
  if (plan.passes == 0) {
    ++plan.refused;
    plan.passes = plan.from_then_on ? 0 : -1;
    throw std::bad_alloc();
  }
  if (plan.passes > 0) --plan.passes;
  void* block = nullptr;
  if (bytes > PTRDIFF_MAX || ::posix_memalign(&block, std::max(alignment, sizeof(void*)), bytes) != 0) {
    throw std::bad_alloc();
  }
  ++plan.live_blocks;
  return block;
}

void deallocate(void* block) noexcept {
  if (block == nullptr) return;
  --plan.live_blocks;
  std::free(block);
}

}  // namespace

void* operator new(std::size_t bytes) {
  return allocate(bytes, alignof(std::max_align_t));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<std::size_t>(alignment));
}
// Sanitizers bring forms of their own, which don't end up in those above.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return allocate(bytes, alignof(std::max_align_t));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* block, const std::nothrow_t&) noexcept {
  deallocate(block);
}
void operator delete(void* block) noexcept {
  deallocate(block);
}
void operator delete(void* block, std::size_t) noexcept {
  deallocate(block);
}
void operator delete(void* block, std::align_val_t) noexcept {
  deallocate(block);
}
void operator delete(void* block, std::size_t, std::align_val_t) noexcept {
  deallocate(block);
}

namespace {

using cistern::when_empty;

/// In an operation, where Boost.Test would find no memory either.
void must(bool condition) {
  if (condition) return;
  plan.passes = -1;
  BOOST_FAIL("not as it should be");
}

/// Whether `operation` got to its end.
bool completes(const std::function<void()>& operation, long passes, bool from_then_on) {
  plan.from_then_on = from_then_on;
  plan.passes = passes;
  bool done = true;
  try {
    operation();
  } catch (const std::bad_alloc&) {
    done = false;
  } catch (const cistern::pool_error& error) {  // of an object that its factory found no memory for
    must(error.code() == cistern::pool_errc::factory_failed);
    done = false;
  }
  plan.passes = -1;
  return done;
}

void sweep(const std::function<void()>& operation) {
  operation();  // what is there for ever is there from now on
  for (const bool from_then_on : {false, true}) {
    for (long passes = 0;; ++passes) {
      const long live_before = plan.live_blocks;
      const long refused_before = plan.refused;
      const bool done = completes(operation, passes, from_then_on);
      BOOST_REQUIRE(plan.live_blocks == live_before);
      if (plan.refused == refused_before) {
        BOOST_TEST(done);
        BOOST_TEST(passes > 0);  // else nothing was tried
        break;
      }
    }
  }
}

/// Blocks of all kinds.
template <class Pool>
void use_pool(Pool& pool) {
  for (const std::size_t bytes : {24U, 1'000U, 300'000U}) {
    pool.deallocate(pool.allocate(bytes), bytes);
    (void)pool.allocate(bytes);
  }
  (void)pool.allocate(100, 8'192);
  (void)pool.allocate_at_least(100);
  pool.check_invariants();
  pool.trim();
  pool.release();
  (void)pool.allocate(24);
}

void use(std::pmr::memory_resource& resource) {
  std::array<void*, 40> blocks{};
  const auto give_back = [&] {
    for (void*& block : blocks) {
      if (block != nullptr) resource.deallocate(std::exchange(block, nullptr), 100);
    }
  };
  try {
    for (void*& block : blocks) block = resource.allocate(100);
  } catch (...) {
    give_back();
    throw;
  }
  give_back();
}

using pools = std::tuple<cistern::unsynchronized_pool_resource, cistern::synchronized_pool_resource>;
using policies = std::tuple<cistern::shared, cistern::per_thread>;
const std::string long_text(9'000, 't');

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(pools_of_memory, Pool, pools) {
  for (const cistern::pool_options& options :
       {cistern::pool_options{}, cistern::pool_options{.pass_through = true},
        cistern::pool_options{.max_bytes = 8'000'000, .zero_on_free = true},
        cistern::pool_options{.sample_guard = 2}}) {
    sweep([&] {
      Pool pool(options);
      use_pool(pool);
    });
  }
}

BOOST_AUTO_TEST_CASE(what_pools_tell_of_themselves) {
  cistern::unsynchronized_pool_resource pool;
  use_pool(pool);
  const auto statistics = pool.statistics();
  sweep([&] { (void)(std::ostringstream() << statistics); });
  sweep([&] { (void)cistern::to_openmetrics({{"pool", statistics}}); });
}

BOOST_AUTO_TEST_CASE(containers_in_a_pool) {
  sweep([] {
    cistern::synchronized_pool_resource pool;
    std::map<int, std::string, std::less<>, cistern::pool_allocator<std::pair<const int, std::string>>> map(
        cistern::pool_allocator<std::pair<const int, std::string>>{&pool});
    for (int i = 0; i < 20; ++i) map.emplace(i, long_text);
  });
}

BOOST_AUTO_TEST_CASE(buffers) {
  sweep([] {
    cistern::buffer bytes;
    bytes.append("text").append(long_text).prepend(long_text);
    cistern::buffer_ostream(bytes) << long_text << 17;
    cistern::buffer copy(bytes, bytes.get_allocator());
    bytes.consume(10'000);
    bytes.shrink_to_fit();
    cistern::byte_lease lease(nullptr);
    lease.allocate(10'000);
    lease.give_back();
    lease.allocate(100);
  });
}

BOOST_AUTO_TEST_CASE(chains) {
  sweep([] {
    cistern::chain bytes;
    bytes.append(long_text).prepend("text");
    (void)bytes.prepare(20'000);
    bytes.commit(20'000);
    cistern::buffer text;
    text.append(long_text);
    bytes.adopt(std::move(text));
    cistern::chain rest = bytes.split(7'000);
    bytes.splice(std::move(rest));
    bytes.shrink_to_fit();
    must(bytes.flatten().size() == 2 * long_text.size() + 20'004);
    must(bytes.check_invariants());
  });
}

namespace {

cistern::test::started take(auto& pool, std::optional<cistern::lease<std::string>>& into) {
  into = co_await pool.acquire_async();
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(pools_of_objects, Policy, policies) {
  const auto create = [] { return std::string(long_text); };
  for (const when_empty empty : {when_empty::block, when_empty::fail, when_empty::create}) {
    sweep([&] {
      auto pool = cistern::make_object_pool<Policy>({.max_size = 3, .initial = 1, .empty = empty}, create);
      {
        auto first = pool.acquire();
        auto second = pool.acquire_for(std::chrono::hours::max());
        auto third = pool.try_acquire();
        must(pool.check_invariants());
        if (empty == when_empty::create) (void)pool.acquire();
        try {
          if (third) (void)pool.acquire_for(std::chrono::seconds(0));
        } catch (const cistern::pool_error& error) {
          (void)std::string(error.what());
          (void)error.holders();
        }
      }
      (void)pool.adopt(std::string(long_text));
      pool.resize(5);
      pool.warm(4);
      (void)pool.maintain();
      (void)pool.evict_if([](const std::string& one) { return one.empty(); });
      (void)(std::ostringstream() << pool.statistics());
      (void)cistern::to_openmetrics({{"pool", pool.statistics()}});
      pool.trim();
      must(pool.check_invariants());
    });
  }
}

BOOST_AUTO_TEST_CASE(coroutines_that_wait) {
  const auto create = [] { return std::string(long_text); };
  sweep([&] {
    auto pool = cistern::make_object_pool({.max_size = 1}, create);
    std::optional<cistern::lease<std::string>> taken;
    auto mine = pool.acquire();
    take(pool, taken);
    mine.give_back();
    must(taken.has_value());
    must(pool.check_invariants());
  });
}

BOOST_AUTO_TEST_CASE(adaptors) {
  sweep([] {
    cistern::limit_adaptor limited(1'000'000);
    cistern::statistics_adaptor counted(&limited);
    cistern::failure_adaptor told([](std::size_t, std::size_t) { return false; }, &counted);
    cistern::guarding_adaptor guarded(&told);
    cistern::sampling_guard_adaptor sampled({.one_in = 3}, &guarded);
    use(sampled);
    (void)(std::ostringstream() << counted.statistics());
    (void)guarded.outstanding();
    (void)guarded.check();
  });
}

BOOST_AUTO_TEST_CASE(a_fallback) {
  sweep([] {
    cistern::limit_adaptor limited(1'000);
    cistern::fallback_adaptor both(&limited);
    use(both);
  });
}

BOOST_AUTO_TEST_CASE(traces) {
  sweep([] {
    std::vector<std::byte> bytes;
    const auto sink = [&](std::span<const std::byte> more) {
      bytes.insert(bytes.end(), more.begin(), more.end());
    };
    cistern::recording_adaptor recorded(sink, nullptr, {.buffer_bytes = 256});
    use(recorded);
    recorded.close();
    cistern::trace_reader reader(cistern::trace_from_memory(bytes));
    (void)cistern::advise(reader);
    cistern::trace_reader again(cistern::trace_from_memory(bytes));
    (void)cistern::replay(again, std::pmr::new_delete_resource());
  });
}

BOOST_AUTO_TEST_CASE(the_testing_kit) {
  sweep([] {
    cistern::testing::checking_resource checked;
    cistern::testing::failing_resource failing(&checked);
    use(failing);
    must(checked.outstanding_blocks() == 0U);
  });
}

namespace {

struct node : cistern::pooled<node> {
  std::array<char, 40> text{};
};

}  // namespace

// It is there for ever, so each refusal is tried in a process that has none yet.
BOOST_AUTO_TEST_CASE(the_pool_of_the_process) {
  for (long passes = 0; passes < 10; ++passes) {
    const std::string fault = cistern::test_support::fork_fault([&] {
      const auto use_it = [] {
        delete new node;
        delete new (std::nothrow) node;
        (void)cistern::process_pool()->statistics();
      };
      (void)completes(use_it, passes, passes % 2 != 0);
      if (!completes(use_it, -1, false)) ::_exit(11);
    });
    BOOST_TEST(fault == "");
  }
}
