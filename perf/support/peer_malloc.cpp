#include "support/peer_malloc.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <new>
#include <stdexcept>

#include "support/loaded_library.hpp"

namespace perf {
namespace {

/// What is to be known of an allocator to measure it. Names without a function are null.
struct peer {
  std::string_view name;
  const char* variable;   // of the environment: names its file
  const char* stem;       // how its file in CISTERN_PERF_PEERS begins
  const char* installed;  // what the loader is asked for otherwise
  const char* set_up;     // to be called once, with a null pointer
  const char* allocate;
  const char* allocate_aligned;
  bool alignment_first;  // in the arguments of `allocate_aligned`
  const char* free;
  const char* free_sized;  // where it is faster
  std::string (*version)(const loaded_library&);
  void (*give_back)(const loaded_library&);
};

/// Calls a function of the library.
template <class Result, class... Arguments>
Result call(const loaded_library& library, const char* symbol, Arguments... arguments) {
  Result (*function)(Arguments...) = nullptr;
  library.look_up(symbol, function);
  return function(arguments...);
}

std::string mimalloc_version(const loaded_library& library) {
  const int version = call<int>(library, "mi_version");  // 209 is 2.0.9; newer ones write 30403 for 3.4.3
  const int base = version < 1000 ? 10 : 100;
  return std::to_string(version / base / base) + '.' + std::to_string(version / base % base) + '.' +
         std::to_string(version % base);
}

std::string jemalloc_version(const loaded_library& library) {
  const char* text = "";
  std::size_t text_bytes = sizeof text;
  call<int, const char*, void*, std::size_t*, void*, std::size_t>(library, "mallctl", "version", &text,
                                                                  &text_bytes, nullptr, 0);
  return std::string(text).substr(0, std::string(text).find('-'));
}

std::string gperftools_version(const loaded_library& library) {
  return call<const char*, int*, int*, const char**>(library, "tc_version", nullptr, nullptr, nullptr);
}

void collect_mimalloc(const loaded_library& library) {
  call<void, bool>(library, "mi_collect", true);
}

void purge_jemalloc(const loaded_library& library) {
  // 4096 stands for all arenas (MALLCTL_ARENAS_ALL).
  call<int, const char*, void*, std::size_t*, void*, std::size_t>(library, "mallctl", "arena.4096.purge",
                                                                  nullptr, nullptr, nullptr, 0);
}

void release_gperftools(const loaded_library& library) {
  call<void>(library, "MallocExtension_ReleaseFreeMemory");
}

void release_google(const loaded_library& library) {
  try {
    call<std::size_t>(library, "MallocExtension_Internal_ReleaseMemoryToSystem", SIZE_MAX);
  } catch (const std::runtime_error&) {  // a build that shows malloc's names only
    call<int>(library, "malloc_trim", std::size_t{0});
  }
}

void collect_rpmalloc(const loaded_library& library) {
  call<void>(library, "rpmalloc_thread_collect");
}

constexpr peer peers[] = {
    {"mimalloc", nullptr, nullptr, CISTERN_PERF_MIMALLOC_FILE, nullptr, "mi_malloc", "mi_malloc_aligned",
     false, "mi_free", nullptr, mimalloc_version, collect_mimalloc},
    {"mimalloc-newest", "CISTERN_PERF_MIMALLOC", "libmimalloc", nullptr, nullptr, "mi_malloc",
     "mi_malloc_aligned", false, "mi_free", nullptr, mimalloc_version, collect_mimalloc},
    // Built with the prefix sn_, so that none of its functions can be taken for the C library's.
    {"snmalloc", "CISTERN_PERF_SNMALLOC", "libsnmalloc", nullptr, nullptr, "sn_malloc", "sn_aligned_alloc",
     true, "sn_free", nullptr, nullptr, nullptr},
    {"rpmalloc", nullptr, "librpmalloc", nullptr, "rpmalloc_initialize", "rpmalloc", "rpaligned_alloc", true,
     "rpfree", nullptr, nullptr, collect_rpmalloc},
    {"jemalloc", nullptr, "libjemalloc", "libjemalloc.so.2", nullptr, "malloc", "aligned_alloc", true, "free",
     "_ZdlPvm", jemalloc_version, purge_jemalloc},
    {"tcmalloc", nullptr, nullptr, "libtcmalloc_minimal.so.4", nullptr, "tc_malloc", "tc_memalign", true,
     "tc_free", "tc_free_sized", gperftools_version, release_gperftools},
    // Not its operator new: it looks whether what frees a block goes with what allocated it.
    {"tcmalloc-google", nullptr, "libtcmalloc", nullptr, nullptr, "malloc", "aligned_alloc", true, "free",
     "free_sized", nullptr, release_google},
};

/// Members are function pointers, as cheap to call through as the procedure linkage table of a linked
/// library.
class resource final : public std::pmr::memory_resource {
 public:
  resource(const peer& what, loaded_library library) : what_(what), library_(std::move(library)) {
    library_.look_up(what.allocate, allocate_);
    if (what.alignment_first) {
      library_.look_up(what.allocate_aligned, allocate_alignment_first_);
    } else {
      library_.look_up(what.allocate_aligned, allocate_bytes_first_);
    }
    library_.look_up(what.free, free_);
    if (what.free_sized != nullptr) library_.look_up(what.free_sized, free_sized_);
    if (what.set_up != nullptr) call<int, void*>(library_, what.set_up, nullptr);
  }

