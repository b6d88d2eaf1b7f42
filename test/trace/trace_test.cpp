// Traces as wholes: what is written is read, in memory, in files and in streams; the words for what they
// hold.
#include <cistern/adaptor/trace.hpp>
#include <cistern/adaptor/trace_reader.hpp>
#include <cistern/adaptor/trace_writer.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/trace_support.hpp"
#include <unistd.h>

using cistern::trace_call;
using cistern::trace_ending;
using cistern::trace_event;
using cistern::trace_fault;
using cistern::trace_reader;
using cistern::trace_writer;
using namespace cistern::test_support;  // NOLINT(google-build-using-namespace)

namespace {

class temporary_file {
 public:
  temporary_file()
      : path_(std::filesystem::temp_directory_path() / ("cistern-trace-" + std::to_string(::getpid()))) {}
  ~temporary_file() { std::filesystem::remove(path_); }
  temporary_file(const temporary_file&) = delete;
  temporary_file& operator=(const temporary_file&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(what_is_written_is_read) {
  for (const std::size_t buffer_bytes : {0u, 300u, 65536u, 100'000'000u}) {
    for (const std::size_t count : {0u, 1u, 2u, 1000u}) {
      const auto events = random_events(count, count + buffer_bytes);
      BOOST_TEST((events_of(written(events, buffer_bytes)) == events));
    }
  }
}

BOOST_AUTO_TEST_CASE(files) {
  const temporary_file file;
  const auto events = random_events(500, 8);
  {
    trace_writer writer(cistern::trace_to_file(file.path()), 1000);
    for (const trace_event& event : events) writer.write(event);
    writer.close();
  }
  trace_reader reader(cistern::trace_from_file(file.path()));
  std::vector<trace_event> read;
  for (trace_event event; reader.next(event);) read.push_back(event);
  BOOST_TEST((read == events));
  BOOST_CHECK_THROW((void)cistern::trace_from_file("/no/such/folder/trace"), std::system_error);
  BOOST_CHECK_THROW((void)cistern::trace_to_file("/no/such/folder/trace"), std::system_error);
  BOOST_CHECK_THROW(trace_reader(cistern::trace_from_file("/")), std::system_error);
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_an_error) {
  if (!std::filesystem::exists("/dev/full")) return;
  trace_writer writer(cistern::trace_to_file("/dev/full"));
  BOOST_CHECK_THROW(writer.close(), std::system_error);
}

BOOST_AUTO_TEST_CASE(streams) {
  const auto events = random_events(500, 9);
  std::stringstream stream;
  trace_writer writer(cistern::trace_to_stream(stream), 1000);
  for (const trace_event& event : events) writer.write(event);
  writer.close();
  trace_reader reader(cistern::trace_from_stream(stream));
  std::vector<trace_event> read;
  for (trace_event event; reader.next(event);) read.push_back(event);
  BOOST_TEST((read == events));

  std::ostringstream broken;
  broken.setstate(std::ios_base::badbit);
  trace_writer failing(cistern::trace_to_stream(broken));
  BOOST_CHECK_THROW(failing.flush(), std::ios_base::failure);
  std::istringstream bad;
  bad.setstate(std::ios_base::badbit);
  BOOST_CHECK_THROW(trace_reader(cistern::trace_from_stream(bad)), std::ios_base::failure);
}

BOOST_AUTO_TEST_CASE(calls_and_faults_have_words_of_their_own) {
  std::set<std::string> words;
  for (const trace_call call :
       {trace_call::allocate, trace_call::deallocate, trace_call::failed_allocate, trace_call::reallocate}) {
    words.insert(to_string(call));
  }
  for (const trace_fault fault : {trace_fault::not_a_trace, trace_fault::unknown_version,
                                  trace_fault::truncated, trace_fault::corrupt}) {
    words.insert(to_string(fault));
  }
  for (const trace_ending ending :
       {trace_ending::closed, trace_ending::size_limit, trace_ending::write_error}) {
    words.insert(to_string(ending));
  }
  BOOST_TEST(words.size() == 11U);
}

BOOST_AUTO_TEST_CASE(an_error_says_what_was_found_and_where) {
  const cistern::trace_error error(trace_fault::corrupt, "a spoon", 12);
  BOOST_TEST(error.what() == std::string("cistern trace: corrupt: a spoon at byte 12"));
  BOOST_TEST((error.fault() == trace_fault::corrupt));
  BOOST_TEST(error.offset_bytes() == 12U);
}
