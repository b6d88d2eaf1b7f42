// A user's program that instantiates every public template and calls what is inline, in the ways of the
// documentation: it shall compile without a warning at any optimisation, and run.
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
#include <cistern/buffer_dynamic_view.hpp>
#include <cistern/buffer_format.hpp>
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
#include <cistern/testing/fail_every_allocation.hpp>
#include <cistern/testing/failing_resource.hpp>
#include <cistern/testing/resource_conformance.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <memory_resource>
#include <new>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

void require(bool condition, const char* what) {
  if (!condition) {
    std::fprintf(stderr, "every_template: %s\n", what);
    std::exit(1);
  }
}

// --- classes with new and delete from the process's pool ---

struct shape : cistern::pooled<shape> {
  shape() = default;
  shape(const shape&) = default;
  shape& operator=(const shape&) = default;
  virtual ~shape() = default;
  [[nodiscard]] virtual int area() const { return 0; }
};
struct square : shape {
  explicit square(int new_side = 1) : side(new_side) {
    if (side < 0) throw std::invalid_argument("a side below zero");
  }
  [[nodiscard]] int area() const override { return side * side; }
  int side;
};
struct alignas(64) wide_square : square {
  using square::square;
};
template <std::size_t Alignment>
struct alignas(Alignment) plain : cistern::pooled<plain<Alignment>> {
  explicit plain(int first = 0) : values{first} {
    if (first < 0) throw std::invalid_argument("a value below zero");
  }
  int values[20];
};

template <class T>
void use_pooled(int argument) {
  try {
    delete new T(argument);
    delete new (std::nothrow) T(argument);
    delete[] new T[3];
    delete[] new T[3]{T(argument), T(argument), T(argument)};
    delete[] new (std::nothrow) T[3];
    ::delete ::new T(argument);
    alignas(T) std::byte room[sizeof(T)];
    std::destroy_at(new (room) T(argument));
    const auto owned = std::make_unique<T>(argument);
    const auto shared = std::make_shared<T>(argument);
    require(argument >= 0, "a constructor should have thrown");
  } catch (const std::invalid_argument&) {
    require(argument < 0, "a constructor should not have thrown");
  }
}

void use_pooled_classes() {
  for (int argument : {1, -1}) {
    use_pooled<plain<8>>(argument);
    use_pooled<plain<64>>(argument);
    use_pooled<plain<4096>>(argument);
    use_pooled<square>(argument);
    use_pooled<wide_square>(argument);
  }
  std::vector<std::unique_ptr<shape>> shapes;
  shapes.push_back(std::make_unique<square>(3));
  shapes.push_back(std::make_unique<wide_square>(4));
  require(shapes[0]->area() + shapes[1]->area() == 25, "areas");
}

// --- pools and their allocator ---

template <class Resource>
void use_containers(Resource& pool) {
  cistern::pool_allocator<int, Resource> allocator(&pool);
  std::vector<int, cistern::pool_allocator<int, Resource>> numbers(allocator);
  std::list<std::string, cistern::pool_allocator<std::string, Resource>> texts(allocator);
  std::deque<double, cistern::pool_allocator<double, Resource>> queue(allocator);
  std::map<int, int, std::less<>, cistern::pool_allocator<std::pair<const int, int>, Resource>> squares(
      allocator);
  std::unordered_map<int, int, std::hash<int>, std::equal_to<>,
                     cistern::pool_allocator<std::pair<const int, int>, Resource>>
      cubes(0, std::hash<int>(), std::equal_to<>(), allocator);
  for (int i = 0; i < 100; ++i) {
    numbers.push_back(i);
    texts.emplace_back(100, 'x');
    queue.push_front(i);
    squares[i] = i * i;
    cubes[i] = i * i * i;
  }
  const auto shared = std::allocate_shared<std::string>(allocator, "shared");
  auto moved = std::move(numbers);
  auto copied = texts;
  require(moved.size() == 100 && copied == texts && squares[9] == 81 && cubes[3] == 27, "containers");

  std::pmr::vector<std::pmr::string> others(&pool);
  others.resize(100);
  const auto block = pool.allocate_at_least(100, 8);
  pool.deallocate(block.ptr, block.bytes, 8);
  pool.deallocate(pool.allocate(4096, 4096), 4096, 4096);
  require(pool.good_size(100) >= 100 && pool.statistics().in_use_bytes > 0, "accounts");
}

