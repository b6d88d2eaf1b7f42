// A user's program with the library as it is installed, plain. What it does wrong with pooled memory must be
// reported, by AddressSanitizer in the program's own code alone, or by Valgrind's memcheck of a plain
// program, and nothing else.
//
//   memory_misuse                 does all that is allowed
//   memory_misuse MISUSE POOL     does what isn't: see `misuses` and `main`
#include "memory_misuse.hpp"

#include <cistern/buffer.hpp>
#include <cistern/byte_lease.hpp>
#include <cistern/chain.hpp>
#include <cistern/object_pool.hpp>
#include <cistern/process_pool.hpp>

#include <cstdio>
#include <cstring>
#include <list>
#include <map>
#include <memory_resource>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

const std::string long_text(5'000, 'x');

void read(const void* at) {
  (void)*static_cast<const volatile char*>(at);
}

void write(void* at) {
  *static_cast<volatile char*>(at) = 1;
}

// ---- what is allowed ----

template <class Pool>
void use_blocks(Pool& pool) {
  std::vector<cistern::sized_block> blocks;
  for (std::size_t bytes = 1; bytes < 800'000; bytes = bytes * 4 / 3 + 1) {
    void* const exact = pool.allocate(bytes);
    std::memset(exact, 1, bytes);
    pool.deallocate(exact, bytes);
    blocks.push_back(pool.allocate_at_least(bytes));
    std::memset(blocks.back().ptr, 2, blocks.back().bytes);
    blocks.push_back({pool.allocate(bytes, 128), bytes});
    std::memset(blocks.back().ptr, 3, bytes);
  }
  void* const nothing = pool.allocate(0);
  pool.deallocate(nothing, 0);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    pool.deallocate(blocks[i].ptr, blocks[i].bytes, i % 2 == 0 ? alignof(std::max_align_t) : 128);
  }
}

void use_containers(std::pmr::memory_resource* pool) {
  std::pmr::map<int, std::pmr::string> map(pool);
  std::pmr::list<std::pmr::string> list(pool);
  for (int i = 0; i < 2'000; ++i) {
    map.emplace(i, std::string(static_cast<std::size_t>(i) % 300, 'm'));
    list.emplace_back(std::string(static_cast<std::size_t>(i) % 70, 'l'));
    if (i % 3 == 0) map.erase(i / 2);
    if (i % 5 == 0) list.pop_front();
  }
}

