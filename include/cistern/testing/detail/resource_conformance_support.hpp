// The pieces of the conformance suite: blocks that know their content, sizes to try, and threads.
#pragma once

#include <cistern/detail/base/mutex.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iterator>
#include <map>
#include <memory_resource>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace cistern::testing {

/// What a resource does that it must not do.
class conformance_error : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

namespace detail {

inline void require(bool condition, const std::string& what) {
  if (!condition) throw conformance_error(what);
}

/// A checking resource that keeps its errors for `require_clean`.
struct checking_log {
  cistern::detail::mutex mutex;
  std::vector<memory_error> errors CISTERN_GUARDED_BY(mutex);
  checking_resource resource{nullptr, [this](const memory_error& error) {
                               const cistern::detail::scoped_lock lock(mutex);
                               errors.push_back(error);
                             }};

  /// Throws unless nothing was misused and nothing is outstanding.
  void require_clean() {
    const cistern::detail::scoped_lock lock(mutex);
    if (!errors.empty()) throw conformance_error("misuse of upstream: " + errors.front().text);
    require(resource.outstanding_blocks() == 0,
            "lost " + std::to_string(resource.outstanding_blocks()) + " blocks of " +
                std::to_string(resource.outstanding_bytes()) + " bytes of upstream");
  }
};

/// A resource of the subject over a checking upstream.
template <class Subject>
struct conformance_fixture {
  checking_log log;
  checking_resource& checked = log.resource;
  decltype(Subject::make(nullptr)) owner = Subject::make(&log.resource);

  [[nodiscard]] std::pmr::memory_resource& resource() { return *owner; }
  [[nodiscard]] std::pmr::memory_resource* upstream() { return &log.resource; }

  /// Destroys the resource and looks at what it leaves behind.
  void finish() {
    if (Subject::uses_upstream) require(checked.allocations() > 0, "upstream was never asked for memory");
    owner.reset();
    log.require_clean();
  }
};

enum class free_order { last_in_first_out, first_in_first_out, random };

/// Blocks allocated from one resource, each filled with a pattern of its own that is checked when it is
/// freed, so that blocks which overlap, within this set or between sets of different `id`, are found out.
class block_set {
 public:
  explicit block_set(std::pmr::memory_resource& resource, std::uint64_t id = 0)
      : resource_(&resource), next_seed_(id << 32), random_(id) {}

  [[nodiscard]] std::size_t count() const noexcept { return blocks_.size(); }

  void allocate(std::size_t bytes, std::size_t alignment) {
    // Volatile: the compiler takes the alignment for granted, and would leave out the check of it.
    void* volatile returned = resource_->allocate(bytes, alignment);
    auto* const ptr = static_cast<std::byte*>(returned);
    const block made{ptr, bytes, alignment, next_seed_++};
    require(address_of(ptr) % alignment == 0, "misaligned block for " + describe(made));
    require_apart(made);
    extents_.emplace(address_of(ptr), end_of(made));
    blocks_.push_back(made);
    for_each_position(made, [&](std::size_t i) { ptr[i] = pattern(made, i); });
  }

  /// Frees the block at `index`; the last one takes its place.
  void free_at(std::size_t index) {
    const block freed = blocks_[index];
    check(freed);
    blocks_[index] = blocks_.back();
    blocks_.pop_back();
    extents_.erase(address_of(freed.ptr));
    resource_->deallocate(freed.ptr, freed.bytes, freed.alignment);
  }

  void free_any() { free_at(random_() % blocks_.size()); }

  void free_all(free_order order) {
    if (order == free_order::first_in_first_out) std::reverse(blocks_.begin(), blocks_.end());
    if (order == free_order::random) std::shuffle(blocks_.begin(), blocks_.end(), random_);
    while (!blocks_.empty()) free_at(blocks_.size() - 1);
  }

  /// Drops the blocks without freeing them.
  void forget_all() noexcept {
    blocks_.clear();
    extents_.clear();
  }

  void check_all() const {
    for (const block& each : blocks_) check(each);
  }

  /// Runs `action`, then frees all, also when it throws; what was allocated before a failure must be whole.
  template <class Action>
  void tolerate_failure(const Action& action) {
    try {
      action();
    } catch (const std::bad_alloc&) {
      check_all();
      free_all(free_order::random);
      throw;
    }
    free_all(free_order::random);
  }

  /// Requires that the request ends in `std::bad_alloc` (or what derives from it).
  void require_refused(std::size_t bytes, std::size_t alignment) {
    const std::string request = std::to_string(bytes) + " bytes aligned to " + std::to_string(alignment);
    try {
      (void)resource_->allocate(bytes, alignment);
    } catch (const std::bad_alloc&) {
      return;
    } catch (...) {
      throw conformance_error("something else than std::bad_alloc for " + request);
    }
    throw conformance_error("a block for a request that can't be served: " + request);
  }

  /// Allocates until the resource has no more to give.
  void allocate_until_refused(std::size_t bytes) {
    constexpr int enough = 100'000;
    try {
      for (int i = 0; i < enough; ++i) allocate(bytes, alignof(std::max_align_t));
    } catch (const std::bad_alloc&) {
      check_all();
      return;
    }
    throw conformance_error("served without end while upstream had nothing to give");
  }