void use_pools() {
  cistern::testing::checking_resource upstream;
  cistern::unsynchronized_pool_resource single(cistern::pool_options{.max_idle_bytes = std::size_t{1} << 20},
                                               &upstream);
  use_containers(single);
  cistern::synchronized_pool_resource shared(std::pmr::pool_options{}, &upstream);
  use_containers(shared);
  use_containers(*cistern::process_pool());
  single.release();
  (void)shared.trim();
  require(!to_json(shared.statistics()).empty() && !to_openmetrics(single.statistics(), "single").empty(),
          "texts");
  require(
      !cistern::to_openmetrics({{"shared", shared.statistics()}, {"single", single.statistics()}}).empty(),
      "texts of several");
  std::ostringstream text;
  text << shared.statistics();
  require(!text.str().empty(), "text of statistics");
  cistern::page_resource pages;
  const std::pmr::vector<int> ones(1000, 1, &pages);
  require(ones.back() == 1 && pages.is_equal(*cistern::pages()) && !pages.is_equal(upstream), "pages");
}

// --- bytes ---

void use_bytes() {
  cistern::unsynchronized_pool_resource pool;
  cistern::buffer bytes(&pool);
  bytes.append("a line\nand another").push_back('!');
  bytes.put_be(std::uint32_t{7});
  bytes.put_le(std::int64_t{-7});
  bytes.prepend("first ");
  bytes.append_utf8(U'\u00e4');
  std::ranges::fill(bytes.prepare(10), std::byte{'x'});
  bytes.commit(10);
  require(bytes.read_until('\n').view == "first a line\n" && bytes.next(3) == "and" && bytes.unread_byte(),
          "lines");
  require(bytes.read_utf8().has_value() && bytes.read_byte() == ' ', "characters");
  (void)bytes.get_be<std::uint16_t>();
  (void)bytes.get_le<std::uint64_t>();
  std::string written;
  (void)cistern::buffer(bytes).write_to([&](std::span<const std::byte> part) {
    written.append(reinterpret_cast<const char*>(part.data()), part.size());
    return part.size();
  });
  int reads = 0;
  (void)bytes.read_from([&](std::span<std::byte> room) {
    std::ranges::fill(room.first(1), std::byte{'r'});
    return reads++ < 3 ? std::size_t{1} : std::size_t{0};
  });
  cistern::buffer_ostream(bytes) << "streamed " << 1.5 << '\n';
  std::string word;
  cistern::buffer_istream(bytes) >> word;
  (void)cistern::print_with(bytes, [](char* room, std::size_t room_bytes) {
    return static_cast<std::size_t>(std::snprintf(room, room_bytes, "%d", 42));
  });
#if defined(__cpp_lib_format)
  (void)cistern::print(bytes, "{} {}", 1, "text");
#endif
  cistern::buffer_dynamic_view view(bytes);
  view.grow(10);
  view.consume(1);

  cistern::byte_lease loan(&pool, 1000);
  loan.bytes()[0] = std::byte{1};
  cistern::byte_lease taken = std::move(loan);
  taken.give_back();

  cistern::chain links(&pool);
  links.append("tail").prepend("head");
  links.adopt(std::move(bytes));
  std::size_t seen = 0;
  links.for_each([&](std::span<const std::byte> part) { seen += part.size(); });
  cistern::chain rest = links.split(4);
  rest.splice(std::move(links));
  require(seen == rest.size() && rest.flatten().size() == seen, "chain");
}

// --- objects ---

struct connection {
  int number = 0;
  std::string state;
};
struct connecting {
  connection create() { return {++made, "open"}; }
  void reset(connection& one) { one.state.clear(); }
  bool validate(const connection& one) { return one.number > 0; }
  void destroy(connection&& one) { one.number = 0; }
  int made = 0;
};

