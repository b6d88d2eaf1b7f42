// Guarded blocks: where they lie, what is found of their misuse and said of it, and that slots are bounded,
// closed, and reused as late as possible.
#include <cistern/detail/base/guarded_slots.hpp>
#include <cistern/detail/base/os_pages.hpp>
#include <cistern/detail/base/thread_id.hpp>

#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <regex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/address_space.hpp"
#include "../support/death.hpp"
#include "../support/forking.hpp"
#include "../support/threads.hpp"
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {
bool refuse_mprotect = false;
}

// In place of the C library's, for the library as well.
extern "C" int mprotect(void* pages, std::size_t bytes, int protection) noexcept {
  if (refuse_mprotect) {
    errno = ENOMEM;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_mprotect, pages, bytes, protection));
}

using cistern::detail::guarded_slots;
using cistern::detail::os_page_bytes;
using cistern::test_support::ending_of;

namespace {

const void* const caller = reinterpret_cast<const void*>(0xca11);
const void* const freer = reinterpret_cast<const void*>(0xf4ee);

char* allocate(guarded_slots& slots, std::size_t bytes, std::size_t alignment = 1) {
  return static_cast<char*>(slots.allocate(bytes, alignment, caller));
}

/// A slot's first block ends its page if the slot's number is even, and begins it if it is odd.
struct two_blocks {
  guarded_slots slots{4};
  char* at_end = allocate(slots, 24, 8);
  char* at_begin = allocate(slots, 24, 8);
};

/// Never seen by the compiler.
void write_to(volatile char* where) {
  *where = 1;
}
char read_from(const volatile char* where) {
  return *where;
}

/// Whether `action`'s end in a child process is described so. `<A>`: an address; `<T>`: a time; `<N>`: a
/// thread.
bool ends_saying(std::string pattern, const std::function<void()>& action) {
  for (const auto& [name, expression] :
       {std::pair{"<A>", "0x[0-9a-f]+"}, {"<T>", "[0-9]+\\.[0-9]{6} s"}, {"<N>", "[0-9]+"}}) {
    for (std::size_t at = 0; (at = pattern.find(name)) != std::string::npos;) {
      pattern.replace(at, std::strlen(name), expression);
    }
  }
  const std::string ending = ending_of(action);
  const bool as_expected = std::regex_match(ending, std::regex(pattern));
  if (!as_expected) BOOST_TEST_MESSAGE("expected " << pattern << "\ngot      " << ending);
  return as_expected;
}

#if defined(__x86_64__)
constexpr const char* writing = "write to";
constexpr const char* reading = "read of";
#else
constexpr const char* writing = "access to";
constexpr const char* reading = "access to";
#endif

const std::string block_words =
    ": block <A> of 24 bytes aligned to 8, allocated <T> ago by thread <N> from 0xca11";
const std::string freed_words = block_words + ", freed <T> ago by thread <N> from 0xf4ee";

std::string killed(const std::string& what, const std::string& words) {
  return "killed by signal 11: cistern: sampled guard: " + what + " <A>" + words + "; by thread <N>\n";
}
std::string aborted(const std::string& what, const std::string& words) {
  return "aborted: cistern: sampled guard: " + what + words + "; by thread <N> from 0xf4ee\n";
}

}  // namespace

