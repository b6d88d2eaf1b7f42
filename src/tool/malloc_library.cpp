#include "malloc_library.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <new>
#include <span>
#include <stdexcept>
#include <string_view>

#include "this_program.hpp"
#include <dlfcn.h>
#include <link.h>

namespace cistern::tool {
namespace {

struct known_library {
  std::string_view name;
  std::array<const char*, 3> files;  // As the system looks for them.
  const char* package;
};

constexpr known_library known_libraries[] = {
    {"mimalloc", {"libmimalloc.so.3", "libmimalloc.so.2", "libmimalloc.so"}, "libmimalloc2.0"},
    {"jemalloc", {"libjemalloc.so.2", "libjemalloc.so.1", "libjemalloc.so"}, "libjemalloc2"},
    {"tcmalloc", {"libtcmalloc_minimal.so.4", "libtcmalloc.so.4", "libtcmalloc.so"}, "libtcmalloc-minimal4"},
    {"snmalloc", {"libsnmallocshim.so", "libsnmalloc.so", "libsnmalloc-minimal.so"}, nullptr},
};

[[nodiscard]] const known_library* known(std::string_view name) noexcept {
  const auto* const found = std::find_if(std::begin(known_libraries), std::end(known_libraries),
                                         [&](const known_library& each) { return each.name == name; });
  return found == std::end(known_libraries) ? nullptr : found;
}

[[nodiscard]] std::string last_error() {
  const char* const error = ::dlerror();  // NOLINT(concurrency-mt-unsafe): one thread loads
  return error != nullptr ? error : "no reason was given";
}

[[nodiscard]] void* load(const std::string& name) {
  const known_library* const one = known(name);
  const std::array<const char*, 1> path = {name.c_str()};
  const std::span<const char* const> files =
      one != nullptr ? std::span<const char* const>(one->files) : std::span<const char* const>(path);
  std::string errors;
  for (const char* file : files) {
    void* const library = ::dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) return library;
    errors += (errors.empty() ? "" : "; ") + last_error();
  }
  std::string step = "give the path of a library that has a malloc";
  if (one != nullptr) step = "give the path of its library";
  if (one != nullptr && one->package != nullptr) {
    step = "install it (Debian: " + std::string(one->package) + "), or " + step;
  }
  throw std::runtime_error("cannot load " + name + " (" + errors + "): " + step);
}

/// The library's own function: what it depends on, as the C library, has a malloc too. Null if it has none.
[[nodiscard]] void* own_function(void* library, const std::string& name) {
  void* const found = ::dlsym(library, name.c_str());
  link_map* map = nullptr;
  Dl_info info{};
  if (found == nullptr || ::dlinfo(library, RTLD_DI_LINKMAP, static_cast<void*>(&map)) != 0) return nullptr;
  if (::dladdr(found, &info) == 0 || map->l_addr != reinterpret_cast<ElfW(Addr)>(info.dli_fbase)) {
    return nullptr;
  }
  return found;
}

template <class Function>
[[nodiscard]] bool look_up(void* library, const std::string& name, Function*& function) {
  function = reinterpret_cast<Function*>(own_function(library, name));
  return function != nullptr;
}

constexpr const char* tunables = "GLIBC_TUNABLES";
constexpr std::string_view room_for_libraries = "glibc.rtld.optional_static_tls";

}  // namespace

bool malloc_library::is_known(const std::string& name) noexcept {
  return known(name) != nullptr;
}

malloc_library::malloc_library(const std::string& name) : library_(load(name)) {
  for (const std::string prefix : {"mi_", "je_", "sn_", "tc_", "rp", ""}) {
    if (look_up(library_, prefix + "malloc", malloc_) && look_up(library_, prefix + "free", free_) &&
        (look_up(library_, prefix + "aligned_alloc", aligned_alloc_) ||
         look_up(library_, prefix + "memalign", aligned_alloc_))) {
      return;
    }
  }
  throw std::runtime_error(name +
                           " has no malloc, free and aligned_alloc of its own, also with mi_, je_, sn_, "
                           "tc_ or rp in front: give the path of a library that has");
}

void malloc_library::trim() const {
  void (*collect)(bool) = nullptr;
  int (*control)(const char*, void*, std::size_t*, void*, std::size_t) = nullptr;
  void (*release)() = nullptr;
  int (*trim_to)(std::size_t) = nullptr;
  if (look_up(library_, "mi_collect", collect)) {
    collect(true);
  } else if (look_up(library_, "je_mallctl", control) || look_up(library_, "mallctl", control)) {
    control("thread.tcache.flush", nullptr, nullptr, nullptr, 0);
    control("arena.4096.purge", nullptr, nullptr, nullptr, 0);  // 4096 stands for all of them.
  } else if (look_up(library_, "MallocExtension_ReleaseFreeMemory", release)) {
    release();
  } else if (look_up(library_, "malloc_trim", trim_to)) {
    trim_to(0);
  }
}

void* malloc_library::do_allocate(std::size_t bytes, std::size_t alignment) {
  // A malloc aligns blocks of 16 bytes and more to 16, smaller ones to what fits into them.
  const bool is_aligned = alignment <= 16 && alignment <= bytes;
  void* block = nullptr;
  if (is_aligned || alignment == 1) {
    block = malloc_(bytes != 0 ? bytes : 1);
  } else {
    const std::size_t rounded = (bytes + alignment - 1) & ~(alignment - 1);
    if (rounded >= bytes) block = aligned_alloc_(alignment, rounded != 0 ? rounded : alignment);
  }
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

void malloc_library::do_deallocate(void* block, std::size_t, std::size_t) {
  free_(block);
}

bool malloc_library::do_is_equal(const std::pmr::memory_resource& other) const noexcept {
  return this == &other;
}

// NOLINTBEGIN(concurrency-mt-unsafe): no thread was started yet
void start_with_room_for_libraries(const std::vector<std::string>& arguments) {
  const char* const set = std::getenv(tunables);
  const std::string before = set != nullptr ? set : "";
  if (before.find(room_for_libraries) != std::string::npos) return;
  const std::string more = std::string(room_for_libraries) + "=65536";
  ::setenv(tunables, (before.empty() ? more : before + ":" + more).c_str(), 1);
  become_this_program(arguments);  // Where that fails, libraries that ask for little can be loaded as well.
}
// NOLINTEND(concurrency-mt-unsafe)

}  // namespace cistern::tool
