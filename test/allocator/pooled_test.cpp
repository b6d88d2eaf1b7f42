// pooled: every form of new and delete of a class, its derived classes and arrays goes through the process's
// pool.
#include <cistern/pooled.hpp>

#include <array>
#include <coroutine>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/pool_checks.hpp"
#include "../support/threads.hpp"

using cistern::pooled;
using cistern::process_pool;

namespace {

std::size_t in_use_bytes() {
  return process_pool()->statistics().in_use_bytes;
}

// What the pool has in use beyond what it had when this was made.
class usage {
 public:
  [[nodiscard]] std::size_t bytes() const { return in_use_bytes() - before_; }

 private:
  std::size_t before_ = in_use_bytes();
};

struct order : pooled<order> {
  int number = 7;
  double price = 1.5;
};
struct plain_order {
  int number = 7;
  double price = 1.5;
};
// The base costs nothing.
static_assert(sizeof(order) == sizeof(plain_order));
static_assert(std::is_empty_v<pooled<order>> && std::is_trivial_v<pooled<order>>);
static_assert(std::is_standard_layout_v<order> && std::is_trivially_copyable_v<order>);

struct first_member_is_pooled_too : pooled<first_member_is_pooled_too> {
  order inner;
};
static_assert(sizeof(first_member_is_pooled_too) == sizeof(order));

// An aggregate stays one.
struct point : pooled<point> {
  int x;
  int y;
};
static_assert(std::is_aggregate_v<point>);

struct alignas(128) wide : pooled<wide> {
  std::array<std::byte, 200> bytes;
};

struct alignas(16) half_wide : pooled<half_wide> {
  std::array<std::byte, 48> bytes;
};

struct with_destructor : pooled<with_destructor> {
  static inline int alive = 0;
  std::string text = "a text that is too long to be stored in place";
  with_destructor() { ++alive; }
  with_destructor(const with_destructor&) = delete;
  with_destructor& operator=(const with_destructor&) = delete;
  ~with_destructor() { --alive; }
};

struct shape : pooled<shape> {
  shape() = default;
  shape(const shape&) = delete;
  shape& operator=(const shape&) = delete;
  virtual ~shape() = default;
  [[nodiscard]] virtual std::size_t bytes() const { return sizeof(shape); }
};
struct large_shape : shape {
  std::array<std::byte, 5000> body{};
  [[nodiscard]] std::size_t bytes() const override { return sizeof(large_shape); }
};
struct alignas(256) aligned_shape : shape {
  std::array<std::byte, 300> body{};
  [[nodiscard]] std::size_t bytes() const override { return sizeof(aligned_shape); }
};

// Throws from its constructor while `countdown` is 1.
template <std::size_t Bytes, std::size_t Alignment>
struct alignas(Alignment) throwing : pooled<throwing<Bytes, Alignment>> {
  static inline int countdown = 0;
  std::array<std::byte, Bytes> body;
  throwing() {  // NOLINT(cppcoreguidelines-pro-type-member-init)
    if (countdown != 0 && --countdown == 0) throw std::runtime_error("no");
  }
  ~throwing() { body[0] = std::byte{}; }  // so that arrays count their elements
};

template <class T>
bool aligned(const T* object) {
  return reinterpret_cast<std::uintptr_t>(object) % alignof(T) == 0;
}

}  // namespace

BOOST_AUTO_TEST_CASE(single_objects_come_from_the_pool) {
  const usage used;
  auto* const one = new order;
  BOOST_TEST(one->number == 7);
  BOOST_TEST(used.bytes() == sizeof(order));
  delete one;
  BOOST_TEST(used.bytes() == 0U);
  {
    const auto unique = std::make_unique<order>();
    const std::shared_ptr<order> shared(new order);
    BOOST_TEST(used.bytes() == 2 * sizeof(order));
  }
  BOOST_TEST(used.bytes() == 0U);
  delete static_cast<order*>(nullptr);
}

BOOST_AUTO_TEST_CASE(no_byte_is_wasted_on_alignment_that_no_object_of_that_size_has) {
  struct three_words : pooled<three_words> {
    std::array<void*, 3> words;
  };
  const usage used;
  const auto one = std::make_unique<three_words>();
  BOOST_TEST(used.bytes() == 24U);
}

