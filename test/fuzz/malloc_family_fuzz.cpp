// Fuzz body: any program of bytes on the C allocation functions of this process, beside a model of what the C
// standard promises of them. Link it with the malloc under test.
#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <stdexcept>

#include "../support/program_bytes.hpp"
#include <malloc.h>

namespace {

void demand(bool condition, const char* what) {
  if (!condition) throw std::logic_error(what);
}

struct block {
  unsigned char* ptr = nullptr;
  std::size_t bytes = 0;
  unsigned char mark = 0;
};

class malloc_program {
 public:
  explicit malloc_program(std::span<const std::uint8_t> bytes) : program_(bytes) {}
  malloc_program(const malloc_program&) = delete;
  malloc_program& operator=(const malloc_program&) = delete;
  ~malloc_program() {
    for (block& each : blocks_) std::free(each.ptr);
  }

  void run() {
    while (!program_.empty()) step(program_.byte());
    for (block& each : blocks_) {
      if (each.ptr != nullptr) free_one(each);
    }
  }

 private:
  void step(std::uint8_t what) {
    block& one = blocks_[program_.byte() % blocks_.size()];
    if (what % 16 < 4) {
      free_one(one);
    } else if (what % 16 < 8) {
      reallocate(one, what % 16 == 7);
    } else if (what % 16 < 15) {
      free_one(one);
      allocate(one, what % 16);
    } else {
      refuse(what / 16);
    }
  }

  // Mostly small, to either side of pages and powers of two, and now and then large.
  std::size_t size() {
    const std::uint8_t kind = program_.byte();
    const std::size_t number = program_.word();
    return kind < 128   ? number % 1'100
           : kind < 200 ? number
           : kind < 240 ? (std::size_t{1} << number % 22) + number / 256 % 3 - 1
           : kind < 254 ? number * 16
                        : number * 1'024;
  }

  void allocate(block& one, unsigned how) {
    const std::size_t bytes = size();
    const std::size_t alignment = std::size_t{1} << program_.byte() % 15;
    const int errno_before = errno = 4'711;
    std::size_t least_alignment = std::min<std::size_t>(std::bit_floor(bytes | 1), alignof(std::max_align_t));
    void* ptr = nullptr;
    bool zeroed = false;
    if (how < 10) {
      ptr = std::malloc(bytes);
    } else if (how < 12) {
      const std::size_t count = 1 + program_.byte() % 7U;
      ptr = std::calloc(count, (bytes + count - 1) / count);
      zeroed = true;
    } else {
      least_alignment = how == 14 ? std::max(alignment, sizeof(void*)) : alignment;
      if (how == 12) {
        ptr = ::aligned_alloc(alignment, bytes);
      } else if (how == 13) {
        ptr = ::memalign(alignment, bytes);
      } else if (::posix_memalign(&ptr, least_alignment, bytes) != 0) {
        ptr = nullptr;
      }
    }
    demand(ptr != nullptr, "a request of reasonable size fails");
    demand(errno == errno_before, "a request that succeeds changes errno");
    demand(reinterpret_cast<std::uintptr_t>(ptr) % least_alignment == 0, "the alignment");
    demand(::malloc_usable_size(ptr) >= bytes, "the usable size");
    one = {static_cast<unsigned char*>(ptr), bytes, next_mark()};
    demand(!zeroed || holds(one, bytes, 0), "calloc's memory isn't zero");
    fill(one);
  }

  void reallocate(block& one, bool as_array) {
    const std::size_t bytes = size();
    if (one.ptr != nullptr && bytes == 0) return free_one(one);  // what it means isn't agreed upon
    check(one, one.bytes);
    const std::size_t count = as_array && bytes % 2 == 0 ? 2 : 1;
    void* const moved =
        as_array ? ::reallocarray(one.ptr, count, bytes / count) : std::realloc(one.ptr, bytes);
    demand(moved != nullptr, "a reallocation of reasonable size fails");
    one.ptr = static_cast<unsigned char*>(moved);
    demand(::malloc_usable_size(moved) >= bytes, "the usable size after a reallocation");
    check(one, std::min(one.bytes, bytes));
    one.bytes = bytes;
    one.mark = next_mark();
    fill(one);
  }

  void free_one(block& one) {
    check(one, one.bytes);
    errno = 4'711;
    std::free(one.ptr);
    demand(errno == 4'711, "free changes errno");
    one = {};
  }

  // What nobody can have: null, ENOMEM, and what was there stays.
  void refuse(unsigned how) {
    block& one = blocks_[program_.byte() % blocks_.size()];
    static const volatile std::size_t half = SIZE_MAX / 2 + 1;  // volatile: the compiler would know better
    const std::size_t impossible = half + program_.word();
    errno = 0;
    void* ptr = nullptr;
    if (how % 4 == 0) {
      ptr = std::malloc(impossible);
    } else if (how % 4 == 1) {
      ptr = std::calloc(impossible / 2, 3);
    } else if (how % 4 == 2) {
      ptr = std::realloc(one.ptr, impossible);
    } else {
      ptr = ::reallocarray(one.ptr, impossible / 2, 5);
    }
    demand(ptr == nullptr && errno == ENOMEM, "an impossible size isn't refused");
    check(one, one.bytes);
  }

  // Of large blocks both ends.
  static constexpr std::size_t looked_at_bytes = 8'192;

  static bool holds(const block& one, std::size_t bytes, unsigned char mark) {
    const auto is_marked = [&](unsigned char each) { return each == mark; };
    const std::size_t front = std::min(bytes, looked_at_bytes);
    return std::all_of(one.ptr, one.ptr + front, is_marked) &&
           std::all_of(one.ptr + (one.bytes == bytes ? bytes - front : 0),
                       one.ptr + (one.bytes == bytes ? bytes : 0), is_marked);
  }
  static void fill(const block& one) {
    if (one.bytes == 0) return;
    const std::size_t front = std::min(one.bytes, looked_at_bytes);
    std::memset(one.ptr, one.mark, front);
    std::memset(one.ptr + one.bytes - front, one.mark, front);
  }
  static void check(const block& one, std::size_t bytes) {
    demand(holds(one, bytes, one.mark), "a block's content has changed");
  }
  unsigned char next_mark() { return static_cast<unsigned char>(1 + ++marks_ % 255); }

  cistern::test_support::program_bytes program_;
  std::array<block, 64> blocks_;
  unsigned marks_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  malloc_program(std::span(data, size_bytes)).run();
  return 0;
}
