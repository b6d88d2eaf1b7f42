// The heap under malloc, by itself: against a model, at every size and alignment, with threads, at the end of
// threads, in forked children, and without memory. malloc stays what it is in this program.
#include <cistern/detail/base/assert.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/address_space.hpp"
#include "../support/death.hpp"
#include "../support/refused_calls.hpp"
#include "../support/sanitizers.hpp"
#include "../support/threads.hpp"
#include <malloc/heap.hpp>
#include <malloc/heap_pages.hpp>
#include <malloc/large_blocks.hpp>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

using cistern::detail::heap;
using cistern::detail::large_blocks::in_use;
using cistern::test_support::current_memory_use;
using cistern::test_support::leave_address_space;
using cistern::test_support::madvise_call;
using cistern::test_support::mmap_call;
using cistern::test_support::mremap_call;
using cistern::test_support::munmap_call;
using cistern::test_support::require;
using cistern::test_support::run_and_die;
using cistern::test_support::run_thread;
using cistern::test_support::run_threads;
using cistern::test_support::thread_sanitizer;
using cistern::test_support::while_refused;

namespace {

constexpr int effort = thread_sanitizer ? 1 : 5;  // it takes its time

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = kib * kib;

// A block full of one byte, which tells whether anybody else wrote into it.
struct filled_block {
  unsigned char* data = nullptr;
  std::size_t bytes = 0;
  unsigned char fill = 0;

  void write() const { std::memset(data, fill, bytes); }
  [[nodiscard]] bool is_whole(std::size_t checked_bytes) const {
    const std::size_t count = std::min(bytes, checked_bytes);
    return count == 0 || (data[0] == fill && std::memcmp(data, data + 1, count - 1) == 0);
  }
  [[nodiscard]] bool is_whole() const { return is_whole(bytes); }
};

bool is_aligned(const void* block, std::size_t alignment) {
  return reinterpret_cast<std::uintptr_t>(block) % alignment == 0;
}

std::vector<std::size_t> sizes_around_every_class() {
  std::vector<std::size_t> sizes{0, 1, 2, 7, 8, 9};
  for (unsigned index = 0; index < cistern::detail::class_count; ++index) {
    const std::size_t bytes = cistern::detail::class_block_bytes(index);
    if (bytes <= 64 * mib) sizes.insert(sizes.end(), {bytes - 1, bytes, bytes + 1});
  }
  return sizes;
}

// Mostly small, sometimes huge.
std::size_t random_bytes(std::mt19937_64& random) {
  const auto bits = random() % 100;
  const std::size_t bound = bits < 70 ? 300 : bits < 90 ? 5'000 : bits < 99 ? 200 * kib : 3 * mib;
  return random() % bound;
}

// One step of a random life of blocks: allocate, zeroed or aligned too, reallocate, free.
void random_step(std::mt19937_64& random, std::vector<filled_block>& live) {
  const auto fill = static_cast<unsigned char>(random());
  const std::size_t bytes = random_bytes(random);
  const auto choice = random() % 10;
  if (live.empty() || choice < 4) {
    filled_block made{nullptr, bytes, fill};
    if (choice == 0) {
      const std::size_t alignment = std::size_t{1} << (random() % 14);
      made.data = static_cast<unsigned char*>(heap::allocate(bytes, alignment));
      require(is_aligned(made.data, alignment), "misaligned");
    } else if (choice == 1) {
      made.data = static_cast<unsigned char*>(heap::allocate_zeroed(bytes));
      require(filled_block{made.data, bytes, 0}.is_whole(), "not zero");
    } else {
      made.data = static_cast<unsigned char*>(heap::allocate(bytes));
    }
    require(made.data != nullptr && is_aligned(made.data, 16), "no block");
    require(heap::usable_bytes(made.data) >= bytes, "less usable than asked for");
    made.write();
    live.push_back(made);
    return;
  }
  std::swap(live[random() % live.size()], live.back());
  filled_block& block = live.back();
  require(block.is_whole(), "somebody else wrote into the block");
  if (choice < 7) {
    block.data = static_cast<unsigned char*>(heap::reallocate(block.data, bytes));
    require(block.data != nullptr, "reallocate failed");
    require(block.is_whole(bytes), "reallocate lost content");
    block = {block.data, bytes, fill};
    block.write();
    return;
  }
  heap::deallocate(block.data);
  live.pop_back();
}

void free_all(std::vector<filled_block>& live) {
  for (const filled_block& block : live) {
    require(block.is_whole(), "somebody else wrote into the block");
    heap::deallocate(block.data);
  }
  live.clear();
}

// Some of everything the heap does, for moments that are odd in themselves.
void use_heap() {
  std::mt19937_64 random(1);
  std::vector<filled_block> live;
  live.reserve(200);
  for (int i = 0; i < 500; ++i) random_step(random, live);
  free_all(live);
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_size_is_served_aligned_and_whole) {
  std::vector<filled_block> live;
  unsigned char fill = 0;
  for (const std::size_t bytes : sizes_around_every_class()) {
    void* block = heap::allocate(bytes);
    BOOST_REQUIRE(block != nullptr);
    BOOST_TEST(is_aligned(block, 16));
    const std::size_t usable = heap::usable_bytes(block);
    BOOST_TEST(usable >= bytes);
    BOOST_TEST((bytes < 100 || usable <= bytes + bytes / 4 + 8 * kib));
    if (usable <= mib) live.push_back({static_cast<unsigned char*>(block), usable, ++fill});
    if (usable <= mib) live.back().write();
    if (usable > mib) {
      static_cast<char*>(block)[usable - 1] = 1;
      heap::deallocate(block);
    }
  }
  free_all(live);
}

BOOST_AUTO_TEST_CASE(every_alignment_is_served) {
  for (std::size_t alignment = 1; alignment <= 4 * mib; alignment *= 2) {
    std::vector<filled_block> live;
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{100}, 5 * kib, 70 * kib}) {
      for (int i = 0; i < 3; ++i) {
        auto* block = static_cast<unsigned char*>(heap::allocate(bytes, alignment));
        BOOST_REQUIRE(block != nullptr);
        BOOST_TEST(is_aligned(block, std::max<std::size_t>(alignment, 16)));
        live.push_back({block, heap::usable_bytes(block), static_cast<unsigned char>(i + 1)});
        live.back().write();
      }
    }
    free_all(live);
  }
}

