// The system says no: every call for memory refused, each by itself, and the limit on the number of mappings.
#include <array>
#include <cerrno>
#include <cstdlib>

#include "contract.hpp"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

using contract::fill;
using contract::hide;
using contract::is_filled;

namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20U;

/// From now on the system answers this call of this process with ENOMEM.
void refuse(unsigned number) {
  std::array<sock_filter, 4> program{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog filter{program.size(), program.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    contract::skip("the system allows no filters");
  }
}

struct live {
  void* block = nullptr;
  std::size_t bytes = 0;
  unsigned seed = 0;
};

/// A random life of blocks of all sizes. A request that is refused says so and leaves the block as it was.
/// Returns how many were refused.
std::size_t live_a_while(unsigned seed) {
  contract::random_numbers random(seed);
  std::array<live, 60> all{};
  std::size_t refused = 0;
  for (unsigned step = 0; step < 3'000; ++step) {
    live& one = all[random.below(all.size())];
    const std::size_t bytes = random.below(40) == 0 ? random.size(26) : random.size(18);
    if (random.below(2) == 0) {
      free(one.block);
      one = {};
    }
    MUST(is_filled(one.block, one.bytes, one.seed));
    errno = 0;
    void* const block = realloc(one.block, bytes);
    if (block != nullptr) {
      MUST(is_filled(block, one.bytes < bytes ? one.bytes : bytes, one.seed));
      one = {block, bytes, step};
      fill(block, bytes, step);
    } else {
      MUST(errno == ENOMEM);
      ++refused;
    }
    if (random.below(100) == 0) malloc_trim(0);
  }
  for (const live& one : all) {
    MUST(is_filled(one.block, one.bytes, one.seed));
    free(one.block);
  }
  return refused;
}

}  // namespace

CONTRACT_CASE(a_refused_munmap_loses_nothing) {
  refuse(SYS_munmap);
  MUST(live_a_while(1) == 0);
  const std::size_t before = contract::mapped_bytes();
  for (unsigned seed = 2; seed < 6; ++seed) MUST(live_a_while(seed) == 0);
  if (contract::is_cistern()) MUST(contract::mapped_bytes() < before + 128 * mebibyte);
}

CONTRACT_CASE(a_refused_madvise_fails_nothing) {
  refuse(SYS_madvise);
  for (unsigned seed = 1; seed < 4; ++seed) MUST(live_a_while(seed) == 0);
}

CONTRACT_CASE(a_refused_mprotect_fails_nothing) {
  MUST(live_a_while(1) == 0);
  refuse(SYS_mprotect);
  for (unsigned seed = 2; seed < 4; ++seed) {
    const std::size_t refused = live_a_while(seed);
    // A hardened build opens pages for each large block.
    MUST(refused == 0 || contract::is_hardened());
  }
}

CONTRACT_CASE(a_refused_mremap_fails_nothing) {
  refuse(SYS_mremap);
  for (unsigned seed = 1; seed < 4; ++seed) MUST(live_a_while(seed) == 0);
}

CONTRACT_CASE(munmap_madvise_and_mremap_refused_fail_nothing) {
  refuse(SYS_munmap);
  refuse(SYS_madvise);
  refuse(SYS_mremap);
  for (unsigned seed = 1; seed < 4; ++seed) MUST(live_a_while(seed) == 0);
}

CONTRACT_CASE(a_refused_mmap_is_told_and_changes_nothing) {
  MUST(live_a_while(1) == 0);
  refuse(SYS_mmap);
  const std::size_t refused = live_a_while(2);
  if (!contract::is_cistern()) return;  // others may have other ways to get memory
  MUST(refused != 0);
  errno = 0;
  MUST(malloc(hide(1024 * mebibyte)) == nullptr);
  MUST(errno == ENOMEM);
  errno = 0;
  MUST(calloc(hide(1024 * mebibyte), 1) == nullptr);
  MUST(errno == ENOMEM);
}

// The middle of a mapping can't go back then: it would make two of one.
CONTRACT_CASE(no_addresses_are_lost_at_the_limit_on_mappings) {
  if (!contract::is_cistern()) contract::skip("it may lose them");
  constexpr std::size_t most_fillers = 200'000;
  constexpr std::size_t blocks = 32;
  constexpr std::size_t bytes = 40 * mebibyte;
  const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t before = contract::mapped_bytes();
  std::array<void*, blocks> all{};
  for (void*& block : all) MUST((block = malloc(bytes)) != nullptr);
  // Pages of one mapping, every other one with other rights, are as many mappings.
  void* const filler = mmap(nullptr, most_fillers * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(filler != MAP_FAILED);
  const std::size_t live = contract::mapped_bytes();
  std::size_t filled = 1;
  while (filled < most_fillers &&
         mprotect(static_cast<char*>(filler) + filled * page, page, PROT_READ) == 0) {
    filled += 2;
  }
  if (filled >= most_fillers) contract::skip("so many mappings are too few");
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = 1; i < blocks; i += 2) free(all[i]);
    for (std::size_t i = 1; i < blocks; i += 2) MUST((all[i] = malloc(bytes)) != nullptr);
    for (std::size_t i = 1; i < blocks; i += 2) fill(all[i], 1, static_cast<unsigned>(i));
  }
  if (contract::is_hardened()) malloc_trim(0);  // until then it keeps addresses of freed blocks
  MUST(contract::mapped_bytes() < live + bytes);
  for (std::size_t i = 1; i < blocks; i += 2) free(all[i]);
  munmap(filler, most_fillers * page);
  for (std::size_t i = 0; i < blocks; i += 2) free(all[i]);
  if (contract::is_hardened()) malloc_trim(0);
  MUST(contract::mapped_bytes() < before + 64 * mebibyte);
}
