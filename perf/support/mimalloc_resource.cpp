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

enum class build { asked_for, found };  // the one to be measured; the one that CMake found

const char* named_file() {
  return std::getenv("CISTERN_PERF_MIMALLOC");
}

template <build which>
const loaded_library& library() {
  static const loaded_library loaded = [] {
    const char* asked = which == build::asked_for ? named_file() : nullptr;
    return loaded_library("mimalloc", asked != nullptr ? asked : CISTERN_PERF_MIMALLOC_FILE);
  }();
  return loaded;
}

mimalloc_functions load(const loaded_library& from) {
  mimalloc_functions functions{};
  from.look_up("mi_malloc", functions.allocate);
  from.look_up("mi_malloc_aligned", functions.allocate_aligned);
  from.look_up("mi_free", functions.free);
  from.look_up("mi_free_size", functions.free_size);
  from.look_up("mi_collect", functions.collect);
  from.look_up("mi_version", functions.version);
  return functions;
}

// A plain global, as cheap to call through as the procedure linkage table of a linked library.
template <build which>
mimalloc_functions mimalloc{};

template <build which>
void ensure_loaded() {
  static const bool loaded = (mimalloc<which> = load(library<which>()), true);
  static_cast<void>(loaded);
}

template <build which>
std::string version_of() {
  ensure_loaded<which>();
  const int version = mimalloc<which>.version();  // 209 is 2.0.9; newer ones write 30403 for 3.4.3
  const int base = version < 1000 ? 10 : 100;
  return std::to_string(version / base / base) + '.' + std::to_string(version / base % base) + '.' +
         std::to_string(version % base);
}

template <build which, bool sized_free>
class resource final : public std::pmr::memory_resource {
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    // mi_malloc aligns to 16 bytes from 16 bytes up, and to 8 below.
    const bool over_aligned = alignment > 16 || alignment > bytes;
    void* block = over_aligned ? functions().allocate_aligned(bytes, alignment) : functions().allocate(bytes);
    if (block == nullptr) [[unlikely]]
      throw std::bad_alloc();
    return block;
  }

  void do_deallocate(void* block, std::size_t bytes, std::size_t) override {
    if constexpr (sized_free) {
      functions().free_size(block, bytes);
    } else {
      functions().free(block);
    }
  }

  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  static mimalloc_functions& functions() { return mimalloc<which>; }
};

template <build which, bool sized_free = false>
std::pmr::memory_resource* the_resource() {
  ensure_loaded<which>();
  static resource<which, sized_free> instance;
  return &instance;
}

}  // namespace

void* mimalloc_function(const char* name) {
  return library<build::asked_for>().address_of(name);
}

bool mimalloc_named() {
  const char* file = named_file();
  return file != nullptr && *file != '\0';
}

std::pmr::memory_resource* mimalloc_resource() {
  return the_resource<build::asked_for>();
}

std::pmr::memory_resource* mimalloc_sized_resource() {
  return the_resource<build::asked_for, true>();
}

std::pmr::memory_resource* mimalloc_found_resource() {
  return the_resource<build::found>();
}

void mimalloc_collect() {
  ensure_loaded<build::asked_for>();
  mimalloc<build::asked_for>.collect(true);
}

void mimalloc_found_collect() {
  ensure_loaded<build::found>();
  mimalloc<build::found>.collect(true);
}

std::string mimalloc_version() {
  return version_of<build::asked_for>();
}

std::string mimalloc_found_version() {
  return version_of<build::found>();
}

}  // namespace perf