BOOST_AUTO_TEST_CASE(blocks_of_no_bytes_are_unique) {
  void* one = heap::allocate(0);
  void* other = heap::allocate_zeroed(0);
  BOOST_TEST(one != nullptr);
  BOOST_TEST(other != nullptr);
  BOOST_TEST(one != other);
  heap::deallocate(one);
  heap::deallocate(other);
  heap::deallocate(nullptr);
  heap::deallocate(nullptr, 8, 8);
  BOOST_TEST(heap::usable_bytes(nullptr) == 0u);
}

BOOST_AUTO_TEST_CASE(sizes_out_of_reach_are_refused) {
  for (const std::size_t bytes : {SIZE_MAX, SIZE_MAX - 15, SIZE_MAX - 4096, SIZE_MAX / 2 + 1, SIZE_MAX / 2}) {
    for (const std::size_t alignment :
         {std::size_t{1}, std::size_t{64}, 4 * kib, mib, std::size_t{1} << 63}) {
      errno = 0;
      BOOST_TEST(heap::allocate(bytes, alignment) == nullptr);
      BOOST_TEST(errno == ENOMEM);
    }
    errno = 0;
    BOOST_TEST(heap::allocate_zeroed(bytes) == nullptr);
    BOOST_TEST(errno == ENOMEM);
    for (const std::size_t old_bytes : {std::size_t{10}, 100 * kib, 40 * mib}) {
      filled_block block{static_cast<unsigned char*>(heap::allocate(old_bytes)), 10, 3};
      block.write();
      errno = 0;
      BOOST_TEST(heap::reallocate(block.data, bytes) == nullptr);
      BOOST_TEST(errno == ENOMEM);
      BOOST_TEST(block.is_whole());
      heap::deallocate(block.data);
    }
  }
}

BOOST_AUTO_TEST_CASE(reallocate_keeps_the_content_in_both_directions) {
  std::vector<std::size_t> sizes = sizes_around_every_class();
  for (int direction = 0; direction < 2; ++direction) {
    filled_block block{static_cast<unsigned char*>(heap::reallocate(nullptr, sizes[0])), sizes[0], 1};
    block.write();
    for (const std::size_t bytes : sizes) {
      block.data = static_cast<unsigned char*>(heap::reallocate(block.data, bytes));
      BOOST_REQUIRE(block.data != nullptr);
      BOOST_REQUIRE(block.is_whole(std::min<std::size_t>(bytes, 10 * kib)));
      if (bytes > block.bytes && block.bytes > 0) BOOST_TEST(block.data[block.bytes - 1] == block.fill);
      block = {block.data, bytes, static_cast<unsigned char>(block.fill + 1)};
      block.write();
    }
    heap::deallocate(block.data);
    std::reverse(sizes.begin(), sizes.end());
  }
}

