// What growing costs: bytes moved, allocations and capacity, counted on traces; never time.
#include <cistern/buffer.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <cstddef>
#include <random>
#include <string>

#include <boost/test/unit_test.hpp>

using cistern::buffer;
using cistern::testing::checking_resource;

namespace {

/// A buffer that is watched: whenever its unread part lies elsewhere after a write, all of it was moved.
class watched_buffer {
 public:
  explicit watched_buffer(std::pmr::memory_resource* memory) : buffer_(memory) {}

  void append(std::size_t n) {
    piece_.resize(n, 'x');
    watch(n, [&] { buffer_.append(piece_); });
  }
  void prepare_and_commit(std::size_t n) {
    watch(n, [&] {
      (void)buffer_.prepare(n);
      buffer_.commit(n);
    });
  }
  void push_back() {
    watch(1, [&] { buffer_.push_back('x'); });
  }
  void consume(std::size_t n) { buffer_.consume(n); }

  [[nodiscard]] std::size_t size() const { return buffer_.size(); }
  [[nodiscard]] std::size_t moved_bytes() const { return moved_bytes_; }
  [[nodiscard]] const buffer& watched() const { return buffer_; }

  void check(double most_moved = 1.4) const {
    BOOST_TEST_MESSAGE("moved " << static_cast<double>(moved_bytes_) / static_cast<double>(appended_bytes_)
                                << " per byte, capacity "
                                << static_cast<double>(buffer_.capacity()) /
                                       static_cast<double>(peak_bytes_));
    BOOST_TEST(static_cast<double>(moved_bytes_) <= most_moved * static_cast<double>(appended_bytes_));
    BOOST_TEST(static_cast<double>(buffer_.capacity()) <= 2.5 * static_cast<double>(peak_bytes_));
  }

 private:
  template <class Write>
  void watch(std::size_t n, Write write) {
    const std::size_t live = buffer_.size();
    const char* const before = buffer_.view().data();
    write();
    moved_bytes_ += buffer_.view().data() != before ? live : 0;
    appended_bytes_ += n;
    peak_bytes_ = std::max(peak_bytes_, buffer_.size());
  }

  buffer buffer_;
  std::string piece_;
  std::size_t moved_bytes_ = 0;
  std::size_t appended_bytes_ = 0;
  std::size_t peak_bytes_ = 0;
};

}  // namespace

BOOST_AUTO_TEST_CASE(append_only_traces) {
  checking_resource memory;
  for (const std::size_t piece : {1U, 7U, 100U, 4'096U, 70'000U}) {
    watched_buffer b(&memory);
    while (b.size() < 1'000'000) b.append(piece);
    b.check(2.0);  // the worst moment of doubling, right after a move
  }
  watched_buffer b(&memory);
  while (b.size() < std::size_t{1} << 20) b.push_back();
  b.check();
}

BOOST_AUTO_TEST_CASE(messages_of_all_sizes_move_little_on_average) {
  checking_resource memory;
  std::mt19937 random(1);
  std::size_t moved = 0;
  std::size_t appended = 0;
  for (std::size_t message = 1'024; message < std::size_t{1} << 18; message += message / 50) {
    watched_buffer b(&memory);
    while (b.size() < message) b.append(1 + random() % 20);
    moved += b.moved_bytes();
    appended += b.size();
  }
  BOOST_TEST(static_cast<double>(moved) <= 1.45 * static_cast<double>(appended));  // doubling: 1 / ln 2
}

BOOST_AUTO_TEST_CASE(a_first_small_append_takes_256_bytes_and_a_stated_size_just_that) {
  checking_resource memory;
  watched_buffer small(&memory);
  small.append(1);
  BOOST_TEST(small.watched().capacity() == 256U);
  while (small.size() < 103) small.push_back();
  small.check();  // from here on the capacity is within 2.5 times the largest unread part
  buffer stated(&memory);
  stated.reserve_more(1);
  BOOST_TEST(stated.capacity() == 16U);
  stated.append(std::string(16, 'x'));
  stated.push_back('x');
  BOOST_TEST(stated.capacity() == 32U);
}

BOOST_AUTO_TEST_CASE(queue_traces_of_every_fill) {
  checking_resource memory;
  for (std::size_t live = 128; live < 100'000; live += live / 5 + 1) {
    for (const std::size_t piece : {std::size_t{1}, live / 10 + 1, live}) {
      watched_buffer b(&memory);
      b.append(live);
      for (std::size_t total = 0; total < 20 * live; total += piece) {
        b.consume(piece);
        b.prepare_and_commit(piece);
      }
      b.check();
    }
  }
}

