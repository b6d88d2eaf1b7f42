// Where the system has no more, for real: no address space (RLIMIT_AS), no keys for data of threads. What
// refuses is as it was before, and what is given back serves the next. Each case in a child, which is the
// first to make a pool. Not for sanitizers, which need the address space themselves.
#include <cistern/adaptor/failure_adaptor.hpp>
#include <cistern/adaptor/fallback_adaptor.hpp>
#include <cistern/adaptor/guarding_adaptor.hpp>
#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/adaptor/recording_adaptor.hpp>
#include <cistern/adaptor/sampling_guard_adaptor.hpp>
#include <cistern/adaptor/statistics_adaptor.hpp>
#include <cistern/buffer.hpp>
#include <cistern/byte_lease.hpp>
#include <cistern/chain.hpp>
#include <cistern/object_pool.hpp>
#include <cistern/page_resource.hpp>
#include <cistern/process_pool.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <memory_resource>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/address_space.hpp"
#include "../support/forking.hpp"
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

using cistern::test_support::fork_fault;

namespace {

bool no_values_of_keys = false;

}  // namespace

// Stands in for the C library's, which needs memory for keys beyond the first 32.
extern "C" int pthread_setspecific(pthread_key_t key, const void* value) noexcept {
  using function = int(pthread_key_t, const void*);
  static auto* const next = reinterpret_cast<function*>(::dlsym(RTLD_NEXT, "pthread_setspecific"));
  return no_values_of_keys ? ENOMEM : next(key, value);
}

namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;

/// In the child.
void must(bool condition, int status) {
  if (!condition) ::_exit(status);
}

/// What `call` needs isn't there.
template <class Call>
bool is_refused(Call call) {
  try {
    call();
    return false;
  } catch (const std::bad_alloc&) {
    return true;
  }
}

template <class Body>
std::string fault_in_little_space(Body body) {
  return fork_fault([&] {
    cistern::test_support::leave_address_space(48 * mib);
    body();
  });
}

/// Blocks of one size, each with a mark at both ends, until there are no more; in themselves, as nothing else
/// can remember them.
class blocks {
 public:
  blocks(std::pmr::memory_resource& from, std::size_t bytes) : from_(from), bytes_(bytes) {}
  blocks(const blocks&) = delete;
  blocks& operator=(const blocks&) = delete;
  ~blocks() { free(count_); }

  void take_all() {
    while (!is_refused([&] { add(from_.allocate(bytes_)); })) {
    }
  }
  void free(std::size_t count) {
    for (; count != 0; --count) {
      auto* const block = std::exchange(newest_, newest_->older);
      must(end_of(block) == mark_of(block), 21);
      from_.deallocate(block, bytes_);
      --count_;
    }
  }
  [[nodiscard]] std::size_t count() const { return count_; }

 private:
  struct block_head {
    block_head* older;
  };
  static std::byte mark_of(const block_head* block) {
    return static_cast<std::byte>(reinterpret_cast<std::uintptr_t>(block) >> 4);
  }
  std::byte& end_of(block_head* block) { return reinterpret_cast<std::byte*>(block)[bytes_ - 1]; }
  void add(void* memory) {
    newest_ = ::new (memory) block_head{newest_};
    end_of(newest_) = mark_of(newest_);
    ++count_;
  }

  std::pmr::memory_resource& from_;
  std::size_t bytes_;
  block_head* newest_ = nullptr;
  std::size_t count_ = 0;
};

using pools = std::tuple<cistern::unsynchronized_pool_resource, cistern::synchronized_pool_resource>;

std::byte first_of(const cistern::buffer& bytes) {
  return bytes.bytes().front();
}
std::byte first_of(const cistern::chain& bytes) {
  return bytes.front().front();
}
using byte_containers = std::tuple<cistern::buffer, cistern::chain>;

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(pools_refuse_and_go_on, Pool, pools) {
  cistern::page_resource pages;
  for (std::pmr::memory_resource* const upstream :
       {std::pmr::new_delete_resource(), static_cast<std::pmr::memory_resource*>(&pages)}) {
    const std::string fault = fault_in_little_space([&] {
      Pool pool(upstream);
      for (const std::size_t bytes : {std::size_t{24}, std::size_t{1000}, 40 * kib, 3 * mib}) {
        blocks all(pool, bytes);
        all.take_all();
        must(all.count() * bytes > 20 * mib, 11);
        must(is_refused([&] { (void)pool.allocate(40 * mib); }), 12);
        const std::size_t most = all.count();
        all.free(most / 2);
        pool.check_invariants();
        all.take_all();
        must(all.count() >= most, 13);
      }
      pool.check_invariants();
      must(pool.statistics().in_use_bytes == 0, 14);
      pool.trim();
      must(pool.statistics().upstream_bytes < 1 * mib, 15);
    });
    BOOST_TEST(fault == "");
  }
}