BOOST_AUTO_TEST_CASE(reallocate_stays_in_place_while_the_block_will_do) {
  for (const std::size_t bytes : {std::size_t{100}, 10 * kib, mib, 40 * mib}) {
    void* block = heap::allocate(bytes);
    const std::size_t usable = heap::usable_bytes(block);
    BOOST_TEST(heap::reallocate(block, usable) == block);
    void* const smaller = heap::reallocate(block, bytes - bytes / 4);
    // Between guards it moves, without a copy.
    BOOST_TEST((smaller == block || (cistern::detail::hardened_build && bytes >= mib)));
    block = smaller;
    void* const shrunk = heap::reallocate(block, bytes / 5);
    BOOST_TEST(heap::usable_bytes(shrunk) < usable / 2);
    heap::deallocate(shrunk);
  }
}

BOOST_AUTO_TEST_CASE(zeroed_means_zero_also_where_a_block_was_used_before) {
  for (const std::size_t bytes :
       {std::size_t{1}, std::size_t{100}, 5 * kib, 60 * kib, 100 * kib, 3 * mib, 40 * mib}) {
    for (int round = 0; round < 3; ++round) {
      auto* block = static_cast<unsigned char*>(heap::allocate_zeroed(bytes));
      BOOST_REQUIRE(block != nullptr);
      BOOST_TEST((filled_block{block, bytes, 0}.is_whole()));
      std::memset(block, 0xFF, heap::usable_bytes(block));
      heap::deallocate(block);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_size_given_back_saves_the_look_up) {
  for (const std::size_t bytes : sizes_around_every_class()) {
    if (bytes > mib) continue;
    for (const std::size_t alignment :
         {std::size_t{1}, std::size_t{16}, std::size_t{64}, 4 * kib, 64 * kib}) {
      void* block = heap::allocate(bytes, alignment);
      heap::deallocate(block, bytes, alignment);
    }
  }
  use_heap();
}

BOOST_AUTO_TEST_CASE(errno_survives_a_free) {
  std::vector<void*> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(heap::allocate(100));
  for (const std::size_t bytes : {mib, 40 * mib}) blocks.push_back(heap::allocate(bytes));
  errno = EDOM;
  for (void* block : blocks) heap::deallocate(block);
  BOOST_TEST(errno == EDOM);
}

BOOST_AUTO_TEST_CASE(a_random_life_agrees_with_its_model) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      std::mt19937_64 random(seed);
      std::vector<filled_block> live;
      for (int i = 0; i < effort * 3'000; ++i) {
        random_step(random, live);
        if (live.size() > 300) heap::deallocate(live.back().data), live.pop_back();
      }
      free_all(live);
    }
  }
}

BOOST_AUTO_TEST_CASE(threads_free_and_reallocate_what_others_allocated) {
  constexpr std::size_t threads = 4;
  std::mutex lock;
  std::vector<filled_block> shared;  // guarded by lock
  run_threads(threads, [&](std::size_t index) {
    std::mt19937_64 random(index + 10);
    std::vector<filled_block> live;
    for (int i = 0; i < effort * 2'000; ++i) {
      random_step(random, live);
      if (i % 10 == 0) {
        const std::lock_guard guard(lock);
        if (!live.empty()) shared.push_back(live.back()), live.pop_back();
        if (!shared.empty() && random() % 2 == 0) {
          std::swap(shared[random() % shared.size()], shared.back());
          live.push_back(shared.back());
          shared.pop_back();
        }
      }
    }
    free_all(live);
  });
  free_all(shared);
}

namespace {

std::atomic<int> late_uses{0};

void use_late(void* block) {
  heap::deallocate(block);
  use_heap();
  ++late_uses;
}

struct used_by_destructor {
  void* block = nullptr;
  ~used_by_destructor() {
    heap::deallocate(block);
    use_heap();
    ++late_uses;
  }
};
thread_local used_by_destructor at_thread_end;

}  // namespace