  [[nodiscard]] std::mt19937_64& random() noexcept { return random_; }

 private:
  struct block {
    std::byte* ptr;
    std::size_t bytes;
    std::size_t alignment;
    std::uint64_t seed;
  };

  [[nodiscard]] static std::uintptr_t address_of(const void* ptr) noexcept {
    return reinterpret_cast<std::uintptr_t>(ptr);
  }

  // A block of no bytes must still have an address of its own.
  [[nodiscard]] static std::uintptr_t end_of(const block& each) noexcept {
    return address_of(each.ptr) + std::max<std::size_t>(each.bytes, 1);
  }

  [[nodiscard]] static std::string describe(const block& each) {
    return std::to_string(each.bytes) + " bytes aligned to " + std::to_string(each.alignment);
  }

  [[nodiscard]] static std::byte pattern(const block& each, std::size_t position) noexcept {
    const std::uint64_t mixed = (each.seed + 1) * 0x9E3779B97F4A7C15u + position * 0xD6E8FEB86659FD93u;
    return static_cast<std::byte>(mixed >> 56);
  }

  // All of a small block; of a large one both ends and samples between, to be quick.
  template <class Visit>
  static void for_each_position(const block& each, const Visit& visit) {
    constexpr std::size_t whole_bytes = 8192;
    constexpr std::size_t stride_bytes = 1021;
    if (each.bytes <= whole_bytes) {
      for (std::size_t i = 0; i < each.bytes; ++i) visit(i);
      return;
    }
    for (std::size_t i = 0; i < each.bytes; i += i < whole_bytes / 4 ? 1 : stride_bytes) visit(i);
    for (std::size_t i = each.bytes - whole_bytes / 4; i < each.bytes; ++i) visit(i);
  }

  static void check(const block& each) {
    for_each_position(each, [&](std::size_t i) {
      if (each.ptr[i] != pattern(each, i)) {
        throw conformance_error("content changed at offset " + std::to_string(i) + " of a block of " +
                                describe(each));
      }
    });
  }

  void require_apart(const block& made) const {
    const auto next = extents_.lower_bound(address_of(made.ptr));
    const bool apart = (next == extents_.end() || next->first >= end_of(made)) &&
                       (next == extents_.begin() || std::prev(next)->second <= address_of(made.ptr));
    require(apart, "overlapping live blocks, the newer one of " + describe(made));
  }

  std::pmr::memory_resource* resource_;
  std::uint64_t next_seed_;
  std::mt19937_64 random_;
  std::vector<block> blocks_;
  std::map<std::uintptr_t, std::uintptr_t> extents_;  // Start and end of each live block.
};

/// Sizes around every power of two up to `max_bytes`.
[[nodiscard]] inline std::vector<std::size_t> interesting_sizes(std::size_t max_bytes) {
  std::vector<std::size_t> sizes = {0, 1, 2, 3, 5, 6, 24, 40, 48, 56, 80, 96, 100, 1000};
  for (std::size_t power = 4; power <= max_bytes; power *= 2) {
    for (const std::size_t bytes : {power - 1, power, power + 1}) {
      if (bytes <= max_bytes) sizes.push_back(bytes);
    }
  }
  return sizes;
}

/// Sizes that no machine has, up to the largest number there is.
[[nodiscard]] inline std::vector<std::size_t> unreachable_sizes() {
  std::vector<std::size_t> sizes;
  for (const std::size_t top : {SIZE_MAX, SIZE_MAX / 2 + 1}) {
    for (const std::size_t below :
         {0u, 1u, 7u, 8u, 15u, 16u, 63u, 64u, 255u, 4095u, 4096u, 65'535u, 65'536u}) {
      sizes.push_back(top - below);
    }
  }
  return sizes;
}

/// Random allocations and frees; mostly small sizes, a few large, a few of great alignment.
template <class Subject>
void churn(block_set& blocks, int operations, std::uint64_t seed) {
  constexpr std::size_t live_blocks = 300;
  std::mt19937_64 random(seed);
  for (int i = 0; i < operations; ++i) {
    if (blocks.count() > 0 && random() % live_blocks < blocks.count()) {
      blocks.free_any();
      continue;
    }
    const std::uint64_t kind = random() % 64;
    const std::size_t most_bytes = kind == 0 ? 256 * 1024 : kind < 8 ? 8192 : 512;
    const std::size_t alignment = std::size_t{1} << random() % (kind == 1 ? 13 : 7);
    blocks.allocate(random() % (std::min(most_bytes, Subject::max_request_bytes) + 1),
                    std::min(alignment, Subject::max_alignment));
  }
}

/// Runs `action(0)`, `action(1)`, ... each on a thread of its own, and rethrows the first exception of any.
inline void run_threads(std::size_t thread_count, const std::function<void(std::size_t)>& action) {
  std::vector<std::exception_ptr> errors(thread_count);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < thread_count; ++t) {
    threads.emplace_back([&action, &error = errors[t], t] {
      try {
        action(t);
      } catch (...) {
        error = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace detail
}  // namespace cistern::testing