void use_bytes(std::pmr::memory_resource* pool) {
  cistern::byte_lease lease(pool, 1'000);
  std::memset(lease.bytes().data(), 1, lease.size());
  cistern::buffer buffer(pool);
  cistern::chain chain(pool);
  for (int i = 0; i < 100; ++i) {
    buffer.append(long_text).consume(4'000);
    chain.append(long_text);
    chain.consume(4'900);
  }
  const cistern::buffer empty(pool);
  buffer.clear();  // its block is forbidden from the first byte on when it goes back
  (void)buffer.prepare(10);
  buffer.commit(0);
}

struct texts {
  std::string create() { return long_text; }
  void reset(std::string& text) { text += 'r'; }
  bool validate(const std::string& text) { return text.back() != '!'; }
  void destroy(std::string&& text) noexcept { text.clear(); }
  std::size_t retained_bytes(const std::string& text) noexcept { return text.capacity(); }
};

template <class Policy>
void use_objects(std::pmr::memory_resource* resource) {
  cistern::object_pool<std::string, texts, Policy> pool({.max_size = 20}, {}, resource);
  for (int round = 0; round < 3; ++round) {
    pool.warm(5);
    (void)pool.adopt("adopted");
    auto one = pool.acquire();
    auto other = pool.acquire();
    one->append(other->substr(1));
    if (round == 0) (void)one.detach();
    *other = "dead!";
    if (round == 2) other.discard();
    other.give_back();
    for (int i = 0; i < 10; ++i) (void)pool.acquire();
    (void)pool.evict_if([](const std::string& text) { return text.size() > 5'000; });
    (void)pool.trim();
  }
}

// Still there when the process ends: what its idle objects own is no leak.
template <class Policy>
void keep_objects() {
  static auto* const pool = new cistern::object_pool<std::string, texts, Policy>;
  pool->warm(3);
  pool->acquire()->append(long_text);
}

template <class Pool>
void use(const cistern::pool_options& options) {
  std::pmr::monotonic_buffer_resource upstream;
  for (std::pmr::memory_resource* const under :
       {std::pmr::new_delete_resource(), static_cast<std::pmr::memory_resource*>(&upstream)}) {
    Pool pool(options, under);
    for (int round = 0; round < 3; ++round) {
      use_blocks(pool);
      use_containers(&pool);
      use_bytes(&pool);
      use_objects<cistern::shared>(&pool);
      use_objects<cistern::per_thread>(&pool);
      plain::use(pool);
      pool.check_invariants();
      if (round == 0) (void)pool.trim();
      (void)pool.allocate(100);
      (void)pool.allocate(40'000'000);
      if (round == 1) pool.release();
    }
  }
}

void use_threads() {
  cistern::synchronized_pool_resource pool;
  std::vector<void*> blocks;
  for (int i = 0; i < 1'000; ++i) blocks.push_back(pool.allocate(100));
  std::thread([&] {
    for (void* const block : blocks) pool.deallocate(block, 100);
    use_blocks(pool);
  }).join();
  use_blocks(pool);
  use_containers(cistern::process_pool());
}

void use_all() {
  for (const bool zero_on_free : {false, true}) {
    for (const std::size_t largest_bytes : {std::size_t{0}, std::size_t{1'000}}) {
      const cistern::pool_options options{.largest_required_pool_block = largest_bytes,
                                          .zero_on_free = zero_on_free};
      use<cistern::unsynchronized_pool_resource>(options);
      use<cistern::synchronized_pool_resource>(options);
    }
  }
  use<cistern::unsynchronized_pool_resource>({.max_blocks_per_chunk = 3});
  use<cistern::synchronized_pool_resource>({.max_blocks_per_chunk = 3});
  use_threads();
  use_objects<cistern::shared>(nullptr);
  use_objects<cistern::per_thread>(nullptr);
  keep_objects<cistern::shared>();
  keep_objects<cistern::per_thread>();
}

// ---- what isn't ----

struct numbers {
  int create() { return 1; }
};
template <class Policy = cistern::shared>
using number_pool = cistern::object_pool<int, numbers, Policy>;

template <class Objects>
int* one_given_back(Objects& objects) {
  int* object = nullptr;
  {
    const auto lease = objects.acquire();
    object = lease.get();
  }
  return object;
}

template <class Pool>
struct misuse {
  const char* name;
  void (*commit)(Pool& pool);
};

/// What lies beside it doesn't go back to upstream then, which would tell of it in the pool's place.
template <class Pool>
void keep_one_of(Pool& pool) {
  (void)pool.allocate(100);
}

template <class Pool>
constexpr misuse<Pool> misuses[] = {
    {"read_after_free",
     [](Pool& pool) {
       keep_one_of(pool);
       auto* const block = static_cast<char*>(pool.allocate(100));
       pool.deallocate(block, 100);
       read(block + 50);
     }},
    {"write_to_the_first_byte_after_free",
     [](Pool& pool) {
       void* const block = pool.allocate(100'000);
       pool.deallocate(block, 100'000);
       write(block);
     }},
    {"read_after_virtual_free",
     [](Pool& pool) {
       keep_one_of(pool);
       std::pmr::memory_resource* const base = &pool;
       auto* const block = static_cast<char*>(base->allocate(100));
       base->deallocate(block, 100);
       read(block + 50);
     }},
    {"read_after_plain_free",
     [](Pool& pool) {
       keep_one_of(pool);
       auto* const block = static_cast<char*>(pool.allocate(100));
       plain::free(pool, block, 100);
       read(block + 50);
     }},
    {"write_to_slack", [](Pool& pool) { write(static_cast<char*>(pool.allocate(100)) + 100); }},
    {"read_behind_oversize",
     [](Pool& pool) { read(static_cast<char*>(pool.allocate(48'000'000)) + 48'000'000); }},
    {"write_to_what_was_never_out", [](Pool& pool) { write(static_cast<char*>(pool.allocate(64)) + 640); }},
    {"double_free",
     [](Pool& pool) {
       void* const block = pool.allocate(100);
       (void)pool.allocate(100);
       pool.deallocate(block, 100);
       pool.deallocate(block, 100);
     }},
    {"double_free_of_a_large_block",
     [](Pool& pool) {
       void* const block = pool.allocate(300'000);
       pool.deallocate(block, 300'000);
       pool.deallocate(block, 300'000);
     }},
    {"free_with_another_size", [](Pool& pool) { pool.deallocate(pool.allocate(100), 10); }},
    {"read_a_given_back_lease",
     [](Pool& pool) {
       cistern::byte_lease lease(&pool, 1'000);
       const auto* const bytes = lease.bytes().data();
       lease.give_back();
       read(bytes + 5);
     }},
    {"read_a_view_of_a_dead_buffer",
     [](Pool& pool) {
       std::string_view view;
       {
         const cistern::buffer buffer("hello", &pool);
         view = buffer.view();
       }
       read(view.data() + 2);
     }},
    {"read_a_view_from_before_growth",
     [](Pool& pool) {
       cistern::buffer buffer("hello", &pool);
       const std::string_view view = buffer.view();
       buffer.append(long_text);
       read(view.data() + 2);
     }},
    {"write_to_an_idle_object",
     [](Pool& pool) {
       number_pool<> objects({}, {}, &pool);
       write(one_given_back(objects));
     }},
    {"read_an_idle_object_of_a_thread",
     [](Pool& pool) {
       number_pool<cistern::per_thread> objects({}, {}, &pool);
       read(one_given_back(objects));
     }},
    {"write_behind_an_object",
     [](Pool& pool) {
       number_pool<> objects({}, {}, &pool);
       const auto lease = objects.acquire();
       write(lease.get() + 1);
     }},
    {"read_a_trimmed_object",
     [](Pool& pool) {
       number_pool<> objects({}, {}, &pool);
       int* const object = one_given_back(objects);
       (void)objects.trim();
       read(object);
     }},
};

template <class Pool>
int commit(std::string_view name) {
  for (const misuse<Pool>& each : misuses<Pool>) {
    if (name == each.name) {
      Pool pool;
      each.commit(pool);
      std::fprintf(stderr, "unnoticed: %s\n", each.name);
      return 0;
    }
  }
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    use_all();
    return 0;
  }
  return std::string_view(argv[2]) == "synchronized" ? commit<cistern::synchronized_pool_resource>(argv[1])
                                                     : commit<cistern::unsynchronized_pool_resource>(argv[1]);
}
