// cistern::buffer_dynamic_view with Boost.Asio, in both versions of its dynamic buffers, over loopback
// sockets.
#include <cistern/buffer_dynamic_view.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <boost/asio.hpp>
#include <boost/mpl/list.hpp>
#include <boost/test/unit_test.hpp>

#include "../support/texts.hpp"

namespace asio = boost::asio;
using asio::ip::tcp;
using cistern::buffer;
using cistern::buffer_dynamic_view;
using cistern::test_support::letters;

namespace {

static_assert(asio::is_dynamic_buffer_v1<buffer_dynamic_view>::value);
static_assert(asio::is_dynamic_buffer_v2<buffer_dynamic_view>::value);
static_assert(asio::is_const_buffer_sequence<buffer_dynamic_view::const_buffers_type>::value);
static_assert(asio::is_mutable_buffer_sequence<buffer_dynamic_view::mutable_buffers_type>::value);
// The buffer itself must not pass for one, or Asio would take it by value.
static_assert(!asio::is_dynamic_buffer<buffer>::value);

/// Only the first version: Asio prefers the second where it finds both.
class version_1 {
 public:
  using const_buffers_type = buffer_dynamic_view::const_buffers_type;
  using mutable_buffers_type = buffer_dynamic_view::mutable_buffers_type;
  explicit version_1(buffer_dynamic_view view) : view_(view) {}
  std::size_t size() const { return view_.size(); }
  std::size_t max_size() const { return view_.max_size(); }
  std::size_t capacity() const { return view_.capacity(); }
  const_buffers_type data() const { return view_.data(); }
  mutable_buffers_type prepare(std::size_t n) { return view_.prepare(n); }
  void commit(std::size_t n) { view_.commit(n); }
  void consume(std::size_t n) { view_.consume(n); }