BOOST_AUTO_TEST_CASE(random_traces) {
  checking_resource memory;
  for (unsigned seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    watched_buffer b(&memory);
    std::size_t target = 1'000;
    for (int i = 0; i < 20'000; ++i) {
      if (i % 1'000 == 0) target = 100 + random() % 50'000;  // the queue grows and shrinks
      b.append(1 + random() % 300);
      if (b.size() > target) b.consume(random() % (2 * (b.size() - target) + 1));
    }
    b.check();
  }
}

BOOST_AUTO_TEST_CASE(a_full_buffer_does_not_move_everything_for_every_byte) {
  checking_resource memory;
  watched_buffer b(&memory);
  const std::size_t full = std::size_t{1} << 20;
  b.append(full);
  BOOST_TEST(b.watched().available() == 0U);
  for (std::size_t i = 0; i < 3 * full; ++i) {
    b.consume(1);
    b.push_back();
  }
  b.check();
  BOOST_TEST(memory.allocations() <= 2U);
}

BOOST_AUTO_TEST_CASE(nor_does_one_at_its_size_limit) {
  checking_resource memory;
  buffer b(&memory);
  const std::size_t full = 100'000;
  b.max_size(full);
  b.append(std::string(full, 'x'));
  std::size_t moves = 0;
  for (std::size_t i = 0; i < 3 * full; ++i) {
    b.consume(1);
    const char* const before = b.view().data();
    b.push_back('y');
    moves += b.view().data() != before ? 1U : 0U;
  }
  BOOST_TEST(b.size() == full);
  BOOST_TEST(moves <= 5U);
}

BOOST_AUTO_TEST_CASE(the_capacity_is_a_whole_block) {
  checking_resource memory;
  for (std::size_t n = 1; n < 100'000; n += n / 7 + 1) {
    const std::string text(n, 'x');
    buffer appended(&memory);
    appended.append(text);
    BOOST_TEST(appended.capacity() == cistern::detail::good_size(std::max<std::size_t>(n, 256)));
    buffer reserved(&memory);
    reserved.reserve_more(n);
    BOOST_TEST(reserved.capacity() == cistern::detail::good_size(n));
    buffer prepared(&memory);
    (void)prepared.prepare(n);
    BOOST_TEST(prepared.capacity() == cistern::detail::good_size(n));
    const buffer constructed(text, &memory);
    BOOST_TEST(constructed.capacity() == cistern::detail::good_size(n));
    const buffer copied(constructed, &memory);
    BOOST_TEST(copied.capacity() == cistern::detail::good_size(n));
    BOOST_TEST(memory.outstanding_bytes() == appended.capacity() + reserved.capacity() + prepared.capacity() +
                                                 constructed.capacity() + copied.capacity());
  }
}

BOOST_AUTO_TEST_CASE(growth_follows_the_rule) {
  checking_resource memory;
  buffer b(&memory);
  b.append(std::string(1'000, 'x'));
  b.append(std::string(b.available() + 1, 'x'));
  BOOST_TEST(b.capacity() == cistern::detail::good_size(2 * 1'024));  // doubled
  b.append(std::string(10'000, 'x'));
  BOOST_TEST(b.capacity() == cistern::detail::good_size(1'025 + 10'000));  // what is needed
  b.consume(b.size() - 10);
  const auto allocations = memory.allocations();
  b.append(std::string(b.available() + 1, 'x'));
  BOOST_TEST(memory.allocations() == allocations);  // moved to the front
}

BOOST_AUTO_TEST_CASE(building_a_message_asks_a_warm_pool_for_nothing) {
  checking_resource memory;
  cistern::unsynchronized_pool_resource pool(&memory);
  const auto build = [&] {
    buffer b(&pool);
    for (int i = 0; i < 200; ++i) b.append("a field of a message;");
  };
  build();
  const auto calls = memory.allocations();
  for (int i = 0; i < 100; ++i) build();
  BOOST_TEST(memory.allocations() == calls);
}

BOOST_AUTO_TEST_CASE(a_large_buffer_does_not_keep_its_memory_for_ever) {
  const std::size_t large = std::size_t{16} << 20;
  const std::size_t kept = std::size_t{1} << 20;
  checking_resource memory;
  cistern::unsynchronized_pool_resource pool(cistern::pool_options{.max_idle_bytes = kept}, &memory);
  buffer b(&pool);
  b.append(std::string(large, 'x'));
  b.reset();
  BOOST_TEST(pool.statistics().idle_bytes <= kept);
  BOOST_TEST(memory.outstanding_bytes() <= 2 * kept);
}