namespace {

/// Over new/delete.
template <class Resource, class... Arguments>
auto maker_of(Arguments... arguments) {
  return [=]() -> std::unique_ptr<std::pmr::memory_resource> {
    return std::make_unique<Resource>(arguments...);
  };
}

const std::map<std::string, std::function<std::unique_ptr<std::pmr::memory_resource>()>> resources{
    {"limit", maker_of<cistern::limit_adaptor>(cistern::no_limit)},
    {"statistics", maker_of<cistern::statistics_adaptor>()},
    {"failure", maker_of<cistern::failure_adaptor>([](std::size_t, std::size_t) { return false; })},
    {"fallback", maker_of<cistern::fallback_adaptor>(std::pmr::null_memory_resource())},
    {"guarding", maker_of<cistern::guarding_adaptor>()},
    {"sampling guard",
     maker_of<cistern::sampling_guard_adaptor>(cistern::sampling_guard_options{.one_in = 2})},
    {"recording", maker_of<cistern::recording_adaptor>([](std::span<const std::byte>) {})},
    {"pass through, one thread",
     maker_of<cistern::unsynchronized_pool_resource>(cistern::pool_options{.pass_through = true})},
    {"pass through",
     maker_of<cistern::synchronized_pool_resource>(cistern::pool_options{.pass_through = true})},
    {"guarded pool, one thread",
     maker_of<cistern::unsynchronized_pool_resource>(cistern::pool_options{.sample_guard = 2})},
    {"guarded pool", maker_of<cistern::synchronized_pool_resource>(cistern::pool_options{.sample_guard = 2})},
    {"checking", maker_of<cistern::testing::checking_resource>()},
};

}  // namespace

BOOST_AUTO_TEST_CASE(every_other_resource_refuses_and_goes_on) {
  for (const auto& [name, make] : resources) {
    const std::string fault = fault_in_little_space([&, &make = make] {
      const auto resource = make();
      for (const std::size_t bytes : {std::size_t{100}, 40 * kib, 3 * mib}) {
        blocks all(*resource, bytes);
        all.take_all();
        must(all.count() * bytes > 4 * mib, 11);
        must(is_refused([&] { (void)resource->allocate(48 * mib); }), 12);
        const std::size_t most = all.count();
        all.free(most / 2);
        all.take_all();
        must(all.count() >= most - most / 8, 13);
      }
    });
    BOOST_TEST(fault == "", name << ": " << fault);
  }
}

