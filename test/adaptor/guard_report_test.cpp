// The words of guarding_adaptor's reports: who, what and where, for each kind of fault; and the handler that
// ends the program with them.
#include <cistern/adaptor/guarding_adaptor.hpp>

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"

using cistern::guard_fault;
using cistern::guard_report;
using cistern::to_string;

BOOST_AUTO_TEST_CASE(reports_say_who_and_what) {
  guard_report r;
  r.fault = guard_fault::overrun;
  r.block.ptr = reinterpret_cast<const void*>(0x1000);
  r.block.bytes = 10;
  r.block.alignment = 8;
  r.block.sequence = 7;
  r.block.allocating_thread = 11;
  r.thread = 12;
  r.offset = 12;
  r.changed_bytes = 3;
  r.expected = std::byte{0xab};
  r.found = std::byte{0x41};
  BOOST_TEST(
      to_string(r) ==
      "write behind a block: block 0x1000 of 10 bytes aligned to 8, allocation 7 by thread 11; 3 bytes "
      "changed, the first at offset 12 (2 behind its end), from 0xab to 0x41; found by thread 12");
  r.fault = guard_fault::use_after_free;
  r.block.freeing_thread = 13;
  r.offset = 0;
  r.changed_bytes = 1;
  BOOST_TEST(
      to_string(r) ==
      "write to a freed block: block 0x1000 of 10 bytes aligned to 8, allocation 7 by thread 11, freed "
      "by thread 13; 1 byte changed, the first at offset 0, from 0xab to 0x41; found by thread 12");
  r.fault = guard_fault::double_free;
  BOOST_TEST(to_string(r) ==
             "double free: block 0x1000 of 10 bytes aligned to 8, allocation 7 by thread 11, freed by thread "
             "13; freed again by thread 12");
  r.fault = guard_fault::wrong_size;
  r.block.freeing_thread = 0;
  r.stated_ptr = r.block.ptr;
  r.stated_bytes = 9;
  r.stated_alignment = 4;
  BOOST_TEST(to_string(r) ==
             "free with the wrong size: block 0x1000 of 10 bytes aligned to 8, allocation 7 by thread 11; "
             "freed as 9 bytes aligned to 4 by thread 12");
  r.fault = guard_fault::foreign_pointer;
  r.stated_ptr = reinterpret_cast<const void*>(0x1004);
  r.offset = 4;
  BOOST_TEST(to_string(r) ==
             "free of a foreign pointer: 0x1004, 9 bytes aligned to 4, by thread 12; it points 4 bytes into "
             "block 0x1000 of 10 bytes aligned to 8, allocation 7 by thread 11");
  r.fault = guard_fault::leak;
  r.leaked_blocks = 2;
  r.leaked_bytes = 30;
  BOOST_TEST(to_string(r) ==
             "leak: 2 blocks of 30 bytes in all never freed; the oldest: block 0x1000 of 10 bytes aligned to "
             "8, allocation 7 by thread 11");
}

BOOST_AUTO_TEST_CASE(every_fault_has_words_of_its_own) {
  std::set<std::string> words;
  for (const guard_fault fault :
       {guard_fault::underrun, guard_fault::overrun, guard_fault::use_after_free, guard_fault::double_free,
        guard_fault::wrong_size, guard_fault::wrong_alignment, guard_fault::foreign_pointer,
        guard_fault::bad_alignment, guard_fault::leak}) {
    words.insert(to_string(fault));
    guard_report report;
    report.fault = fault;
    BOOST_TEST(to_string(report).find(std::string(to_string(fault)) + ": ") == 0U);
  }
  BOOST_TEST(words.size() == 9U);
}

BOOST_AUTO_TEST_CASE(the_largest_numbers_fit) {
  guard_report r;
  r.fault = guard_fault::overrun;
  r.block.ptr = r.stated_ptr = reinterpret_cast<const void*>(UINTPTR_MAX);
  r.block.bytes = r.block.alignment = SIZE_MAX;
  r.block.sequence = r.block.allocating_thread = r.block.freeing_thread = r.thread = UINT64_MAX;
  r.offset = PTRDIFF_MIN;
  r.changed_bytes = SIZE_MAX;
  BOOST_TEST(to_string(r).ends_with("found by thread " + std::to_string(UINT64_MAX)));
  r.fault = guard_fault::foreign_pointer;
  r.stated_bytes = r.stated_alignment = SIZE_MAX;
  BOOST_TEST(to_string(r).ends_with("freed by thread " + std::to_string(UINT64_MAX)));
}

BOOST_AUTO_TEST_CASE(the_handler_prints_the_words_and_ends_the_program) {
  guard_report report;
  report.fault = guard_fault::double_free;
  BOOST_TEST(cistern::test_support::dies_saying("cistern::guarding_adaptor: " + to_string(report) + "\n",
                                                [&] { cistern::abort_on_guard_fault(report); }));
}
