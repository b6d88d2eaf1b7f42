// small_blocks: what programs do on one thread with blocks up to 32 KiB, beside what the field's shapes show.
#include <vector>

#include "malloc_bench/block.hpp"
#include "malloc_bench/replace.hpp"
#include "malloc_bench/shape.hpp"
#include "support/random.hpp"
#include "support/thread_team.hpp"

namespace malloc_bench {
namespace {

constexpr std::size_t appended_bytes = 16;
constexpr std::size_t most_string_bytes = 4096;

struct string {
  char* text = nullptr;
  std::size_t bytes = 0;
};

void append(string& grown) {
  grown.text = static_cast<char*>(std::realloc(grown.text, grown.bytes + appended_bytes + 1));
  if (grown.text == nullptr) fail("out of memory");
  std::memset(grown.text + grown.bytes, 'x', appended_bytes);
  grown.bytes += appended_bytes;
}

void give_up(string& grown) {
  if (grown.text != nullptr && grown.text[grown.bytes / 2] != 'x') {
    fail("realloc has lost what was in a block");
  }
  std::free(grown.text);
  grown = {};
}

void* obtain_aligned(std::size_t alignment, std::size_t bytes) {
  void* block = nullptr;
  return marked(posix_memalign(&block, alignment, bytes) == 0 ? block : nullptr);
}

}  // namespace

// One at a time, on each boundary up to half a page.
measured run_aligned(const parameters& how) {
  const std::size_t blocks = how.rounds(3'000'000);
  perf::random_source random(how.seed);
  const auto start = perf::clock::now();
  for (std::size_t done = 0; done < blocks; ++done) {
    give_back(obtain_aligned(std::size_t{64} << random.below(6), min_block_bytes + random.below(4000)));
  }
  return {.operations = blocks, .elapsed = perf::clock::now() - start};
}

// So many sizes that an allocator with classes needs all of them at once.
measured run_all_classes(const parameters& how) {
  return replace(how, 2000, how.rounds(3'000'000),
                 [](perf::random_source& random) { return obtain(min_block_bytes + random.below(32'000)); });
}

// More than the caches of the processor hold, mostly small and all written.
measured run_mixed_sizes(const parameters& how) {
  return replace(how, 300'000, how.rounds(1'000'000), [](perf::random_source& random) {
    const std::size_t most_bytes = random.below(4) == 0 ? 4000 : 200;
    return filled(min_block_bytes + random.below(most_bytes));
  });
}

// Appended to at random, so that most appends find the string cold, and stay within its block. An operation
// is an append.
measured run_strings(const parameters& how) {
  const std::size_t appends = how.rounds(5'000'000);
  perf::random_source random(how.seed);
  std::vector<string> strings(20'000);
  const auto start = perf::clock::now();
  for (std::size_t done = 0; done < appends; ++done) {
    string& grown = strings[random.below(strings.size())];
    append(grown);
    if (grown.bytes > most_string_bytes) give_up(grown);
  }
  for (string& grown : strings) give_up(grown);
  return {.operations = appends, .elapsed = perf::clock::now() - start};
}

}  // namespace malloc_bench
