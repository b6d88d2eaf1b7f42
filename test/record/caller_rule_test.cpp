// Rules for getting from a function to its caller, read from tables made by hand, and from those of this
// program.
#include "../../src/record/caller_rule.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <vector>

#include <boost/test/unit_test.hpp>

using cistern::detail::caller_rule;
using kind = caller_rule::kind;

namespace cistern::detail {
std::ostream& operator<<(std::ostream& out, const caller_rule& rule) {
  return out << "{" << static_cast<int>(rule.how) << ", " << rule.top_words << ", "
             << rule.frame_pointer_words << "}";
}
}  // namespace cistern::detail

namespace {

using bytes = std::vector<std::byte>;

bytes of(std::initializer_list<int> values) {
  bytes made;
  for (const int value : values) made.push_back(static_cast<std::byte>(value));
  return made;
}

bytes together(const bytes& first, const bytes& second) {
  bytes both(first.size() + second.size());
  std::copy(second.begin(), second.end(), std::copy(first.begin(), first.end(), both.begin()));
  return both;
}

// With its length in front.
bytes entry_of(const bytes& contents) {
  return together(of({static_cast<int>(contents.size()), 0, 0, 0}), contents);
}

// As compilers write it: at the first instruction the top is the stack pointer and 8, the return address
// below it.
const bytes usual_start = of({0x0C, 7, 8, 0x90, 1});
const bytes usual_head = of({0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1B});

caller_rule rule_of(const bytes& instructions, std::uintptr_t at_bytes, const bytes& head = usual_head,
                    const bytes& start = usual_start) {
  const bytes common = entry_of(together(head, start));
  const bytes entry = entry_of(together(of({0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}), instructions));
  return cistern::detail::read_caller_rule(common.data(), entry.data(), at_bytes);
}

const caller_rule not_understood{};

}  // namespace

BOOST_AUTO_TEST_CASE(rows_begin_where_the_instructions_say) {
  // push rbp; mov rbp, rsp; ... pop rbp; ret
  const bytes framed = of({0x41, 0x0E, 16, 0x86, 2, 0x43, 0x0D, 6, 0x02, 0x80, 0x0C, 7, 8, 0xC6});
  BOOST_TEST(rule_of(framed, 0) == (caller_rule{kind::by_stack_pointer, 1, 0}));
  BOOST_TEST(rule_of(framed, 1) == (caller_rule{kind::by_stack_pointer, 2, 2}));
  BOOST_TEST(rule_of(framed, 3) == (caller_rule{kind::by_stack_pointer, 2, 2}));
  BOOST_TEST(rule_of(framed, 4) == (caller_rule{kind::by_frame_pointer, 2, 2}));
  BOOST_TEST(rule_of(framed, 0x83) == (caller_rule{kind::by_frame_pointer, 2, 2}));
  BOOST_TEST(rule_of(framed, 0x84) == (caller_rule{kind::by_stack_pointer, 1, 0}));
  BOOST_TEST(rule_of({}, 1000) == (caller_rule{kind::by_stack_pointer, 1, 0}));
}

