// malloc_library: a library that has a malloc, loaded for this tool's use alone, as a memory resource.
#pragma once

#include <cstddef>
#include <memory_resource>
#include <string>
#include <vector>

namespace cistern::tool {

/// Allocates from the functions that a library calls malloc, aligned_alloc and free, maybe with mi_, je_,
/// sn_, tc_ or rp in front. The library is loaded privately and never linked, so that it replaces nobody's
/// malloc, and stays loaded. As thread-safe as any malloc. A copy allocates from the same.
class malloc_library final : public std::pmr::memory_resource {
 public:
  /// `name`: "mimalloc", "jemalloc", "tcmalloc" or "snmalloc", or the path of a library. Throws
  /// `std::runtime_error`, which says what to do.
  explicit malloc_library(const std::string& name);

  /// Whether `name` is one of the four.
  [[nodiscard]] static bool is_known(const std::string& name) noexcept;

  /// Has the library give back to the system what it can, if it has a function for that.
  void trim() const;

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override;

  void* (*malloc_)(std::size_t bytes) = nullptr;
  void* (*aligned_alloc_)(std::size_t alignment, std::size_t bytes) = nullptr;
  void (*free_)(void* block) = nullptr;
  void* library_ = nullptr;
};

/// Libraries such as jemalloc keep more for each thread than a program sets aside for what it loads later.
/// Starts this program anew with more of that set aside, unless it was; returns where that isn't possible.
/// `arguments`: those of the program, without its name. No thread was started yet.
void start_with_room_for_libraries(const std::vector<std::string>& arguments);

}  // namespace cistern::tool