BOOST_AUTO_TEST_CASE(blocks_lie_against_a_guard_page_as_their_alignment_allows) {
  const std::size_t page = os_page_bytes();
  guarded_slots slots(64);
  for (const std::size_t bytes :
       {std::size_t{0}, std::size_t{1}, std::size_t{13}, std::size_t{24}, page - 1, page}) {
    for (const std::size_t alignment : {std::size_t{1}, std::size_t{8}, std::size_t{64}, page}) {
      for (const bool at_begin : {false, true}) {
        char* const block = allocate(slots, bytes, alignment);
        BOOST_REQUIRE(block != nullptr);
        BOOST_TEST(slots.contains(block));
        const auto offset = reinterpret_cast<std::uintptr_t>(block) % page;
        const std::size_t least = bytes == 0 ? 1 : bytes;
        BOOST_TEST(offset % alignment == 0u);
        BOOST_TEST(offset == (at_begin ? 0 : (page - least) / alignment * alignment));
        std::memset(block, 0x5a, bytes);
        slots.deallocate(block, bytes, alignment, freer);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  const std::size_t page = os_page_bytes();
  guarded_slots slots(2);
  BOOST_TEST(slots.allocate(page + 1, 1, caller) == nullptr);
  BOOST_TEST(slots.allocate(SIZE_MAX, 1, caller) == nullptr);
  BOOST_TEST(slots.allocate(1, 2 * page, caller) == nullptr);
  BOOST_TEST(slots.allocate(1, 3, caller) == nullptr);
  BOOST_TEST(slots.allocate(1, 0, caller) == nullptr);
  BOOST_TEST(slots.statistics().too_large == 5u);
  BOOST_TEST(slots.statistics().sampled == 0u);
}

BOOST_AUTO_TEST_CASE(slots_are_bounded_and_counted) {
  guarded_slots slots(3);
  std::vector<char*> blocks;
  for (int i = 0; i < 3; ++i) blocks.push_back(allocate(slots, 8));
  BOOST_TEST(allocate(slots, 8) == nullptr);
  BOOST_TEST((slots.statistics() ==
              cistern::sampling_guard_statistics{.slots = 3, .slots_in_use = 3, .sampled = 3, .no_slot = 1}));
  slots.deallocate(blocks[1], 8, 1, freer);
  BOOST_TEST((slots.statistics() ==
              cistern::sampling_guard_statistics{
                  .slots = 3, .slots_in_use = 2, .slots_quarantined = 1, .sampled = 3, .no_slot = 1}));
  BOOST_TEST(allocate(slots, 8) != nullptr);
  BOOST_TEST((slots.statistics() ==
              cistern::sampling_guard_statistics{.slots = 3, .slots_in_use = 3, .sampled = 4, .no_slot = 1}));
}

BOOST_AUTO_TEST_CASE(a_slot_serves_again_when_all_others_have) {
  const std::size_t page = os_page_bytes();
  guarded_slots slots(8);
  const auto page_of = [&](char* block) { return reinterpret_cast<std::uintptr_t>(block) / page; };
  std::vector<std::uintptr_t> used;
  for (int i = 0; i < 40; ++i) {
    char* const block = allocate(slots, 100);
    used.push_back(page_of(block));
    slots.deallocate(block, 100, 1, freer);
  }
  BOOST_TEST((std::set(used.begin(), used.begin() + 8).size() == 8u));
  for (std::size_t i = 8; i < used.size(); ++i) BOOST_TEST(used[i] == used[i - 8]);
}

BOOST_AUTO_TEST_CASE(overflow_and_underflow_are_faults) {
  BOOST_TEST(ends_saying(killed("overflow by 1 byte, " + std::string(writing), block_words),
                         [] { write_to(two_blocks().at_end + 24); }));
  BOOST_TEST(ends_saying(killed("overflow by 100 bytes, " + std::string(reading), block_words),
                         [] { read_from(two_blocks().at_end + 123); }));
  BOOST_TEST(ends_saying(killed("underflow by 1 byte, " + std::string(writing), block_words),
                         [] { write_to(two_blocks().at_begin - 1); }));
  BOOST_TEST(ends_saying(killed("underflow by 7 bytes, " + std::string(reading), block_words),
                         [] { read_from(two_blocks().at_begin - 7); }));
}

BOOST_AUTO_TEST_CASE(use_after_free_is_a_fault) {
  const auto freed = [](two_blocks& two, char* block) {
    two.slots.deallocate(block, 24, 8, freer);
    return block;
  };
  BOOST_TEST(ends_saying(killed("use after free, at byte 5, " + std::string(reading), freed_words), [&] {
    two_blocks two;
    read_from(freed(two, two.at_end) + 5);
  }));
  BOOST_TEST(
      ends_saying(killed("use after free, overflow by 3 bytes, " + std::string(writing), freed_words), [&] {
        two_blocks two;
        write_to(freed(two, two.at_begin) + 26);
      }));
  BOOST_TEST(
      ends_saying(killed("use after free, underflow by 2 bytes, " + std::string(writing), freed_words), [&] {
        two_blocks two;
        write_to(freed(two, two.at_end) - 2);
      }));
}

BOOST_AUTO_TEST_CASE(a_place_where_no_block_was_is_said_to_be_one) {
  BOOST_TEST(ends_saying("killed by signal 11: cistern: sampled guard: " + std::string(writing) +
                             " <A>, where no block was; by thread <N>\n",
                         [] {
                           guarded_slots slots(4);
                           write_to(allocate(slots, 24, 8) + 5 * os_page_bytes());
                         }));
}

BOOST_AUTO_TEST_CASE(a_write_beside_a_block_is_found_at_its_free) {
  const auto free_after = [](char* two_blocks::*block, std::ptrdiff_t offset) {
    return [=] {
      two_blocks two;
      write_to(two.*block + offset);
      two.slots.deallocate(two.*block, 24, 8, freer);
    };
  };
  BOOST_TEST(ends_saying(aborted("overflow by 6 bytes, found at the free", freed_words),
                         free_after(&two_blocks::at_begin, 29)));
  BOOST_TEST(ends_saying(aborted("underflow by 1 byte, found at the free", freed_words),
                         free_after(&two_blocks::at_end, -1)));
  // To the last byte of the page, and from the first.
  BOOST_TEST(
      ends_saying(aborted("overflow by <N> bytes, found at the free", freed_words),
                  free_after(&two_blocks::at_begin, static_cast<std::ptrdiff_t>(os_page_bytes()) - 1)));
  BOOST_TEST(ends_saying(aborted("underflow by <N> bytes, found at the free", freed_words),
                         free_after(&two_blocks::at_end, 24 - static_cast<std::ptrdiff_t>(os_page_bytes()))));
  BOOST_TEST(ending_of(free_after(&two_blocks::at_end, 0)) == "exited with 0");
  BOOST_TEST(ending_of(free_after(&two_blocks::at_begin, 23)) == "exited with 0");
}

BOOST_AUTO_TEST_CASE(wrong_frees_are_told_at_the_call) {
  BOOST_TEST(ends_saying(aborted("double free", freed_words), [] {
    two_blocks two;
    two.slots.deallocate(two.at_end, 24, 8, freer);
    two.slots.deallocate(two.at_end, 24, 8, freer);
  }));
  BOOST_TEST(ends_saying(aborted("free with the wrong size, 25 bytes", block_words), [] {
    two_blocks two;
    two.slots.deallocate(two.at_end, 25, 8, freer);
  }));
  BOOST_TEST(ends_saying(aborted("free with the wrong size, 23 bytes", block_words), [] {
    two_blocks two;
    two.slots.deallocate(two.at_begin, 23, 8, freer);
  }));
  BOOST_TEST(ends_saying(aborted("free with the wrong alignment, 4", block_words), [] {
    two_blocks two;
    two.slots.deallocate(two.at_begin, 24, 4, freer);
  }));
  BOOST_TEST(ends_saying(aborted("free with the wrong alignment, 16", block_words), [] {
    two_blocks two;
    two.slots.deallocate(two.at_end, 24, 16, freer);
  }));
  BOOST_TEST(ends_saying(aborted("free of a pointer that isn't a block's, at offset 8", block_words), [] {
    two_blocks two;
    two.slots.deallocate(two.at_begin + 8, 24, 8, freer);
  }));
  BOOST_TEST(ends_saying(aborted("free of a pointer that isn't a block's, at offset -16", block_words), [] {
    two_blocks two;
    two.slots.deallocate(two.at_end - 16, 24, 8, freer);
  }));
  BOOST_TEST(ends_saying(aborted("free of a pointer where no block was: <A>", ""), [] {
    two_blocks two;
    two.slots.deallocate(two.at_begin + 3 * os_page_bytes(), 24, 8, freer);
  }));
}

BOOST_AUTO_TEST_CASE(threads_are_named) {
  const auto seen = cistern::test_support::run_and_die([] {
    guarded_slots slots(1);
    char* block = nullptr;
    std::thread([&] {
      block = allocate(slots, 24, 8);
      std::fprintf(stderr, "%llu\n", static_cast<unsigned long long>(cistern::detail::thread_id()));
    }).join();
    std::thread([&] {
      slots.deallocate(block, 24, 8, freer);
      std::fprintf(stderr, "%llu\n", static_cast<unsigned long long>(cistern::detail::thread_id()));
    }).join();
    std::fprintf(stderr, "%llu\n", static_cast<unsigned long long>(cistern::detail::thread_id()));
    read_from(block);
  });
  std::smatch found;
  BOOST_REQUIRE(std::regex_search(
      seen.stderr_text, found,
      std::regex(
          "^(\\d+)\n(\\d+)\n(\\d+)\n.*allocated \\S+ s ago by thread (\\d+) from \\S+, freed \\S+ s ago by "
          "thread (\\d+) from \\S+; by thread (\\d+)\n$")));
  BOOST_TEST(found[1] == found[4]);
  BOOST_TEST(found[2] == found[5]);
  BOOST_TEST(found[3] == found[6]);
}

namespace {

sigjmp_buf way_out;

[[gnu::noinline]] void touch_and_survive(volatile char* where) {
  if (sigsetjmp(way_out, 1) == 0) write_to(where);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_block_that_is_touched_again_and_again_is_told_once) {
  BOOST_TEST(
      ends_saying("exited with 0: cistern: sampled guard: overflow by 1 byte, .*\n"
                  "cistern: sampled guard: use after free, at byte 0, .*\n",
                  [] {
                    std::signal(SIGSEGV, [](int) { siglongjmp(way_out, 1); });
                    guarded_slots slots(1);
                    char* const block = allocate(slots, 24, 8);
                    for (int i = 0; i < 3; ++i) touch_and_survive(block + 24);
                    slots.deallocate(block, 24, 8, freer);
                    for (int i = 0; i < 3; ++i) touch_and_survive(block);
                  }));
}

BOOST_AUTO_TEST_CASE(no_slots_are_none) {
  guarded_slots slots(0);
  int elsewhere = 0;
  BOOST_TEST(!slots.contains(&elsewhere));
  BOOST_TEST(!slots.contains(nullptr));
  BOOST_TEST(slots.allocate(1, 1, caller) == nullptr);
  BOOST_TEST((slots.statistics() == cistern::sampling_guard_statistics{}));
}

BOOST_AUTO_TEST_CASE(there_are_not_more_than_the_most) {
  guarded_slots slots(SIZE_MAX);
  BOOST_TEST(slots.statistics().slots == guarded_slots::most_slots);
  char* const block = allocate(slots, 1);
  BOOST_REQUIRE(block != nullptr);
  slots.deallocate(block, 1, 1, freer);
}

BOOST_AUTO_TEST_CASE(a_system_without_addresses_means_no_slots) {
  // Sanitizers have mapped what they need, and more than any limit.
  BOOST_TEST(ending_of([] {
               cistern::test_support::leave_address_space(std::size_t{4} << 20);
               guarded_slots slots(guarded_slots::most_slots);
               const bool none = slots.statistics().slots == 0 && allocate(slots, 1) == nullptr;
               ::_exit(none ? 5 : 6);
             }) == "exited with 5");
}

BOOST_AUTO_TEST_CASE(a_page_that_cannot_be_opened_is_kept_for_later) {
  guarded_slots slots(2);
  refuse_mprotect = true;
  for (int i = 0; i < 3; ++i) BOOST_TEST(allocate(slots, 8) == nullptr);
  refuse_mprotect = false;
  BOOST_TEST((slots.statistics() == cistern::sampling_guard_statistics{.slots = 2, .refused = 3}));
  BOOST_TEST(allocate(slots, 8) != nullptr);
  BOOST_TEST(allocate(slots, 8) != nullptr);
}

BOOST_AUTO_TEST_CASE(a_page_that_cannot_be_closed_is_quarantined_all_the_same) {
  guarded_slots slots(2);
  char* const block = allocate(slots, 8);
  refuse_mprotect = true;
  slots.deallocate(block, 8, 1, freer);
  refuse_mprotect = false;
  BOOST_TEST((slots.statistics() == cistern::sampling_guard_statistics{
                                        .slots = 2, .slots_quarantined = 1, .sampled = 1, .refused = 1}));
  BOOST_TEST(ends_saying("aborted: cistern: sampled guard: double free.*\n",
                         [&] { slots.deallocate(block, 8, 1, freer); }));
  BOOST_TEST(slots.allocate(8, 1, caller) != static_cast<void*>(block));
  BOOST_TEST(slots.allocate(8, 1, caller) != nullptr);
}

BOOST_AUTO_TEST_CASE(blocks_are_freed_without_a_size) {
  two_blocks two;
  BOOST_TEST(two.slots.request_of(two.at_end, freer).bytes == 24u);
  BOOST_TEST(two.slots.request_of(two.at_end, freer).alignment == 8u);
  two.slots.deallocate(two.at_end, freer);
  BOOST_TEST(two.slots.statistics().slots_quarantined == 1u);
  BOOST_TEST(
      ends_saying(aborted("double free", freed_words), [&] { two.slots.deallocate(two.at_end, freer); }));
  BOOST_TEST(ends_saying(aborted("use after free", freed_words),
                         [&] { (void)two.slots.request_of(two.at_end, freer); }));
  BOOST_TEST(ends_saying(aborted("use of a pointer that isn't a block's, at offset 3", block_words),
                         [&] { (void)two.slots.request_of(two.at_begin + 3, freer); }));
}

BOOST_AUTO_TEST_CASE(release_takes_every_live_block) {
  two_blocks two;
  two.slots.deallocate(two.at_end, 24, 8, caller);
  two.slots.release(freer);
  BOOST_TEST((two.slots.statistics() ==
              cistern::sampling_guard_statistics{.slots = 4, .slots_quarantined = 2, .sampled = 2}));
  two.slots.release(freer);
  for (int i = 0; i < 4; ++i) BOOST_TEST(allocate(two.slots, 8) != nullptr);
  guarded_slots(0).release(freer);
}

BOOST_AUTO_TEST_CASE(a_freed_block_is_cleared) {
  two_blocks two;
  std::memset(two.at_begin, 's', 24);
  two.slots.deallocate(two.at_begin, 24, 8, freer);
  BOOST_TEST_REQUIRE(::mprotect(two.at_begin, os_page_bytes(), PROT_READ) == 0);
  BOOST_TEST(std::string(two.at_begin, 24) == std::string(24, '\0'));
}

BOOST_AUTO_TEST_CASE(what_release_took_is_not_touched_any_more) {
  BOOST_TEST(ends_saying(killed("use after free, at byte 5, " + std::string(reading), freed_words), [] {
    two_blocks two;
    two.slots.release(freer);
    read_from(two.at_begin + 5);
  }));
}

BOOST_AUTO_TEST_CASE(both_sides_of_a_fork_go_on) {
  guarded_slots slots(2);
  char* const block = allocate(slots, 24, 8);
  *block = 1;
  BOOST_TEST(cistern::test_support::fork_fault([&] {
               *block = 2;
               slots.deallocate(block, 24, 8, freer);
               if (allocate(slots, 8) == nullptr || allocate(slots, 8) == nullptr) ::_exit(1);
             }) == "");
  BOOST_TEST(*block == 1);
  slots.deallocate(block, 24, 8, freer);
}

BOOST_AUTO_TEST_CASE(threads_share_the_slots) {
  guarded_slots slots(16);
  cistern::test_support::run_threads(4, [&](std::size_t index) {
    std::mt19937 random(static_cast<unsigned>(index));
    std::vector<char*> held;
    for (int i = 0; i < 3'000; ++i) {
      if (random() % 2 == 0) {
        if (char* const block = allocate(slots, 32, 8); block != nullptr) {
          std::memset(block, static_cast<int>(index), 32);
          held.push_back(block);
        }
      } else if (!held.empty()) {
        for (int byte = 0; byte < 32; ++byte) {
          cistern::test_support::require(held.back()[byte] == static_cast<char>(index), "another's block");
        }
        slots.deallocate(held.back(), 32, 8, freer);
        held.pop_back();
      }
    }
    for (char* const block : held) slots.deallocate(block, 32, 8, freer);
  });
  BOOST_TEST(slots.statistics().slots_in_use == 0u);
  BOOST_TEST(slots.statistics().slots_quarantined == 16u);
}
