#include "next_malloc.hpp"

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include <dlfcn.h>
#include <unistd.h>

namespace cistern::detail {
namespace {

[[noreturn]] void die(const char* what, const char* name) noexcept {
  for (const char* text : {"cistern-record: ", what, name, "\n"}) {
    (void)!::write(STDERR_FILENO, text, std::strlen(text));
  }
  std::abort();
}

// What `dlsym` asks for while it looks for malloc: a few hundred bytes, if anything.
constexpr std::size_t arena_bytes = std::size_t{16} << 10;
alignas(64) constinit std::byte arena[arena_bytes];
constinit std::size_t arena_used_bytes = 0;

void* allocate_before(std::size_t alignment, std::size_t bytes) noexcept {
  const std::size_t begin = (arena_used_bytes + alignment - 1) & ~(alignment - 1);
  if (begin > arena_bytes || bytes > arena_bytes - begin) {
    errno = ENOMEM;
    return nullptr;
  }
  arena_used_bytes = begin + bytes;
  return arena + begin;
}

constexpr malloc_functions functions_before = {
    .malloc = [](std::size_t bytes) { return allocate_before(16, bytes); },
    .free = [](void*) {},
    .calloc = [](std::size_t count, std::size_t bytes) { return allocate_before(16, count * bytes); },
    .realloc = [](void*, std::size_t bytes) { return allocate_before(16, bytes); },
    .aligned_alloc = allocate_before,
    .memalign = allocate_before,
    .posix_memalign =
        [](void** block, std::size_t alignment, std::size_t bytes) {
          *block = allocate_before(alignment, bytes);
          return *block != nullptr ? 0 : ENOMEM;
        },
    .valloc = [](std::size_t bytes) { return allocate_before(4096, bytes); },
    .pvalloc = [](std::size_t bytes) { return allocate_before(4096, (bytes + 4095) & ~std::size_t{4095}); },
    .malloc_usable_size = [](void*) { return std::size_t{0}; },
};

constinit malloc_functions functions_behind{};

template <class Function>
void look_up(Function*& to, const char* name) noexcept {
  to = reinterpret_cast<Function*>(next_function(name));
}

const malloc_functions& look_up_all() noexcept {
  next_functions = &functions_before;
  look_up(functions_behind.malloc, "malloc");
  look_up(functions_behind.free, "free");
  look_up(functions_behind.calloc, "calloc");
  look_up(functions_behind.realloc, "realloc");
  look_up(functions_behind.aligned_alloc, "aligned_alloc");
  look_up(functions_behind.memalign, "memalign");
  look_up(functions_behind.posix_memalign, "posix_memalign");
  look_up(functions_behind.valloc, "valloc");
  look_up(functions_behind.pvalloc, "pvalloc");
  look_up(functions_behind.malloc_usable_size, "malloc_usable_size");
  next_functions = &functions_behind;
  return functions_behind;
}

/// Which one of them is called first doesn't matter.
constexpr malloc_functions functions_at_first = {
    .malloc = [](std::size_t bytes) { return look_up_all().malloc(bytes); },
    .free = [](void* block) { look_up_all().free(block); },
    .calloc = [](std::size_t count, std::size_t bytes) { return look_up_all().calloc(count, bytes); },
    .realloc = [](void* block, std::size_t bytes) { return look_up_all().realloc(block, bytes); },
    .aligned_alloc = [](std::size_t alignment,
                        std::size_t bytes) { return look_up_all().aligned_alloc(alignment, bytes); },
    .memalign = [](std::size_t alignment,
                   std::size_t bytes) { return look_up_all().memalign(alignment, bytes); },
    .posix_memalign = [](void** block, std::size_t alignment,
                         std::size_t bytes) { return look_up_all().posix_memalign(block, alignment, bytes); },
    .valloc = [](std::size_t bytes) { return look_up_all().valloc(bytes); },
    .pvalloc = [](std::size_t bytes) { return look_up_all().pvalloc(bytes); },
    .malloc_usable_size = [](void* block) { return look_up_all().malloc_usable_size(block); },
};

}  // namespace

void* next_function(const char* name) noexcept {
  void* const found = ::dlsym(RTLD_NEXT, name);
  if (found == nullptr) die("the program's libraries have no function ", name);
  return found;
}

constinit const malloc_functions* next_functions = &functions_at_first;

bool is_from_before(const void* block) noexcept {
  return reinterpret_cast<std::uintptr_t>(block) - reinterpret_cast<std::uintptr_t>(arena) < arena_bytes;
}

std::size_t bytes_from_before(const void* block) noexcept {
  return static_cast<std::size_t>(arena + arena_bytes - static_cast<const std::byte*>(block));
}

}  // namespace cistern::detail
