// What can't be right: the process ends with a line that names the function and the address.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "contract.hpp"

using contract::dies_saying;
using contract::hide;

namespace {

void only_for_cistern() {
  if (!contract::is_cistern() || contract::guarded_one_in() != 0) {
    contract::skip("others say it in other words");
  }
}

constexpr std::array<std::size_t, 6> sizes{1, 100, 5'000, 200'000, 1'000'000, 50'000'000};

}  // namespace

CONTRACT_CASE(a_double_free_is_found) {
  only_for_cistern();
  for (const std::size_t bytes : sizes) {
    MUST(dies_saying("cistern: free(0x", "", [bytes] {
      void* const block = malloc(bytes);
      void* const other = malloc(bytes);
      free(hide(block));
      free(hide(other));
      free(hide(block));
    }));
    MUST(dies_saying("cistern: realloc(0x", "", [bytes] {
      void* const block = malloc(bytes);
      free(hide(block));
      (void)hide(realloc(hide(block), 77));
    }));
  }
  MUST(dies_saying("cistern: operator delete(0x", "freed before", [] {
    void* const block = ::operator new(hide(std::size_t{100}));
    ::operator delete(hide(block));
    ::operator delete (hide(block), std::size_t{100});
  }));
}

// Of each kind that the C library's own malloc finds: in the first list, behind a full one, between
// neighbours, unaligned, inside.
CONTRACT_CASE(wrong_frees_that_other_mallocs_find_are_found) {
  only_for_cistern();
  if (!contract::is_checked() && !contract::is_hardened()) contract::skip("only in builds that look");
  constexpr std::size_t in_a_full_list = 7;
  for (const std::size_t bytes :
       {std::size_t{24}, std::size_t{100}, std::size_t{2'000}, std::size_t{200'000}}) {
    MUST(dies_saying("cistern: free(0x", "", [bytes] {
      void* const block = malloc(bytes);
      free(hide(block));
      free(hide(block));
    }));
    MUST(dies_saying("cistern: free(0x", "", [bytes] {
      std::array<void*, in_a_full_list> others{};
      for (void*& other : others) other = malloc(bytes);
      void* const block = malloc(bytes);
      void* const neighbour = malloc(bytes);
      for (void* const other : others) free(hide(other));
      free(hide(block));
      free(hide(block));
      free(hide(neighbour));
    }));
    for (const std::size_t offset : {std::size_t{8}, std::size_t{16}}) {
      MUST(dies_saying("cistern: free(0x", "",
                       [=] { free(hide(static_cast<char*>(malloc(bytes)) + offset)); }));
    }
  }
}

// Where realloc in place doesn't look, the free that follows does.
CONTRACT_CASE(a_freed_block_that_is_reallocated_in_place_is_found) {
  only_for_cistern();
  const bool looks = contract::is_checked() || contract::is_hardened();
  for (const std::size_t bytes :
       {std::size_t{100}, std::size_t{300}, std::size_t{5'000}, std::size_t{200'000}}) {
    const char* const found_by = looks || bytes < 256 ? "cistern: realloc(0x" : "cistern: free(0x";
    MUST(dies_saying(found_by, "freed before", [bytes] {
      void* const block = malloc(bytes);
      free(hide(block));
      free(hide(realloc(hide(block), bytes - bytes / 16)));
    }));
  }
}

CONTRACT_CASE(an_address_inside_a_block_is_found) {
  only_for_cistern();
  for (const std::size_t bytes : sizes) {
    for (const std::size_t offset :
         {std::size_t{1}, std::size_t{8}, std::size_t{4096}, std::size_t{65'536}}) {
      if (offset >= bytes || (offset == 4096 && bytes < 1'000'000)) continue;
      if (offset == 65'536 && bytes < 1'000'000 && !contract::is_checked()) continue;
      MUST(dies_saying("cistern: free(0x", "): not the ",
                       [=] { free(hide(static_cast<char*>(malloc(bytes)) + offset)); }));
      MUST(dies_saying("cistern: realloc(0x", "): not the ",
                       [=] { (void)hide(realloc(hide(static_cast<char*>(malloc(bytes)) + offset), 10)); }));
    }
  }
}

CONTRACT_CASE(misuse_of_blocks_aligned_above_a_page_is_found) {
  only_for_cistern();
  constexpr std::size_t alignment = 16'384;
  for (const std::size_t bytes : {std::size_t{100}, std::size_t{20'000}, std::size_t{300'000}}) {
    // Of several, as one may lie on the boundary by itself.
    const auto allocate = [bytes] {
      std::array<char*, 8> blocks{};
      for (char*& each : blocks) each = static_cast<char*>(aligned_alloc(alignment, bytes));
      return blocks;
    };
    MUST(dies_saying("cistern: free(0x", "", [&] {
      for (char* const each : allocate()) {
        free(hide(each));
        free(hide(each));
      }
    }));
    MUST(dies_saying("cistern: free(0x", "): not the ", [&] {
      for (char* const each : allocate()) free(hide(each + 16));
    }));
    MUST(dies_saying("cistern: realloc(0x", "", [&] {
      for (char* const each : allocate()) {
        free(hide(each));
        (void)hide(realloc(hide(each), 77));
      }
    }));
  }
}

CONTRACT_CASE(an_address_that_was_never_allocated_is_found) {
  only_for_cistern();
  static std::array<char, 64> elsewhere{};
  MUST(dies_saying("cistern: free(0x", "not the address of a block in use",
                   [] { free(hide(&elsewhere[16])); }));
  MUST(dies_saying("cistern: free(0x", "not the address of a block in use", [] {
    std::array<char, 64> here{};
    free(hide(here.data() + 16));
  }));
  MUST(dies_saying("cistern: realloc(0x", "not the address of a block in use",
                   [] { (void)hide(realloc(hide(static_cast<void*>(&elsewhere)), 10)); }));
  MUST(dies_saying("cistern: free(0x7000)", "not the address",
                   [] { free(hide(reinterpret_cast<void*>(std::uintptr_t{0x7000}))); }));
}

CONTRACT_CASE(a_foreign_pointer_is_reported) {
  if (!contract::is_checked()) contract::skip("only in checked builds");
  static std::array<char, 4096> not_from_malloc{};
  MUST(dies_saying("cistern: ", "", [] { free(hide(not_from_malloc.data() + 64)); }));
}
