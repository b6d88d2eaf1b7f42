// sampling_guard_adaptor: puts one allocation in N against a guard page, and finds misuse in production.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/environment.hpp>
#include <cistern/detail/base/guarded_slots.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/detail/base/sampler.hpp>
#include <cistern/resource_or_new_delete.hpp>

#include <cstddef>
#include <memory_resource>

namespace cistern {

/// Tuning of a `sampling_guard_adaptor`.
struct sampling_guard_options {
  /// One allocation in how many is guarded, on average and at random; 1: each one, 0: none. By default as the
  /// environment variable `CISTERN_SAMPLE_GUARD` says, and none where it isn't set to a number.
  std::size_t one_in = detail::environment_sample_guard();
  /// How many blocks, live or freed, can be guarded at a time; at most 16,384.
  std::size_t slots = 512;
};

/// Passes requests on to upstream, but for one in `one_in`: that block lies alone on a page of its own
/// between two that nobody may touch, at its end or, for every second block, at its beginning. When it is
/// freed its page is closed, and stays closed until all other slots have been used.
///
/// Then a program that reads or writes behind such a block, in front of it, or after its free dies of SIGSEGV
/// on the spot, and one line on stderr says by how many bytes, the block's size, when, by which thread and
/// from where it was allocated and freed. Handlers that were there for SIGSEGV and SIGBUS before this adaptor
/// are called after that. A second free, one with another size or alignment or of a pointer into the block,
/// and a write beside it that no guard page saw, are told at the call that frees, which then calls
/// `std::abort`.
///
/// What is larger or more aligned than a page isn't guarded, nor anything while every slot is in use or where
/// the system refuses the pages: then upstream serves it, and `statistics` tell. Upstream doesn't see guarded
/// blocks, and taking blocks back by itself, as `release` of a pool does, leaves them as they are.
///
/// Thread-safe if upstream is. Costs a subtraction for each allocation and a comparison for each
/// deallocation; a guarded pair costs two calls of the system and a fill of a page besides. Strong guarantee.
/// Equality is identity.
class sampling_guard_adaptor : public std::pmr::memory_resource {
 public:
  /// `upstream` null means new/delete.
  explicit sampling_guard_adaptor(std::pmr::memory_resource* upstream CISTERN_LIFETIMEBOUND = nullptr)
      : sampling_guard_adaptor(sampling_guard_options{}, upstream) {}
  /// The environment is read where `options` are made: not while another thread changes it. Throws
  /// `std::system_error` where forks can't be watched.
  explicit sampling_guard_adaptor(sampling_guard_options options,
                                  std::pmr::memory_resource* upstream CISTERN_LIFETIMEBOUND = nullptr);
  sampling_guard_adaptor(const sampling_guard_adaptor&) = delete;
  sampling_guard_adaptor& operator=(const sampling_guard_adaptor&) = delete;
  /// Guarded blocks end with it, freed or not.
  ~sampling_guard_adaptor() override = default;

  [[nodiscard]] std::pmr::memory_resource* upstream_resource() const noexcept { return upstream_; }

  /// O(1); thread-safe.
  [[nodiscard]] sampling_guard_statistics statistics() const noexcept { return slots_.statistics(); }

 protected:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

 private:
  std::pmr::memory_resource* upstream_;
  detail::sampler sampler_;
  detail::guarded_slots slots_;
};

}  // namespace cistern