BOOST_AUTO_TEST_CASE(destructors_at_the_end_of_a_thread_may_use_it) {
  pthread_key_t key{};
  BOOST_REQUIRE(pthread_key_create(&key, use_late) == 0);
  constexpr int threads = 20;
  for (int i = 0; i < threads; ++i) {
    run_thread([key] {
      at_thread_end.block = heap::allocate(50);
      require(pthread_setspecific(key, heap::allocate(70)) == 0, "pthread_setspecific");
      use_heap();
    });
  }
  BOOST_TEST(late_uses == 2 * threads);
  pthread_key_delete(key);
}

BOOST_AUTO_TEST_CASE(ended_threads_leave_their_memory_to_others) {
  const auto resident_bytes = [] { return current_memory_use().resident_bytes; };
  const auto life = [] {
    std::vector<void*> blocks;
    for (int i = 0; i < 2'000; ++i) blocks.push_back(std::memset(heap::allocate(1'000), 1, 1'000));
    for (void* block : blocks) heap::deallocate(block);
  };
  for (int i = 0; i < 3; ++i) run_thread(life);
  const std::size_t before = resident_bytes();
  for (int i = 0; i < 50; ++i) run_thread(life);
  BOOST_TEST(resident_bytes() < before + 40 * mib);  // 50 threads took 100 MB in turn
}

BOOST_AUTO_TEST_CASE(trim_gives_idle_memory_back) {
  std::vector<void*> blocks;
  for (int i = 0; i < 5'000; ++i) blocks.push_back(std::memset(heap::allocate(4'000), 1, 4'000));
  for (void* block : blocks) heap::deallocate(block);
  BOOST_TEST(heap::trim(0));
  use_heap();
}

BOOST_AUTO_TEST_CASE(a_child_of_a_fork_can_go_on_whatever_other_threads_do) {
  std::atomic<bool> stop{false};
  std::atomic<int> laps{0};
  std::vector<std::thread> busy;
  for (int i = 0; i < 3; ++i) {
    busy.emplace_back([&] {
      while (!stop) {
        use_heap();
        ++laps;
      }
    });
  }
  for (int i = 0; i < 2 * effort; ++i) {
    const int seen = laps;
    while (laps == seen) std::this_thread::yield();
    const auto child = run_and_die([] {
      use_heap();
      if (!thread_sanitizer) run_thread(use_heap);  // it supports no threads in such a child
      heap::trim(0);
      use_heap();
    });
    BOOST_TEST(child.description == "exited with 0");
  }
  stop = true;
  for (std::thread& thread : busy) thread.join();
}

namespace {

/// So many bytes mapped on either side of a multiple of 4 GiB, where nothing else is; or null.
std::byte* map_around_boundary(std::size_t bytes_on_either_side) {
  constexpr std::uintptr_t four_gib = std::uintptr_t{1} << 32;
  // Of these two places each sanitizer leaves one to the program.
  for (std::uintptr_t boundary = 0x40 * four_gib; boundary < 0x2040 * four_gib;
       boundary += boundary == 0x60 * four_gib ? 0x1FC0 * four_gib : four_gib) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): an address to ask for
    auto* wanted = reinterpret_cast<std::byte*>(boundary - bytes_on_either_side);
    void* got = ::mmap(wanted, 2 * bytes_on_either_side, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got == wanted) return wanted;
    if (got != MAP_FAILED) ::munmap(got, 2 * bytes_on_either_side);  // an old kernel took it for a hint
  }
  return nullptr;
}

}  // namespace

// The page map has a table for each 4 GiB, made when it is needed.
BOOST_AUTO_TEST_CASE(what_grows_over_a_boundary_of_the_page_map_stays_known) {
  using cistern::detail::heap_map;
  std::byte* const pages = map_around_boundary(4 * mib);
  BOOST_REQUIRE(pages != nullptr);
  BOOST_REQUIRE(heap_map.cover(pages, 4 * mib));
  heap_map.set(pages + 4 * kib, 1, 200);
  ::munmap(pages + 4 * mib, 4 * mib);
  auto* const grown =
      static_cast<std::byte*>(cistern::detail::remap_told_pages(pages, pages + 4 * kib, 4 * mib, 8 * mib));
  BOOST_REQUIRE((grown == pages));
  BOOST_TEST(int{heap_map.at(grown + 4 * kib)} == 200);
  for (const std::size_t offset : {std::size_t{0}, 4 * mib, 8 * mib - 1}) {
    BOOST_TEST(int{heap_map.at(grown + offset)} == 0);
  }
  heap_map.set(grown + 4 * kib, 1, 0);
  ::munmap(grown, 8 * mib);
}