BOOST_AUTO_TEST_CASE(the_pool_of_the_process_refuses_and_goes_on) {
  const std::string fault = fault_in_little_space([] {
    blocks all(*cistern::process_pool(), 1'000);
    all.take_all();
    const std::size_t most = all.count();
    all.free(most);
    all.take_all();
    must(all.count() >= most, 11);
  });
  BOOST_TEST(fault == "");
}

BOOST_AUTO_TEST_CASE(a_lease_of_bytes_that_is_refused_can_be_asked_again) {
  const std::string fault = fault_in_little_space([] {
    cistern::byte_lease lease(nullptr, 1'000);
    lease.give_back();
    must(is_refused([&] { lease.allocate(64 * mib); }), 11);
    must(!lease.holds_bytes() && lease.size() == 0, 12);
    lease.allocate(8 * mib);
    must(lease.size() == 8 * mib, 13);
  });
  BOOST_TEST(fault == "");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(buffers_and_chains_keep_what_they_have, Bytes, byte_containers) {
  const std::string fault = fault_in_little_space([] {
    static constexpr std::array<char, 64 * kib> piece{'a'};
    const std::string_view text(piece.data(), piece.size());
    Bytes bytes;
    std::size_t count = 0;
    while (!is_refused([&] { bytes.append(text); })) ++count;
    must(count * text.size() >= 8 * mib, 11);
    must(bytes.size() == count * text.size(), 12);
    for (std::size_t read = 0; read < count; ++read) {
      must(first_of(bytes) == std::byte{'a'}, 13);
      bytes.consume(text.size());
    }
    must(bytes.size() == 0, 14);
    bytes.append(text);
    must(bytes.size() == text.size(), 15);
  });
  BOOST_TEST(fault == "");
}

namespace {

struct large_object {
  std::array<char, 100 * kib> bytes;
};

template <class Policy>
std::string object_pool_fault() {
  return fault_in_little_space([] {
    const auto create = [] { return large_object{}; };
    auto pool = cistern::make_object_pool<Policy>({.max_size = cistern::no_limit}, create);
    std::vector<cistern::lease<large_object>> all;
    all.reserve(1000);
    while (!is_refused([&] { all.push_back(pool.acquire()); })) {
    }
    must(all.size() > 100 && all.size() < 1000, 11);
    const std::size_t most = all.size();
    const auto full = pool.statistics();
    must(full.in_use == most && full.total == most && full.creating == 0, 12);
    must(pool.check_invariants(), 13);
    all.resize(most / 2);
    must(pool.idle() == most - most / 2, 14);
    while (all.size() < most) all.push_back(pool.acquire());
    must(is_refused([&] { (void)pool.acquire(); }), 15);
    all.clear();
    must(pool.idle() == most && pool.check_invariants(), 16);
  });
}

}  // namespace

BOOST_AUTO_TEST_CASE(object_pools_refuse_and_go_on) {
  BOOST_TEST(object_pool_fault<cistern::shared>() == "");
  BOOST_TEST(object_pool_fault<cistern::per_thread>() == "");
}

namespace {

/// Whether `call` is told that there are no keys.
template <class Call>
bool lacks_keys(Call call) {
  try {
    call();
    return false;
  } catch (const std::system_error& error) {
    return error.code() == std::errc::resource_unavailable_try_again;
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(pools_whose_threads_need_a_key_say_that_there_is_none) {
  const std::string fault = fork_fault([] {
    pthread_key_t key{};
    while (::pthread_key_create(&key, nullptr) == 0) {
    }
    cistern::testing::checking_resource upstream;
    const auto create = [] { return 1; };
    const auto make_synchronized = [&] { cistern::synchronized_pool_resource pool(&upstream); };
    const auto make_per_thread = [&] {
      (void)cistern::make_object_pool<cistern::per_thread>({.initial = 1}, create, {}, {}, {}, &upstream);
    };
    must(lacks_keys(make_synchronized), 11);
    must(lacks_keys(make_per_thread), 12);
    must(upstream.outstanding_bytes() == 0, 13);
    {
      cistern::unsynchronized_pool_resource pool(&upstream);
      pool.deallocate(pool.allocate(100), 100);
      (void)cistern::make_object_pool({.initial = 1}, create, {}, {}, {}, &upstream);
    }
    must(::pthread_key_delete(key) == 0, 14);
    make_synchronized();
    make_per_thread();
    must(upstream.outstanding_bytes() == 0, 15);
  });
  BOOST_TEST(fault == "");
}

// Then no thread has a cache, and nothing is kept for a thread whose end nobody would hear of.
BOOST_AUTO_TEST_CASE(pools_do_without_caches_where_a_thread_can_have_no_value_of_a_key) {
  const std::string fault = fork_fault([] {
    cistern::testing::checking_resource upstream;
    no_values_of_keys = true;
    {
      cistern::synchronized_pool_resource pool(&upstream);
      auto objects = cistern::make_object_pool<cistern::per_thread>(
          {.max_size = 4}, [] { return 1; }, {}, {}, {}, &upstream);
      const auto work = [&] {
        blocks all(pool, 100);
        for (int i = 0; i < 1'000; ++i) pool.deallocate(pool.allocate(100), 100);
        const auto one = objects.acquire();
        must(*one == 1, 11);
      };
      work();
      std::thread(work).join();
      must(pool.statistics().in_use_bytes == 0, 12);
      must(pool.statistics().idle_in_caches_bytes == 0, 13);
      must(objects.statistics().in_use == 0 && objects.check_invariants(), 14);
      no_values_of_keys = false;  // it is tried again
      work();
      must(pool.statistics().idle_in_caches_bytes != 0, 15);
      pool.check_invariants();
    }
    must(upstream.outstanding_bytes() == 0, 16);
  });
  BOOST_TEST(fault == "");
}