BOOST_AUTO_TEST_CASE(every_way_to_say_something_is_understood) {
  const auto two_words = caller_rule{kind::by_stack_pointer, 2, 0};
  BOOST_TEST(rule_of(of({0x03, 1, 1, 0x0E, 16}), 0x100) == (caller_rule{kind::by_stack_pointer, 1, 0}));
  BOOST_TEST(rule_of(of({0x03, 1, 1, 0x0E, 16}), 0x101) == two_words);
  BOOST_TEST(rule_of(of({0x04, 1, 0, 1, 0, 0x0E, 16}), 0x10000) ==
             (caller_rule{kind::by_stack_pointer, 1, 0}));
  BOOST_TEST(rule_of(of({0x04, 1, 0, 1, 0, 0x0E, 16}), 0x10001) == two_words);
  BOOST_TEST(rule_of(of({0x12, 7, 0x7E}), 0) == two_words);  // -2 times -8
  BOOST_TEST(rule_of(of({0x13, 0x7E}), 0) == two_words);     // likewise
  BOOST_TEST(rule_of(of({0x0E, 0x80, 0x20}), 0) == (caller_rule{kind::by_stack_pointer, 512, 0}));
  BOOST_TEST(rule_of(of({0x0A, 0x0E, 16, 0x0B}), 0) == (caller_rule{kind::by_stack_pointer, 1, 0}));
  BOOST_TEST(rule_of(of({0x05, 6, 3}), 0) == (caller_rule{kind::by_stack_pointer, 1, 3}));
  BOOST_TEST(rule_of(of({0x11, 6, 3}), 0) == (caller_rule{kind::by_stack_pointer, 1, 3}));
  BOOST_TEST(rule_of(of({0x86, 3, 0x06, 6}), 0) == (caller_rule{kind::by_stack_pointer, 1, 0}));
  BOOST_TEST(rule_of(of({0x86, 3, 0x08, 6}), 0) == (caller_rule{kind::by_stack_pointer, 1, 0}));
  BOOST_TEST(rule_of(of({0x2E, 16, 0, 0}), 0) == (caller_rule{kind::by_stack_pointer, 1, 0}));
  // Registers that callers have as well, but that no rule needs.
  BOOST_TEST(rule_of(of({0x83, 3, 0x10, 12, 2, 0x77, 0x78, 0x16, 13, 1, 0x50, 0x09, 14, 3}), 0) ==
             (caller_rule{kind::by_stack_pointer, 1, 0}));
}

BOOST_AUTO_TEST_CASE(the_outermost_function_has_no_caller) {
  BOOST_TEST(rule_of(of({0x07, 16}), 0) == (caller_rule{kind::outermost, 0, 0}));
}

BOOST_AUTO_TEST_CASE(what_is_not_understood_is_left_to_others) {
  for (const auto& odd :
       {of({0x0F, 1, 0x77}),            // the top by an expression
        of({0x0C, 3, 8}),               // by another register
        of({0x0E, 12}), of({0x0E, 0}),  // no whole words, no return address
        of({0x90, 2}),                  // the return address elsewhere
        of({0x10, 16, 1, 0x77}), of({0x09, 16, 3}), of({0x10, 6, 1, 0x77}), of({0x14, 6, 1}),
        of({0x15, 6, 1}), of({0x86, 0x81, 8}),  // the frame pointer too far off
        of({0x0B}), of({0x01, 0, 0, 0, 0}), of({0x3F}),
        of({0x0A, 0x0A, 0x0A, 0x0A, 0x0A, 0x0A, 0x0A, 0x0A, 0x0A})}) {
    BOOST_TEST(rule_of(odd, 0) == not_understood);
  }
  const bytes far = of({0x0E, 0x80, 0x80, 0x80, 1});  // 2 MiB
  BOOST_TEST(rule_of(far, 0) == not_understood);
  const auto with_head = [](std::initializer_list<int> head) { return rule_of({}, 0, of(head)); };
  const caller_rule usual{kind::by_stack_pointer, 1, 0};
  BOOST_TEST(with_head({0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1B}) == usual);
  BOOST_TEST(with_head({0, 0, 0, 0, 3, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1B}) == usual);
  BOOST_TEST(with_head({0,    0,  0, 0,    1, 'z', 'P', 'L', 'R',  0,   1,
                        0x78, 16, 7, 0x9B, 9, 9,   9,   9,   0x1B, 0x1B}) == usual);
  BOOST_TEST(with_head({0, 0, 0, 0, 1, 'z', 'R', 'S', 0, 1, 0x78, 16, 1, 0x1B}) == not_understood);
  BOOST_TEST(with_head({0, 0, 0, 0, 9, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1B}) == not_understood);
  BOOST_TEST(with_head({0, 0, 0, 0, 1, 'e', 'h', 0, 1, 0x78, 16, 1, 0x1B}) == not_understood);
  BOOST_TEST(with_head({0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 30, 1, 0x1B}) == not_understood);
  BOOST_TEST(with_head({0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x01}) == not_understood);
}

BOOST_AUTO_TEST_CASE(an_address_of_no_function_has_no_caller) {
#if defined(__x86_64__)
  BOOST_TEST(cistern::detail::find_caller_rule(0x10) == (caller_rule{kind::outermost, 0, 0}));
#else
  BOOST_TEST(cistern::detail::find_caller_rule(0x10) == not_understood);
#endif
}
