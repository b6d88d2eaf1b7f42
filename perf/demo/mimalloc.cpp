#include "demo/mimalloc.hpp"

#include <cstddef>
#include <cstdlib>
#include <new>

#include "support/loaded_library.hpp"

namespace demo {
namespace {

struct mimalloc_functions {
  void* (*allocate)(std::size_t bytes);
  void* (*allocate_aligned)(std::size_t bytes, std::size_t alignment);
  void (*free)(void* block);
  void (*collect)(bool force);
  int (*version)();
};

mimalloc_functions load() {
  const char* named = std::getenv("CISTERN_PERF_MIMALLOC");
  const perf::loaded_library library("mimalloc", named != nullptr ? named : CISTERN_DEMO_MIMALLOC_FILE);
  mimalloc_functions functions{};
  library.look_up("mi_malloc", functions.allocate);
  library.look_up("mi_malloc_aligned", functions.allocate_aligned);
  library.look_up("mi_free", functions.free);
  library.look_up("mi_collect", functions.collect);
  library.look_up("mi_version", functions.version);
  return functions;
}

class resource final : public std::pmr::memory_resource {
 public:
  // Here, not behind a guard: as cheap to call through as a linked library.
  const mimalloc_functions functions = load();

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    // mi_malloc aligns to 16 bytes from 16 bytes up, and to 8 below.
    const bool over_aligned = alignment > 16 || alignment > bytes;
    void* const block =
        over_aligned ? functions.allocate_aligned(bytes, alignment) : functions.allocate(bytes);
    if (block == nullptr) throw std::bad_alloc();
    return block;
  }

  void do_deallocate(void* block, std::size_t, std::size_t) override { functions.free(block); }

  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }
};

resource& loaded() {
  static resource instance;
  return instance;
}

}  // namespace

std::pmr::memory_resource* mimalloc_resource() {
  return &loaded();
}

void mimalloc_collect() {
  loaded().functions.collect(true);
}

std::string mimalloc_version() {
  const int version = loaded().functions.version();  // 209 is 2.0.9; newer ones write 30403 for 3.4.3
  const int base = version < 1000 ? 10 : 100;
  return std::to_string(version / base / base) + '.' + std::to_string(version / base % base) + '.' +
         std::to_string(version % base);
}

}  // namespace demo