  [[nodiscard]] const loaded_library& library() const noexcept { return library_; }

  void give_back() {
    if (what_.give_back != nullptr) what_.give_back(library_);
  }

 private:
  /// They align to 16 bytes from 16 bytes up, and below to 8 or to the largest power of two in the size.
  static bool over_aligned(std::size_t bytes, std::size_t alignment) noexcept {
    return alignment > 16 || alignment > bytes;
  }

  [[gnu::noinline]] void* allocate_aligned(std::size_t bytes, std::size_t alignment) {
    if (allocate_bytes_first_ != nullptr) return allocate_bytes_first_(bytes, alignment);
    return allocate_alignment_first_(alignment, (bytes + alignment - 1) & -alignment);
  }

  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    void* block = over_aligned(bytes, alignment) ? allocate_aligned(bytes, alignment) : allocate_(bytes);
    if (block == nullptr) [[unlikely]]
      throw std::bad_alloc();
    return block;
  }

  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    if (free_sized_ != nullptr && !over_aligned(bytes, alignment)) {
      free_sized_(block, bytes);
    } else {
      free_(block);
    }
  }

  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  void* (*allocate_)(std::size_t bytes) = nullptr;
  void (*free_)(void* block) = nullptr;
  void (*free_sized_)(void* block, std::size_t bytes) = nullptr;
  void* (*allocate_bytes_first_)(std::size_t bytes, std::size_t alignment) = nullptr;
  void* (*allocate_alignment_first_)(std::size_t alignment, std::size_t bytes) = nullptr;
  const peer& what_;
  loaded_library library_;
};

std::string variable(const char* name) {
  const char* value = name != nullptr ? std::getenv(name) : nullptr;
  return value != nullptr ? value : "";
}

/// The last by name of the libraries in CISTERN_PERF_PEERS that begin with `stem`; empty: there is none.
/// Builds that are made to replace malloc say "override" in their names.
std::string file_in_folder(std::string_view stem) {
  std::string last;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(variable("CISTERN_PERF_PEERS"), error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(stem) || name.find(".so") == std::string::npos) continue;
    if (name.find("override") == std::string::npos) last = std::max(last, entry.path().string());
  }
  return last;
}

/// Throws `std::runtime_error` if there is none.
std::string file_of(const peer& what) {
  if (std::string named = variable(what.variable); !named.empty()) return named;
  if (what.stem != nullptr) {
    if (std::string found = file_in_folder(what.stem); !found.empty()) return found;
  }
  if (what.installed != nullptr) return what.installed;
  throw std::runtime_error("no " + std::string(what.stem) +
                           "*.so in the folder that CISTERN_PERF_PEERS names");
}

std::string reason(std::string message) {
  if (message.find("static TLS") != std::string::npos) {
    message += "; run with GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384";
  }
  return message;
}

peer_search load_all() {
  peer_search result;
  for (const peer& what : peers) {
    try {
      const std::string file = file_of(what);
      static std::vector<std::unique_ptr<resource>> all;
      all.push_back(std::make_unique<resource>(what, loaded_library(std::string(what.name), file.c_str())));
      const std::string version = what.version != nullptr ? what.version(all.back()->library()) + ' ' : "";
      result.found.push_back(
          {what.name, version + '(' + file + ')', all.back().get(),
           [](std::pmr::memory_resource& which) { dynamic_cast<resource&>(which).give_back(); }});
    } catch (const std::runtime_error& error) {
      result.missing.push_back(std::string(what.name) + ": " + reason(error.what()));
    }
  }
  return result;
}

}  // namespace

const peer_search& peer_mallocs() {
  static const peer_search result = load_all();
  return result;
}

void* mimalloc_function(const char* symbol) {
  static const loaded_library library("mimalloc", CISTERN_PERF_MIMALLOC_FILE);
  return library.address_of(symbol);
}

}  // namespace perf