struct started {
  struct promise_type {
    started get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

template <class Pool>
started acquire_later(Pool& pool, int& acquired) {
  auto first = co_await pool.acquire_async();
  ++acquired;
  auto second = co_await pool.acquire_async([](std::coroutine_handle<> self) { self.resume(); });
  ++acquired;
}

template <class Policy>
void use_object_pool() {
  cistern::unsynchronized_pool_resource memory;
  cistern::object_pool<connection, connecting, Policy> pool({.max_size = 4}, {}, &memory);
  {
    auto one = pool.acquire();
    one->state = "used";
    auto two = pool.try_acquire();
    auto three = pool.acquire_for(std::chrono::seconds(1));
    require(two.has_value() && one->number != three->number, "leases");
    cistern::lease<connection> kept = std::move(one);
    (void)std::move(three).detach();
  }
  (void)pool.adopt(connection{100, "adopted"});
  pool.warm(2);
  (void)pool.evict_if([](const connection& each) { return each.number > 50; });
  int acquired = 0;
  acquire_later(pool, acquired);
  require(acquired == 2, "coroutine");
  (void)pool.trim();
  (void)pool.maintain();
  require(!to_json(pool.statistics()).empty() && pool.drain(std::chrono::seconds(1)).drained(), "drain");

  auto functions = cistern::make_object_pool<Policy>(
      {.max_size = 2}, [] { return std::make_unique<int>(1); }, [](std::unique_ptr<int>& one) { *one = 0; },
      [](const std::unique_ptr<int>& one) { return one != nullptr; });
  require(*functions.acquire() != nullptr, "functions");
  functions.close();
  try {
    (void)functions.acquire();
    require(false, "a closed pool gave out an object");
  } catch (const cistern::pool_error& error) {
    require(error.code() == cistern::pool_errc::closed, "error of a closed pool");
  }
}

// --- adaptors and the testing kit ---

void use_adaptors() {
  cistern::testing::checking_resource upstream;
  cistern::limit_adaptor limit(std::size_t{1} << 20, &upstream);
  cistern::statistics_adaptor counted(&limit);
  cistern::guarding_adaptor guarded(cistern::guarding_options{}, &counted);
  cistern::sampling_guard_adaptor sampled({.one_in = 10, .slots = 8}, &guarded);
  cistern::fallback_adaptor fallback(&sampled, &upstream);
  cistern::failure_adaptor roomy([](std::size_t, std::size_t) { return false; }, &fallback);
  std::vector<std::byte> trace;
  {
    cistern::recording_adaptor recorded(
        [&](std::span<const std::byte> part) { trace.insert(trace.end(), part.begin(), part.end()); },
        &roomy);
    std::pmr::map<int, std::pmr::string> names(&recorded);
    for (int i = 0; i < 50; ++i) names[i] = "a name that is too long to be stored in place";
    names.clear();
    recorded.close();
  }
  require(sampled.statistics().slots == 8, "slots of the sampled guard");
  cistern::trace_reader reader(cistern::trace_from_memory(trace));
  cistern::unsynchronized_pool_resource pool;
  require(cistern::replay(reader, &pool).resource_passed(), "replay");
}

struct subject : cistern::testing::conformance_subject {
  static std::unique_ptr<cistern::unsynchronized_pool_resource> make(std::pmr::memory_resource* upstream) {
    return std::make_unique<cistern::unsynchronized_pool_resource>(upstream);
  }
};

void use_testing_kit() {
  require(cistern::testing::conformance_failures<subject>().empty(), "conformance");
  cistern::testing::checking_resource upstream;
  cistern::testing::failing_resource failing(&upstream);
  const auto swept = cistern::testing::fail_every_allocation(failing, [&] {
    std::pmr::vector<std::pmr::string> texts(&failing);
    texts.emplace_back("a text that is too long to be stored in place");
  });
  require(swept.failed_runs > 0, "sweep");
}

}  // namespace

int main() {
  use_pooled_classes();
  use_pools();
  use_bytes();
  use_object_pool<cistern::shared>();
  use_object_pool<cistern::per_thread>();
  use_adaptors();
  use_testing_kit();
}