 private:
  buffer_dynamic_view view_;
};

static_assert(asio::is_dynamic_buffer_v1<version_1>::value);
static_assert(!asio::is_dynamic_buffer_v2<version_1>::value);

/// Two connected sockets on loopback.
struct connection {
  connection() {
    tcp::acceptor acceptor(context, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    near.connect(acceptor.local_endpoint());
    acceptor.accept(far);
  }
  asio::io_context context;
  tcp::socket near{context};
  tcp::socket far{context};
};

struct fixture : connection {
  cistern::testing::checking_resource memory;
  buffer in{&memory};
  buffer out{&memory};
  std::string large = letters(300'000);
};

template <class View>
View make_view(buffer& b) {
  return View(buffer_dynamic_view(b));
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(dynamic_view, fixture)

using versions = boost::mpl::list<version_1, buffer_dynamic_view>;

BOOST_AUTO_TEST_CASE_TEMPLATE(read_to_the_end, View, versions) {
  fixture f;
  std::thread writer([&] {
    asio::write(f.far, asio::buffer(f.large));
    f.far.shutdown(tcp::socket::shutdown_send);
  });
  boost::system::error_code error;
  const std::size_t n = asio::read(f.near, make_view<View>(f.in), error);
  writer.join();
  BOOST_TEST(error == asio::error::eof);
  BOOST_TEST(n == f.large.size());
  BOOST_TEST((f.in.view() == f.large));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(read_exactly, View, versions) {
  fixture f;
  asio::write(f.far, asio::buffer(f.large.substr(0, 1'000)));
  BOOST_TEST(asio::read(f.near, make_view<View>(f.in), asio::transfer_exactly(700)) == 700U);
  BOOST_TEST(asio::read(f.near, make_view<View>(f.in), asio::transfer_exactly(300)) == 300U);
  BOOST_TEST((f.in.view() == f.large.substr(0, 1'000)));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(read_until_a_delimiter, View, versions) {
  fixture f;
  asio::write(f.far, asio::buffer(std::string("first\r\nsecond\r\nthird")));
  f.far.shutdown(tcp::socket::shutdown_send);
  for (const std::string expected : {"first\r\n", "second\r\n"}) {
    const std::size_t n = asio::read_until(f.near, make_view<View>(f.in), "\r\n");
    BOOST_TEST(n == expected.size());
    BOOST_TEST(f.in.next(n) == expected);
  }
  boost::system::error_code error;
  BOOST_TEST(asio::read_until(f.near, make_view<View>(f.in), '\n', error) == 0U);
  BOOST_TEST(error == asio::error::eof);
  BOOST_TEST(f.in.view() == "third");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(write_everything, View, versions) {
  fixture f;
  f.out.append(f.large);
  std::string got(f.large.size(), '\0');
  std::thread reader([&] { asio::read(f.far, asio::buffer(got)); });
  BOOST_TEST(asio::write(f.near, make_view<View>(f.out)) == f.large.size());
  reader.join();
  BOOST_TEST((got == f.large));
  BOOST_TEST(f.out.empty());  // a write consumes
}

BOOST_AUTO_TEST_CASE_TEMPLATE(asynchronous_echo, View, versions) {
  fixture f;
  // The far end reads lines and writes each back; the near end sends all of them and checks what returns.
  const std::string lines = "one\ntwo\n" + f.large + "\nlast\n";
  buffer far_in(&f.memory);
  buffer far_out(&f.memory);
  std::size_t echoed = 0;
  std::function<void()> serve = [&] {
    asio::async_read_until(f.far, make_view<View>(far_in), '\n',
                           [&](boost::system::error_code error, std::size_t n) {
                             if (error) return;
                             far_out.append(far_in.next(n));
                             ++echoed;
                             asio::async_write(f.far, make_view<View>(far_out),
                                               [&](boost::system::error_code failed, std::size_t) {
                                                 BOOST_TEST(!failed);
                                                 serve();
                                               });
                           });
  };
  serve();
  f.out.append(lines);
  asio::async_write(f.near, make_view<View>(f.out), [&](boost::system::error_code error, std::size_t n) {
    BOOST_TEST(!error);
    BOOST_TEST(n == lines.size());
  });
  asio::async_read(f.near, make_view<View>(f.in), asio::transfer_exactly(lines.size()),
                   [&](boost::system::error_code error, std::size_t) {
                     BOOST_TEST(!error);
                     f.far.cancel();
                   });
  f.context.run();
  BOOST_TEST(echoed == 4U);
  BOOST_TEST((f.in.view() == lines));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(asynchronous_read_to_the_end, View, versions) {
  fixture f;
  f.out.append(f.large);
  boost::system::error_code end;
  asio::async_write(f.far, make_view<View>(f.out), [&](boost::system::error_code, std::size_t) {
    f.far.shutdown(tcp::socket::shutdown_send);
  });
  asio::async_read(f.near, make_view<View>(f.in),
                   [&](boost::system::error_code error, std::size_t) { end = error; });
  f.context.run();
  BOOST_TEST(end == asio::error::eof);
  BOOST_TEST((f.in.view() == f.large));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_limit_ends_reading, View, versions) {
  fixture f;
  const auto limited = [&](std::size_t limit) { return View(buffer_dynamic_view(f.in, limit)); };
  asio::write(f.far, asio::buffer(f.large.substr(0, 1'000)));
  boost::system::error_code error;
  asio::read_until(f.near, limited(100), '\n', error);
  BOOST_TEST(error == asio::error::not_found);
  BOOST_TEST((f.in.view() == f.large.substr(0, 100)));
  f.in.max_size(100);
  asio::read_until(f.near, make_view<View>(f.in), '\n', error);
  BOOST_TEST(error == asio::error::not_found);
  BOOST_TEST(f.in.size() == 100U);
}

BOOST_AUTO_TEST_CASE(the_members_of_version_1) {
  buffer_dynamic_view view(in, 10);
  BOOST_TEST(view.max_size() == 10U);
  BOOST_CHECK_THROW((void)view.prepare(11), std::length_error);
  auto room = view.prepare(10);
  BOOST_TEST(room[0].size() == 10U);
  large.copy(static_cast<char*>(room[0].data()), 10);
  view.commit(99);  // at most what was prepared
  BOOST_TEST(view.size() == 10U);
  BOOST_CHECK_THROW(view.commit(1), std::logic_error);  // all of it has been
  BOOST_TEST(view.size() == 10U);
  BOOST_TEST(view.data()[0].size() == 10U);
  view.consume(3);
  BOOST_TEST(in.view() == "defghij");
  view.consume(99);
  BOOST_TEST(in.empty());
}

BOOST_AUTO_TEST_CASE(any_copy_commits_what_another_prepared) {
  buffer_dynamic_view first(in);
  buffer_dynamic_view second = first;
  const auto room = first.prepare(512);
  large.copy(static_cast<char*>(room[0].data()), 5);
  second.commit(5);
  BOOST_TEST(in.view() == "abcde");
  BOOST_CHECK_THROW(first.commit(5), std::logic_error);  // once
  (void)second.prepare(5);
  in.append("x");  // takes the place of what was prepared
  BOOST_CHECK_THROW(first.commit(5), std::logic_error);
  BOOST_TEST(in.view() == "abcdex");

  in.clear();
  asio::write(far, asio::buffer("hello", 5));
  near.async_read_some(first.prepare(512),
                       [copy = second](boost::system::error_code, std::size_t n) mutable { copy.commit(n); });
  context.run();
  BOOST_TEST(in.view() == "hello");
}

BOOST_AUTO_TEST_CASE(the_members_of_version_2) {
  buffer_dynamic_view view(in, 10);
  const buffer_dynamic_view copy = view;
  BOOST_CHECK_THROW(view.grow(11), std::length_error);
  view.grow(6);
  large.copy(static_cast<char*>(view.data(0, 6)[0].data()), 6);
  BOOST_CHECK_THROW(view.grow(5), std::length_error);
  BOOST_TEST(copy.size() == 6U);  // the same buffer
  BOOST_TEST(copy.data(2, 3)[0].size() == 3U);
  BOOST_TEST(copy.data(2, 99)[0].size() == 4U);
  BOOST_TEST(copy.data(7, 1)[0].size() == 0U);
  view.shrink(2);
  BOOST_TEST(in.view() == "abcd");
  view.shrink(99);
  BOOST_TEST(in.empty());
  BOOST_TEST(view.capacity() <= 10U);
}

BOOST_AUTO_TEST_SUITE_END()
