#include "support/snmalloc_resource.hpp"

#include <cstddef>
#include <cstdlib>
#include <new>
#include <stdexcept>

#include "support/loaded_library.hpp"

namespace perf {
namespace {

constexpr const char* variable = "CISTERN_PERF_SNMALLOC";

struct snmalloc_functions {
  void* (*allocate)(std::size_t bytes);
  void* (*allocate_aligned)(std::size_t alignment, std::size_t bytes);
  void (*free)(void* block);
};

snmalloc_functions load() {
  if (!snmalloc_named()) throw std::runtime_error(std::string(variable) + " names no library of snmalloc");
  const loaded_library library("snmalloc", std::getenv(variable));
  snmalloc_functions functions{};
  library.look_up("sn_malloc", functions.allocate);
  library.look_up("sn_aligned_alloc", functions.allocate_aligned);
  library.look_up("sn_free", functions.free);
  return functions;
}

// A plain global, as cheap to call through as the procedure linkage table of a linked library.
snmalloc_functions snmalloc{};

class resource final : public std::pmr::memory_resource {
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    // sn_malloc aligns to 16 bytes from 16 bytes up, and below to the largest power of two in the size.
    const bool over_aligned = alignment > 16 || alignment > bytes;
    void* block = over_aligned ? snmalloc.allocate_aligned(alignment, (bytes + alignment - 1) & -alignment)
                               : snmalloc.allocate(bytes);
    if (block == nullptr) [[unlikely]]
      throw std::bad_alloc();
    return block;
  }

  void do_deallocate(void* block, std::size_t, std::size_t) override { snmalloc.free(block); }

  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }
};

}  // namespace

bool snmalloc_named() {
  const char* file = std::getenv(variable);
  return file != nullptr && *file != '\0';
}

std::pmr::memory_resource* snmalloc_resource() {
  static const bool loaded = (snmalloc = load(), true);
  static_cast<void>(loaded);
  static resource instance;
  return &instance;
}

std::string snmalloc_file() {
  return snmalloc_named() ? std::getenv(variable) : "";
}

}  // namespace perf