BOOST_AUTO_TEST_CASE(arrays_come_from_the_pool) {
  const usage used;
  for (const std::size_t count : {0U, 1U, 2U, 7U, 1000U, 100'000U}) {
    auto* const trivial = new order[count];
    BOOST_TEST(used.bytes() >= count * sizeof(order));
    delete[] trivial;
    BOOST_TEST(used.bytes() == 0U);
    auto* const others = new with_destructor[count];
    BOOST_TEST(with_destructor::alive == static_cast<int>(count));
    delete[] others;
    BOOST_TEST(with_destructor::alive == 0);
    BOOST_TEST(used.bytes() == 0U);
    auto* const wides = new wide[count];
    BOOST_TEST(aligned(wides));
    delete[] wides;
    BOOST_TEST(used.bytes() == 0U);
    auto* const half_wides = new half_wide[count];
    BOOST_TEST(aligned(half_wides));
    delete[] half_wides;
    BOOST_TEST(used.bytes() == 0U);
  }
  const std::unique_ptr<with_destructor[]> owned(new with_destructor[3]);
}

BOOST_AUTO_TEST_CASE(over_aligned_objects_are_aligned) {
  const usage used;
  std::vector<std::unique_ptr<wide>> wides;
  std::vector<std::unique_ptr<half_wide>> half_wides;
  for (int i = 0; i < 100; ++i) {
    wides.push_back(std::make_unique<wide>());
    half_wides.emplace_back(new (std::nothrow) half_wide);
    BOOST_TEST(aligned(wides.back().get()));
    BOOST_TEST(aligned(half_wides.back().get()));
  }
  wides.emplace_back(new (std::nothrow) wide);
  BOOST_TEST(aligned(wides.back().get()));
  wides.clear();
  half_wides.clear();
  BOOST_TEST(used.bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(derived_classes_are_deleted_through_their_base) {
  const usage used;
  std::vector<std::unique_ptr<shape>> shapes;
  shapes.push_back(std::make_unique<shape>());
  shapes.push_back(std::make_unique<large_shape>());
  shapes.push_back(std::make_unique<aligned_shape>());
  std::size_t bytes = 0;
  for (const auto& each : shapes) bytes += each->bytes();
  BOOST_TEST(used.bytes() >= bytes);
  BOOST_TEST(aligned(static_cast<aligned_shape*>(shapes.back().get())));
  shapes.clear();
  BOOST_TEST(used.bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(placement_new_is_left_alone) {
  const usage used;
  alignas(order) std::array<std::byte, 4 * sizeof(order)> place;
  order* const one = new (place.data()) order;
  BOOST_TEST(static_cast<void*>(one) == static_cast<void*>(place.data()));
  std::destroy_at(one);
  order* const constructed = std::construct_at(reinterpret_cast<order*>(place.data()));
  std::destroy_at(constructed);
  const std::vector<order> many(100);  // ordinary containers construct in place as well
  BOOST_TEST(used.bytes() == 0U);
  using throws = throwing<24, 8>;
  throws::countdown = 1;
  alignas(throws) std::array<std::byte, sizeof(throws)> other_place;
  BOOST_CHECK_THROW(new (other_place.data()) throws, std::runtime_error);
  BOOST_TEST(used.bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(global_new_goes_past_it) {
  const usage used;
  order* const one = ::new order;
  BOOST_TEST(used.bytes() == 0U);
  ::delete one;
}

BOOST_AUTO_TEST_CASE(an_aggregate_is_one_still) {
  const std::unique_ptr<point> a(new point{{}, 1, 2});
  BOOST_TEST(a->x + a->y == 3);
}

namespace {

template <class T>
void check_throwing_constructors() {
  const usage used;
  BOOST_TEST_CONTEXT(sizeof(T) << " bytes aligned to " << alignof(T)) {
    T::countdown = 1;
    BOOST_CHECK_THROW(static_cast<void>(new T), std::runtime_error);
    BOOST_TEST(used.bytes() == 0U);
    T::countdown = 1;
    BOOST_CHECK_THROW(static_cast<void>(new (std::nothrow) T), std::runtime_error);
    BOOST_TEST(used.bytes() == 0U);
    T::countdown = 3;
    BOOST_CHECK_THROW(static_cast<void>(new T[5]), std::runtime_error);
    BOOST_TEST(used.bytes() == 0U);
    T::countdown = 3;
    BOOST_CHECK_THROW(static_cast<void>(new (std::nothrow) T[5]), std::runtime_error);
    BOOST_TEST(used.bytes() == 0U);
    T::countdown = 0;
    // What isn't thrown works as ever.
    const std::unique_ptr<T> one(new (std::nothrow) T);
    const std::unique_ptr<T[]> many(new (std::nothrow) T[5]);
    BOOST_TEST((one != nullptr && many != nullptr));
    BOOST_TEST(aligned(one.get()));
    BOOST_TEST(aligned(many.get()));
  }
  process_pool()->check_invariants();
}

}  // namespace

BOOST_AUTO_TEST_CASE(constructors_that_throw_give_the_memory_back) {
  check_throwing_constructors<throwing<1, 1>>();
  check_throwing_constructors<throwing<24, 8>>();
  check_throwing_constructors<throwing<48, 16>>();
  check_throwing_constructors<throwing<100, 64>>();
  check_throwing_constructors<throwing<5000, 8>>();
  check_throwing_constructors<throwing<5000, 8192>>();        // aligned beyond a page: no bucket's
  check_throwing_constructors<throwing<(40 << 10), 4096>>();  // comes singly
  check_throwing_constructors<throwing<(1 << 20), 8>>();
  check_throwing_constructors<throwing<(40 << 20), 8>>();  // beyond the largest bucket
}

BOOST_AUTO_TEST_CASE(a_throwing_nothrow_new_finds_its_block_among_many) {
  using throws = throwing<40, 8>;
  const usage used;
  std::vector<std::unique_ptr<throws>> others;
  for (int i = 0; i < 20'000; ++i) others.push_back(std::make_unique<throws>());
  const std::size_t bytes = used.bytes();
  for (int i = 0; i < 10; ++i) {
    throws::countdown = 1;
    BOOST_CHECK_THROW(static_cast<void>(new (std::nothrow) throws), std::runtime_error);
    BOOST_TEST(used.bytes() == bytes);
  }
}

BOOST_AUTO_TEST_CASE(sizes_out_of_reach) {
  const usage used;
  const volatile std::size_t most = PTRDIFF_MAX / sizeof(order);
  // Of which kind the exception is where the size overflows is the compiler's.
  BOOST_CHECK_THROW(static_cast<void>(new order[most * 8]), std::bad_alloc);
  BOOST_CHECK_THROW(static_cast<void>(new order[most + most / 2]), std::bad_alloc);
  if constexpr (!cistern::test_support::sanitized) {  // a sanitizer's new ends the program
    BOOST_CHECK_THROW(static_cast<void>(new order[most]), std::bad_alloc);
    BOOST_TEST((new (std::nothrow) order[most] == nullptr));
    const volatile std::size_t most_wide = PTRDIFF_MAX / sizeof(wide);
    BOOST_TEST((new (std::nothrow) wide[most_wide] == nullptr));
  }
  BOOST_TEST(used.bytes() == 0U);
}

namespace {

// Two pooled bases: the class says whose operators it means.
struct buyer : pooled<buyer> {
  int a = 1;
};
struct seller : pooled<seller> {
  int b = 2;
};
struct trader : buyer, seller {
  using pooled<buyer>::operator new;
  using pooled<buyer>::operator delete;
};

// A coroutine's frame is allocated by its promise.
struct task {
  struct promise_type : pooled<promise_type> {
    task get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};

// Inlined, its frame may become part of the caller's, and no memory is asked for.
[[gnu::noinline]] task count_to(int limit, int& count) {
  for (int i = 0; i < limit; ++i) {
    ++count;
    co_await std::suspend_always{};
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_class_with_two_pooled_bases_chooses) {
  const usage used;
  {
    const auto one = std::make_unique<trader>();
    BOOST_TEST(used.bytes() > 0U);
  }
  BOOST_TEST(used.bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(coroutine_frames_come_from_the_pool) {
  const usage used;
  int count = 0;
  const task counting = count_to(3, count);
  BOOST_TEST(used.bytes() > 0U);
  counting.handle.resume();
  counting.handle.resume();
  BOOST_TEST(count == 2);
  counting.handle.destroy();
  BOOST_TEST(used.bytes() == 0U);
}

BOOST_AUTO_TEST_CASE(threads_delete_what_others_made) {
  const usage used;
  std::vector<std::vector<order*>> orders(4);
  cistern::test_support::run_threads(4, [&](std::size_t own) {
    for (int i = 0; i < 5000; ++i) orders[own].push_back(new order);
  });
  cistern::test_support::run_threads(4, [&](std::size_t own) {
    for (const order* each : orders[(own + 1) % 4]) delete each;
  });
  BOOST_TEST(used.bytes() == 0U);
}
