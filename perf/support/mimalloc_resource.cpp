#include "support/mimalloc_resource.hpp"

#include <cstddef>
#include <cstdlib>
#include <new>

#include <mimalloc.h>

#include "support/loaded_library.hpp"

namespace perf {
namespace {

struct mimalloc_functions {
  decltype(&::mi_malloc) allocate;
  decltype(&::mi_malloc_aligned) allocate_aligned;
  decltype(&::mi_free) free;
  decltype(&::mi_free_size) free_size;
  decltype(&::mi_collect) collect;
  decltype(&::mi_version) version;
};

const loaded_library& library() {
  static const loaded_library loaded = [] {
    const char* asked = std::getenv("CISTERN_PERF_MIMALLOC");
    return loaded_library("mimalloc", asked != nullptr ? asked : CISTERN_PERF_MIMALLOC_FILE);
  }();
  return loaded;
}

mimalloc_functions load() {
  mimalloc_functions functions{};
  library().look_up("mi_malloc", functions.allocate);
  library().look_up("mi_malloc_aligned", functions.allocate_aligned);
  library().look_up("mi_free", functions.free);
  library().look_up("mi_free_size", functions.free_size);
  library().look_up("mi_collect", functions.collect);
  library().look_up("mi_version", functions.version);
  return functions;
}

// A plain global, as cheap to call through as the procedure linkage table of a linked library.
mimalloc_functions mimalloc{};

void ensure_loaded() {
  static const bool loaded = (mimalloc = load(), true);
  static_cast<void>(loaded);
}

template <bool sized_free>
class resource final : public std::pmr::memory_resource {
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    // mi_malloc aligns to 16 bytes from 16 bytes up, and to 8 below.
    const bool over_aligned = alignment > 16 || alignment > bytes;
    void* block = over_aligned ? mimalloc.allocate_aligned(bytes, alignment) : mimalloc.allocate(bytes);
    if (block == nullptr) [[unlikely]]
      throw std::bad_alloc();
    return block;
  }

  void do_deallocate(void* block, std::size_t bytes, std::size_t) override {
    if constexpr (sized_free) {
      mimalloc.free_size(block, bytes);
    } else {
      mimalloc.free(block);
    }
  }

  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }
};

}  // namespace

void* mimalloc_function(const char* name) {
  return library().address_of(name);
}

std::pmr::memory_resource* mimalloc_resource() {
  ensure_loaded();
  static resource<false> instance;
  return &instance;
}

std::pmr::memory_resource* mimalloc_sized_resource() {
  ensure_loaded();
  static resource<true> instance;
  return &instance;
}

void mimalloc_collect() {
  ensure_loaded();
  mimalloc.collect(true);
}

std::string mimalloc_version() {
  ensure_loaded();
  const int version = mimalloc.version();  // 209 is 2.0.9; newer ones write 30403 for 3.4.3
  const int base = version < 1000 ? 10 : 100;
  return std::to_string(version / base / base) + '.' + std::to_string(version / base % base) + '.' +
         std::to_string(version % base);
}

}  // namespace perf
