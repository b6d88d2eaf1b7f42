// Standard streams over cistern::buffer.
#include <cistern/buffer_stream.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <iomanip>
#include <new>
#include <stdexcept>
#include <string>

#include <boost/test/unit_test.hpp>

using cistern::buffer;
using cistern::buffer_istream;
using cistern::buffer_ostream;
using cistern::buffer_streambuf;

namespace {

struct fixture {
  cistern::testing::checking_resource memory;
  buffer b{&memory};
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(streams, fixture)

BOOST_AUTO_TEST_CASE(what_is_written_is_in_the_buffer_at_once) {
  buffer_ostream out(b);
  out << "answer " << 42 << ' ' << std::setw(6) << 1.5 << '\n';
  BOOST_TEST(b.view() == "answer 42    1.5\n");
  b.append("direct ");
  out.put('x');
  BOOST_TEST(b.view() == "answer 42    1.5\ndirect x");
  BOOST_TEST((out.rdbuf() == static_cast<std::ostream&>(out).rdbuf()));
  BOOST_TEST((&out.rdbuf()->target() == &b));
}

BOOST_AUTO_TEST_CASE(a_long_write_appends_in_one_go) {
  buffer_ostream out(b);
  const std::string text(100'000, 't');
  out << text;
  BOOST_TEST((b.view() == text));
  BOOST_TEST(memory.allocations() == 1U);
}

BOOST_AUTO_TEST_CASE(what_is_read_is_read_from_the_buffer_at_once) {
  b.append("12 word\nline two\nrest");
  buffer_istream in(b);
  int number = 0;
  std::string word;
  in >> number >> word;
  BOOST_TEST(number == 12);
  BOOST_TEST(word == "word");
  BOOST_TEST(b.view() == "\nline two\nrest");
  b.consume(1);
  std::string line;
  BOOST_TEST(static_cast<bool>(std::getline(in, line)));
  BOOST_TEST(line == "line two");
  BOOST_TEST(b.view() == "rest");
  BOOST_TEST(in.rdbuf()->in_avail() == 4);
  char rest[10];
  in.read(rest, sizeof rest);
  BOOST_TEST(in.gcount() == 4);
  BOOST_TEST(in.eof());
  BOOST_TEST(b.empty());
  BOOST_TEST(in.rdbuf()->in_avail() == -1);
}

BOOST_AUTO_TEST_CASE(more_may_arrive_after_the_end) {
  buffer_istream in(b);
  BOOST_TEST(in.get() == std::char_traits<char>::eof());
  in.clear();
  b.append("x");
  BOOST_TEST(in.peek() == 'x');
  BOOST_TEST(in.get() == 'x');
}

BOOST_AUTO_TEST_CASE(the_last_character_can_be_put_back) {
  b.append("abc");
  buffer_istream in(b);
  in.get();
  in.unget();
  BOOST_TEST(b.view() == "abc");
  in.get();
  in.putback('a');
  BOOST_TEST(b.view() == "abc");
  in.get();
  in.putback('X');  // another one in its place
  BOOST_TEST(b.view() == "Xbc");
  in.unget();  // nothing was read since
  BOOST_TEST(in.bad());
}

BOOST_AUTO_TEST_CASE(reading_and_writing_through_one_stream_buffer) {
  buffer_streambuf both(b);
  std::iostream stream(&both);
  stream << "to and fro";
  std::string word;
  stream >> word;
  BOOST_TEST(word == "to");
  BOOST_TEST(both.sputc('!') == '!');
  BOOST_TEST(b.view() == " and fro!");
  stream.flush();
  BOOST_TEST(stream.good());
}

BOOST_AUTO_TEST_CASE(failing_to_grow_is_badbit_or_an_exception) {
  buffer_ostream out(b);
  b.max_size(3);
  out << "abcd";
  BOOST_TEST(out.bad());
  BOOST_TEST(b.empty());
  out.clear();
  out.exceptions(std::ios_base::badbit);
  BOOST_CHECK_THROW(out << "abcd", std::length_error);
  cistern::testing::failing_resource failing(&memory);
  buffer starved(&failing);
  buffer_ostream starving(starved);
  failing.fail_nth(1);
  starving << "x";
  BOOST_TEST(starving.bad());
  starving.clear();
  starving << "y";
  BOOST_TEST(starved.view() == "y");
}

BOOST_AUTO_TEST_CASE(every_byte_value_passes) {
  buffer_ostream out(b);
  for (int i = 0; i < 256; ++i) out.put(static_cast<char>(i));
  buffer_istream in(b);
  for (int i = 0; i < 256; ++i) BOOST_TEST(in.get() == i);
}

BOOST_AUTO_TEST_SUITE_END()