BOOST_AUTO_TEST_CASE(large_blocks_grow_and_shrink_beside_each_other) {
  std::vector<filled_block> live;
  for (int i = 0; i < 3; ++i) {
    live.push_back(
        {static_cast<unsigned char*>(heap::allocate(33 * mib)), kib, static_cast<unsigned char>(i)});
    live.back().write();
  }
  for (const std::size_t bytes : {50 * mib, 34 * mib, 200 * mib, 40 * mib}) {
    for (filled_block& block : live) {
      block.data = static_cast<unsigned char*>(heap::reallocate(block.data, bytes));
      BOOST_REQUIRE(block.data != nullptr);
      BOOST_TEST(block.is_whole());
      BOOST_TEST(heap::usable_bytes(block.data) >= bytes);
      block.data[bytes - 1] = 1;
    }
  }
  free_all(live);
}

BOOST_AUTO_TEST_CASE(a_large_block_is_counted_as_large_as_it_has_become) {
  const auto before = in_use();
  void* block = heap::allocate(40 * mib);
  for (const std::size_t bytes : {80 * mib, 50 * mib, 200 * mib}) {
    block = heap::reallocate(block, bytes);
    BOOST_REQUIRE(block != nullptr);
    BOOST_TEST(in_use().live_blocks == before.live_blocks + 1);
    BOOST_TEST(in_use().live_bytes - before.live_bytes >= bytes);
    BOOST_TEST(in_use().live_bytes - before.live_bytes <= bytes + bytes / 4);
  }
  heap::deallocate(block);
  BOOST_TEST(in_use().live_blocks == before.live_blocks);
  BOOST_TEST(in_use().live_bytes == before.live_bytes);
}

// Two at a time, so that what lies behind is in use. Once it is large, a block moves its pages.
// ThreadSanitizer has nothing to see in it, and copies all that moves, for minutes.
BOOST_AUTO_TEST_CASE(what_grows_is_not_copied_over_and_over,
                     *boost::unit_test::enable_if<!thread_sanitizer>()) {
  for (const std::size_t step_bytes : {100 * kib, mib + 7}) {
    const std::size_t before = heap::copied_bytes();
    std::vector<filled_block> live(2);
    for (std::size_t bytes = step_bytes; bytes < 60 * mib; bytes += step_bytes) {
      for (filled_block& block : live) {
        block.data = static_cast<unsigned char*>(heap::reallocate(block.data, bytes));
        BOOST_REQUIRE(block.data != nullptr);
        block.data[block.bytes] = block.fill = 7;
        block.data[bytes - 1] = 7;
        block.bytes = bytes;
      }
    }
    for (const filled_block& block : live) {
      for (std::size_t bytes = step_bytes; bytes < 60 * mib; bytes += step_bytes) {
        require(block.data[bytes - 1] == 7, "lost content");
      }
      heap::deallocate(block.data);
    }
    BOOST_TEST(heap::copied_bytes() - before <= 12 * mib);  // of twice 60 MiB; was hundreds
  }
}

BOOST_AUTO_TEST_CASE(what_grew_and_shrinks_gives_its_memory_back) {
  void* block = heap::allocate(300 * kib);
  void* const behind = heap::allocate(300 * kib);
  for (const std::size_t bytes : {600 * kib, 2 * mib, 20 * mib}) block = heap::reallocate(block, bytes);
  std::memset(block, 1, 20 * mib);
  const std::size_t full = current_memory_use().resident_bytes;
  block = heap::reallocate(block, 2 * mib);
  BOOST_TEST(heap::usable_bytes(block) < 4 * mib);
  if (!thread_sanitizer) BOOST_TEST(current_memory_use().resident_bytes < full - 15 * mib);
  BOOST_TEST((filled_block{static_cast<unsigned char*>(block), 2 * mib, 1}.is_whole()));
  block = heap::reallocate(block, 100);
  BOOST_TEST((filled_block{static_cast<unsigned char*>(block), 100, 1}.is_whole()));
  heap::deallocate(block);
  heap::deallocate(behind);
}

