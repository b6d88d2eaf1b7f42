// cache_sharing: do two threads get blocks on one cache line? cache-thrash (the allocator's own doing) and
// cache-scratch (begun by the program, kept up by the allocator).
//
// After E. Berger, K. McKinley, R. Blumofe, P. Wilson, "Hoard: A Scalable Memory Allocator for Multithreaded
// Applications", ASPLOS 2000.
#include <vector>

#include "malloc_bench/block.hpp"
#include "malloc_bench/shape.hpp"
#include "support/thread_team.hpp"

namespace malloc_bench {
namespace {

constexpr std::size_t object_bytes = 8;
constexpr std::size_t writes_per_object = 20'000;

void write_again_and_again(void* object) {
  auto* const bytes = static_cast<volatile unsigned char*>(object);
  for (std::size_t done = 0; done < writes_per_object; ++done) {
    const std::size_t index = done % object_bytes;
    bytes[index] = static_cast<unsigned char>(bytes[index] + 1);
  }
}

void use_objects(std::size_t objects) {
  for (std::size_t done = 0; done < objects; ++done) {
    void* const object = obtain(object_bytes);
    write_again_and_again(object);
    std::free(object);  // its mark is written over by now
  }
}

}  // namespace

measured run_cache_thrash(const parameters& how) {
  const std::size_t objects = how.rounds(10'000);
  const auto elapsed = perf::time_together(how.threads, [&](unsigned) { use_objects(objects); });
  return {.operations = std::uint64_t{how.threads} * objects, .elapsed = elapsed};
}

measured run_cache_scratch(const parameters& how) {
  const std::size_t objects = how.rounds(10'000);
  std::vector<void*> handed_over(how.threads);
  for (void*& object : handed_over) object = obtain(object_bytes);
  const auto elapsed = perf::time_together(how.threads, [&](unsigned index) {
    give_back(handed_over[index]);
    use_objects(objects);
  });
  return {.operations = std::uint64_t{how.threads} * (objects + 1), .elapsed = elapsed};
}

}  // namespace malloc_bench
