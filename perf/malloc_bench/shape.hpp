// shape: one well-known allocator benchmark, as a function that uses malloc and free and says what it took.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace malloc_bench {

/// What the command line says about a run.
struct parameters {
  unsigned threads = 2;
  double scale = 1;  ///< multiplies the number of rounds, and nothing else
  std::uint64_t seed = 1;

  /// `rounds` times the scale, at least 1.
  [[nodiscard]] std::size_t rounds(double rounds) const noexcept {
    return static_cast<std::size_t>(std::max(1.0, rounds * scale + 0.5));
  }
};

/// What a run took. An operation is a block's whole life: one malloc (or calloc) and its free; of `strings`,
/// an append.
struct measured {
  std::uint64_t operations = 0;
  std::chrono::nanoseconds elapsed{};
};

measured run_aligned(const parameters& how);
measured run_all_classes(const parameters& how);
measured run_alloc_test(const parameters& how);
measured run_cache_scratch(const parameters& how);
measured run_cache_thrash(const parameters& how);
measured run_glibc_simple(const parameters& how);
measured run_glibc_thread(const parameters& how);
measured run_large_alone(const parameters& how);
measured run_large_fall(const parameters& how);
measured run_large_filled(const parameters& how);
measured run_large_growth(const parameters& how);
measured run_large_sparse(const parameters& how);
measured run_large_zeroed(const parameters& how);
measured run_larson(const parameters& how);
measured run_mixed_sizes(const parameters& how);
measured run_mstress(const parameters& how);
measured run_rptest(const parameters& how);
measured run_sparse_survivors(const parameters& how);
measured run_strings(const parameters& how);
measured run_xmalloc(const parameters& how);

}  // namespace malloc_bench