BOOST_AUTO_TEST_CASE(out_of_memory_is_told_by_null_and_passes) {
  const auto child = run_and_die([] {
    leave_address_space(300 * mib);
    for (const std::size_t bytes : {std::size_t{10'000}, 100 * kib, 5 * mib, 50 * mib}) {
      void** chain = nullptr;
      std::size_t count = 0;
      for (void* block = nullptr; (block = heap::allocate(bytes)) != nullptr; ++count) {
        *static_cast<void**>(block) = chain;
        chain = static_cast<void**>(block);
      }
      if (errno != ENOMEM || count == 0) ::_exit(11);
      if (heap::reallocate(chain, 100 * mib) != nullptr || errno != ENOMEM) ::_exit(12);
      while (chain != nullptr) {
        heap::deallocate(std::exchange(chain, static_cast<void**>(*chain)));
      }
      void* block = heap::allocate(bytes);
      if (block == nullptr) ::_exit(13);
      heap::deallocate(block);
    }
    use_heap();
  });
  BOOST_TEST(child.description == "exited with 0");
}

BOOST_AUTO_TEST_CASE(no_addresses_are_lost_where_the_system_takes_none_back) {
  const auto round = [] {
    std::vector<void*> blocks;
    for (int i = 0; i < 20; ++i) blocks.push_back(std::memset(heap::allocate(40 * mib), 1, 10));
    for (std::size_t i = 0; i < blocks.size(); i += 2) heap::deallocate(blocks[i]);
    for (std::size_t i = 0; i < blocks.size(); i += 2) blocks[i] = heap::allocate_zeroed(40 * mib);
    for (std::size_t i = 0; i < blocks.size(); i += 2) {
      require(filled_block{static_cast<unsigned char*>(blocks[i]), 10 * kib, 0}.is_whole(), "not zero");
    }
    for (void* block : blocks) heap::deallocate(block);
  };
  const std::size_t before = current_memory_use().virtual_bytes;
  {
    const while_refused no_munmap(munmap_call);
    round();
    heap::trim(0);
    const std::size_t after_one = current_memory_use().virtual_bytes;
    for (int i = 0; i < 3; ++i) {
      round();
      heap::trim(0);  // a hardened build keeps addresses of freed blocks until then
    }
    BOOST_TEST(current_memory_use().virtual_bytes < after_one + 40 * mib);
  }
  round();
  heap::trim(0);
  BOOST_TEST(current_memory_use().virtual_bytes < before + 40 * mib);
}

BOOST_AUTO_TEST_CASE(a_block_that_can_not_move_is_copied) {
  filled_block block{static_cast<unsigned char*>(heap::allocate(40 * mib)), 10 * kib, 5};
  block.write();
  const while_refused no_mremap(mremap_call);
  for (const std::size_t bytes : {60 * mib, 80 * mib, 35 * mib}) {
    block.data = static_cast<unsigned char*>(heap::reallocate(block.data, bytes));
    BOOST_REQUIRE(block.data != nullptr);
    BOOST_TEST(block.is_whole());
  }
  heap::deallocate(block.data);
}

BOOST_AUTO_TEST_CASE(a_trim_does_without_madvise) {
  std::vector<void*> blocks;
  for (int i = 0; i < 1'000; ++i) blocks.push_back(std::memset(heap::allocate(40'000), 1, 40'000));
  for (std::size_t i = 0; i < blocks.size(); i += 2) heap::deallocate(blocks[i]);
  {
    const while_refused no_madvise(madvise_call);
    heap::trim(0);
  }
  for (std::size_t i = 0; i < blocks.size(); i += 2) {
    blocks[i] = heap::allocate_zeroed(40'000);
    require(filled_block{static_cast<unsigned char*>(blocks[i]), 40'000, 0}.is_whole(), "not zero");
  }
  for (void* block : blocks) heap::deallocate(block);
}

// Small blocks too: those of the pages that stay are in no list for a moment.
BOOST_AUTO_TEST_CASE(a_trim_between_survivors_does_without_madvise) {
  std::vector<void*> blocks;
  for (int i = 0; i < 20'000; ++i) blocks.push_back(std::memset(heap::allocate(112), 1, 112));
  const auto free_most = [&] {
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (i % 100 != 0) heap::deallocate(blocks[i]);
    }
  };
  for (const bool refused : {true, false}) {
    free_most();
    const std::size_t discarded_before = heap::statistics().discarded_bytes;
    if (refused) {
      const while_refused no_madvise(madvise_call);
      heap::trim(0);
    } else {
      heap::trim(0);
    }
    BOOST_TEST((heap::statistics().discarded_bytes == discarded_before) == refused);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (i % 100 != 0) blocks[i] = std::memset(heap::allocate(112), 1, 112);
    }
    std::vector<void*> sorted = blocks;
    std::sort(sorted.begin(), sorted.end());
    require(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end(), "a block twice");
    for (void* block : blocks) {
      require(filled_block{static_cast<unsigned char*>(block), 112, 1}.is_whole(), "content is gone");
    }
  }
  for (void* block : blocks) heap::deallocate(block);
}

// Whichever call of the system is the one that fails. On one thread: nothing for ThreadSanitizer.
BOOST_AUTO_TEST_CASE(a_mapping_that_is_refused_changes_nothing,
                     *boost::unit_test::enable_if<!thread_sanitizer>()) {
  for (const std::size_t bytes : {std::size_t{200}, 50 * kib, 300 * kib, 3 * mib, 40 * mib, 5000 * mib}) {
    long passes = 0;
    for (bool served = false; !served; ++passes) {
      BOOST_REQUIRE(passes < 200);
      const auto child = run_and_die([bytes, passes] {
        const bool is_small = bytes < mib;
        filled_block kept{static_cast<unsigned char*>(heap::allocate(bytes / 2)), 100, 1};
        kept.write();
        heap::trim(0);
        mmap_call.refuse_after(passes);
        std::vector<void*> blocks(is_small ? 6 * mib / bytes : 1);
        bool refused = false;
        for (void*& block : blocks) {
          errno = 0;
          block = heap::allocate(bytes);
          refused = refused || block == nullptr;
          if (block == nullptr && errno != ENOMEM) ::_exit(11);
        }
        void* const moved = heap::reallocate(kept.data, bytes + bytes / 2);
        refused = refused || moved == nullptr;
        kept.data = moved != nullptr ? static_cast<unsigned char*>(moved) : kept.data;
        if (!kept.is_whole()) ::_exit(12);
        mmap_call.allow();
        for (void* block : blocks) heap::deallocate(block);
        heap::deallocate(kept.data);
        use_heap();
        ::_exit(refused ? 1 : 0);
      });
      served = child.description == "exited with 0";
      BOOST_TEST((served || child.description == "exited with 1"), child.description);
    }
    BOOST_TEST(passes > 1);  // at least one was refused
  }
}

namespace {

/// Calls of the system for memory so far.
long calls_of_system() {
  return mmap_call.calls() + munmap_call.calls() + mremap_call.calls() + madvise_call.calls();
}

constexpr bool counts_calls = !thread_sanitizer && !cistern::detail::hardened_build;  // that maps each block

}  // namespace

BOOST_AUTO_TEST_CASE(a_large_free_asks_the_system_for_as_much_however_many_live,
                     *boost::unit_test::enable_if<counts_calls>()) {
  constexpr std::size_t most_calls_per_free = 1;
  std::mt19937_64 random(2);
  for (const std::size_t live_blocks : {std::size_t{500}, std::size_t{8'000}}) {
    std::vector<void*> blocks(live_blocks);
    for (int round = 0; round < 3; ++round) {
      for (void*& block : blocks) {
        block = std::memset(heap::allocate(33 * kib + random() % 1'000'000), 1, 1);
      }
      std::shuffle(blocks.begin(), blocks.end(), random);
      const long before = calls_of_system();
      for (void* block : blocks) heap::deallocate(block);
      const auto calls = static_cast<std::size_t>(calls_of_system() - before);
      BOOST_TEST(calls <= most_calls_per_free * live_blocks, calls << " calls, " << live_blocks << " frees");
    }
  }
}

// What lies idle between the survivors is more than the heap keeps: that is not what is freed next.
BOOST_AUTO_TEST_CASE(survivors_of_a_peak_send_no_other_size_to_the_system,
                     *boost::unit_test::enable_if<counts_calls>()) {
  constexpr long rounds = 2'000;
  constexpr long most_calls = rounds / 50;  // of two pairs each
  std::mt19937_64 random(1);
  std::vector<void*> peak(1'600'000);
  for (void*& block : peak) block = heap::allocate(64);
  std::vector<void*> survivors;
  for (std::size_t i = 0; i < peak.size(); i += 256) survivors.push_back(std::exchange(peak[i], nullptr));
  std::shuffle(peak.begin(), peak.end(), random);
  for (void* block : peak) heap::deallocate(block);
  const auto calls_of_pairs = [&] {
    const long before = calls_of_system();
    for (long round = 0; round < rounds; ++round) {
      for (const std::size_t bytes : {std::size_t{100'000}, 60'000 + random() % 600'000}) {
        heap::deallocate(std::memset(heap::allocate(bytes), 1, 1));
      }
    }
    return calls_of_system() - before;
  };
  (void)calls_of_pairs();  // what the peak, and the cases before, left to be given back
  BOOST_TEST(calls_of_pairs() <= most_calls);
  for (void* block : survivors) heap::deallocate(block);
}

// By the address and the state of a block; global_new's foreign allocator, which this program has, is malloc.
BOOST_AUTO_TEST_CASE(what_is_no_block_in_use_is_reported) {
  using cistern::test_support::dies_saying;
  const std::string freed = "): the block was freed before";
  const std::string interior = "): not the beginning of a block";
  for (const std::size_t bytes :
       {std::size_t{16}, std::size_t{100}, 5 * kib, 100 * kib, 300 * kib, 3 * mib}) {
    BOOST_TEST_CONTEXT(bytes << " bytes") {
      const auto allocate = [bytes] { return static_cast<std::byte*>(heap::allocate(bytes)); };
      BOOST_TEST(dies_saying(freed, [&] {
        void* const block = allocate();
        heap::deallocate(block);
        heap::deallocate(block);
      }));
      BOOST_TEST(dies_saying(freed, [&] {
        std::byte* const block = allocate();
        std::byte* const other = allocate();
        heap::deallocate(block);
        heap::deallocate(other);
        heap::deallocate(block);
      }));
      BOOST_TEST(dies_saying("realloc(", [&] {
        void* const block = allocate();
        heap::deallocate(block);
        (void)heap::reallocate(block, 2 * bytes);
      }));
      BOOST_TEST(dies_saying(interior, [&] { heap::deallocate(allocate() + 8); }));
      BOOST_TEST(dies_saying(interior, [&] { heap::deallocate(allocate() + 1, "operator delete"); }));
      BOOST_TEST(dies_saying("realloc(", [&] { (void)heap::reallocate(allocate() + 4, 10); }));
      if (cistern::detail::checked_build && bytes > 16) {
        BOOST_TEST(dies_saying(interior, [&] { heap::deallocate(allocate() + 16); }));
      }
    }
  }
  BOOST_TEST(dies_saying(interior,
                         [] { heap::deallocate(static_cast<std::byte*>(heap::allocate(40 * mib)) + 16); }));
}

BOOST_AUTO_TEST_CASE(a_block_is_in_use_again_however_it_came) {
  // Freed and handed out by every path, with whatever is left in it.
  for (const std::size_t bytes :
       {std::size_t{16}, std::size_t{100}, 5 * kib, 100 * kib, 300 * kib, 3 * mib}) {
    for (int round = 0; round < 3; ++round) {
      std::vector<void*> blocks;
      for (std::size_t i = 0; i < std::max<std::size_t>(2, mib / bytes / 4); ++i) {
        blocks.push_back(i % 2 == 0 ? heap::allocate(bytes) : heap::allocate(bytes, 64));
      }
      for (void* block : blocks) heap::deallocate(block);
      if (round == 1) heap::trim(0);
    }
  }
}

BOOST_AUTO_TEST_CASE(misuse_is_reported_in_a_checked_build) {
  if constexpr (cistern::detail::checked_build) {
    using cistern::test_support::dies_saying;
    BOOST_TEST(dies_saying("not the address of a block in use", [] { heap::deallocate(std::malloc(100)); }));
    BOOST_TEST(dies_saying("): the block was freed before", [] {
      // A trim takes away what a free block would be known by.
      heap::trim(0);
      std::vector<void*> blocks;  // in spans of 36, 9 a page
      for (int i = 0; i < 10'000; ++i) blocks.push_back(heap::allocate(448));
      for (std::size_t i = 0; i < blocks.size(); ++i) {
        if (i % 30 != 0) heap::deallocate(blocks[i]);
      }
      heap::trim(0);
      heap::deallocate(blocks[9'015]);
    }));
    BOOST_TEST(dies_saying("delete with another size than new",
                           [] { heap::deallocate(heap::allocate(100), 200, 16); }));
  } else {
    heap::deallocate(std::malloc(100));
  }
}
