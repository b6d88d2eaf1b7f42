// page_resource: memory straight from the operating system, in whole pages.
#pragma once

#include <cistern/detail/base/abi.hpp>

#include <cstddef>
#include <cstdint>
#include <memory_resource>

namespace cistern {

/// What `page_resource` says to the system about regions of 2 MiB and more. With huge pages what is filled is
/// filled faster, and looked up faster; but the first byte written makes 2 MiB resident. What the system does
/// unasked is its own affair (`/sys/kernel/mm/transparent_hugepage/enabled`).
enum class huge_pages : std::uint8_t {
  unasked,  ///< Nothing.
  welcome,  ///< That huge pages are welcome; the regions then lie on a 2 MiB boundary.
};

/// Each allocation is a mapping of its own, each deallocation gives it back to the system at once: an
/// upstream for pools, far too coarse for anything small. A request takes whole pages, at least one, that
/// read as zero and take no physical memory until they are touched.
///
/// Any power of two serves as alignment. In a hardened build a page on either side can't be touched.
///
/// All page resources are equal, and any of them frees what another one allocated. Thread-safe;
/// works in the child of a fork. Needs neither `new` nor `malloc`.
class page_resource final : public std::pmr::memory_resource {
 public:
  page_resource() noexcept = default;
  explicit page_resource(huge_pages use) noexcept : huge_pages_(use) {}

  /// Bytes that all page resources of the process hold now, as rounded up to pages.
  [[nodiscard]] static std::size_t held_bytes() noexcept;

 protected:
  /// Throws `bad_allocation`, whose limit is the process's limit on its address space, where the system
  /// refuses.
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  /// Leaves `errno` as it was.
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override;

 private:
  huge_pages huge_pages_ = huge_pages::unasked;
};

/// A page resource that is there before the first constructor runs and after the last destructor has, and is
/// never destroyed. Huge pages are welcome to it if the environment variable CISTERN_HUGE_PAGES is 1 at the
/// first call. O(1); thread-safe.
[[nodiscard]] page_resource* pages() noexcept;

}  // namespace cistern
