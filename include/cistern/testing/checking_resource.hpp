// checking_resource: a memory_resource that keeps exact accounts and detects every misuse it can see.
#pragma once

#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/give_back.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/detail/base/mutex.hpp>
#include <cistern/detail/base/requirements.hpp>
#include <cistern/resource_or_new_delete.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory_resource>
#include <new>
#include <optional>
#include <sstream>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace cistern::testing {

/// What a `checking_resource` can find wrong.
enum class memory_fault {
  unknown_pointer,      ///< Freed a pointer that this resource never returned.
  double_free,          ///< Freed a block that was already freed.
  wrong_size,           ///< Freed with another size than it was allocated with.
  wrong_alignment,      ///< Freed with another alignment than it was allocated with.
  bad_request,          ///< Asked for an alignment that isn't a power of two.
  misaligned_upstream,  ///< Upstream returned a block that isn't aligned as asked.
  overlapping_blocks,   ///< Upstream returned a block that overlaps a live one.
  leak,                 ///< Blocks were outstanding when the resource was destroyed.
};

/// The words for a fault, for example "double free".
[[nodiscard]] constexpr const char* to_string(memory_fault fault) noexcept {
  switch (fault) {
    case memory_fault::unknown_pointer:
      return "free of an unknown pointer";
    case memory_fault::double_free:
      return "double free";
    case memory_fault::wrong_size:
      return "free with the wrong size";
    case memory_fault::wrong_alignment:
      return "free with the wrong alignment";
    case memory_fault::bad_request:
      return "request with an alignment that is not a power of two";
    case memory_fault::misaligned_upstream:
      return "misaligned block from upstream";
    case memory_fault::overlapping_blocks:
      return "overlapping blocks from upstream";
    case memory_fault::leak:
      return "leak";
  }
  return "unknown fault";
}

/// One detected misuse. For a leak `bytes` is the sum over all leaked blocks.
struct memory_error {
  memory_fault fault;
  const void* ptr;
  std::size_t bytes;      ///< As stated by the faulty call.
  std::size_t alignment;  ///< As stated by the faulty call.
  std::string text;       ///< The whole story, for people.
};

/// Called once for each detected misuse, outside the resource's lock; may throw, except for leaks, which are
/// reported by a destructor.
using memory_error_handler = std::function<void(const memory_error&)>;

/// The default handler: prints the text on stderr and aborts.
[[noreturn]] inline void abort_on_memory_error(const memory_error& error) {
  std::fprintf(stderr, "cistern::testing::checking_resource: %s\n", error.text.c_str());
  std::fflush(stderr);
  std::abort();
}

/// A handler that appends to `errors`, which must outlive the resource. Not thread-safe by itself.
[[nodiscard]] inline memory_error_handler collect_into(
    std::vector<memory_error>& errors CISTERN_LIFETIMEBOUND) {
  return [&errors](const memory_error& error) { errors.push_back(error); };
}

/// Passes every request to upstream, records every live block, and reports misuse.
///
/// Made to stand under the code being tested. Requests above `refused_above_bytes` throw `std::bad_alloc`
/// without a call of upstream, because allocators under a sanitizer abort on such sizes instead of failing.
///
/// When the handler returns, the resource goes on as safely as it can: a block freed with the wrong size or
/// alignment is freed with the right ones; a free of an unknown or freed pointer is ignored; a misaligned
/// block is handed out; a bad request or an overlapping block ends in `std::bad_alloc`; leaked blocks
/// are given back to upstream.
///
/// Thread-safe. Each call costs O(log live blocks), under one lock. Strong exception guarantee.
class checking_resource : public std::pmr::memory_resource {
 public:
  /// Requests above this many bytes are refused.
  static constexpr std::uint64_t refused_above_bytes = std::uint64_t{1} << 40;

  /// Checks `upstream` (null: plain new/delete) and its user; reports to `on_error`.
  explicit checking_resource(std::pmr::memory_resource* upstream CISTERN_LIFETIMEBOUND = nullptr,
                             memory_error_handler on_error = abort_on_memory_error)
      : upstream_(resource_or_new_delete(upstream)), on_error_(std::move(on_error)) {}

  checking_resource(const checking_resource&) = delete;
  checking_resource& operator=(const checking_resource&) = delete;

  /// Reports a leak when blocks are outstanding, then gives them back to upstream.
  ~checking_resource() override {
    if (live_.empty()) return;
    on_error_(describe_leak());
    for (const auto& [address, block] : live_) {
      cistern::detail::give_back(*upstream_, block.ptr, block.bytes, block.alignment);
    }
  }

  [[nodiscard]] std::pmr::memory_resource* upstream_resource() const noexcept { return upstream_; }

  /// Bytes allocated and not yet freed, as asked for.
  [[nodiscard]] std::size_t outstanding_bytes() const {
    return locked(&checking_resource::outstanding_bytes_);
  }
  /// Blocks allocated and not yet freed.
  [[nodiscard]] std::size_t outstanding_blocks() const {
    const cistern::detail::scoped_lock lock(mutex_);
    return live_.size();
  }
  /// The most `outstanding_bytes` ever was, or was since `reset_peak`.
  [[nodiscard]] std::size_t peak_bytes() const { return locked(&checking_resource::peak_bytes_); }
  /// Allocations that succeeded.
  [[nodiscard]] std::uint64_t allocations() const { return locked(&checking_resource::allocations_); }
  /// Deallocations of live blocks.
  [[nodiscard]] std::uint64_t deallocations() const { return locked(&checking_resource::deallocations_); }
  /// Allocations that ended in an exception.
  [[nodiscard]] std::uint64_t failed_allocations() const {
    return locked(&checking_resource::failed_allocations_);
  }
  /// Sum of the bytes of all allocations that succeeded.
  [[nodiscard]] std::uint64_t allocated_bytes() const { return locked(&checking_resource::allocated_bytes_); }
  /// The largest alignment ever asked for, granted or not; 0 before the first request.
  [[nodiscard]] std::size_t largest_alignment() const {
    return locked(&checking_resource::largest_alignment_);
  }
  /// The most bytes ever asked for in one request, granted or not.
  [[nodiscard]] std::size_t largest_request_bytes() const {
    return locked(&checking_resource::largest_request_bytes_);
  }
  /// Misuses detected so far.
  [[nodiscard]] std::uint64_t errors() const { return locked(&checking_resource::errors_); }
  /// The misuse detected last, if any.
  [[nodiscard]] std::optional<memory_error> last_error() const {
    return locked(&checking_resource::last_error_);
  }

  /// Starts `peak_bytes` afresh at what is outstanding now.
  void reset_peak() {
    const cistern::detail::scoped_lock lock(mutex_);
    peak_bytes_ = outstanding_bytes_;
  }

 protected:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    note_request(bytes, alignment);
    if (!std::has_single_bit(alignment)) {
      refuse({memory_fault::bad_request, nullptr, bytes, alignment, {}}, "alignment must be a power of two");
    }
    if (bytes > refused_above_bytes) {
      count_failure();
      throw std::bad_alloc();
    }
    void* const ptr = allocate_upstream(bytes, alignment);
    if (address_of(ptr) % alignment != 0) {
      report({memory_fault::misaligned_upstream, ptr, bytes, alignment, {}}, "");
    }
    if (const auto other = record(ptr, bytes, alignment)) {
      refuse({memory_fault::overlapping_blocks, ptr, bytes, alignment, {}},
             "overlaps the live block " + describe(other->ptr, other->bytes, other->alignment));
    }
    return ptr;
  }

  void do_deallocate(void* ptr, std::size_t bytes, std::size_t alignment) override {
    const std::optional<live_block> block = find_live(ptr);
    if (!block) {
      report_not_live(ptr, bytes, alignment);
      return;
    }
    check_same(*block, bytes, alignment);
    if (forget(*block)) cistern::detail::give_back(*upstream_, block->ptr, block->bytes, block->alignment);
  }

  /// Identity.
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

 private:
  struct live_block {
    void* ptr;
    std::size_t bytes;
    std::size_t alignment;

    // A block of no bytes still has an address of its own.
    [[nodiscard]] std::uintptr_t end() const noexcept {
      return address_of(ptr) + std::max<std::size_t>(bytes, 1);
    }
  };

  // Enough to tell a double free from a foreign pointer; forgetting only makes the message less exact.
  static constexpr std::size_t freed_addresses_kept = std::size_t{1} << 16;

  [[nodiscard]] static std::uintptr_t address_of(const void* ptr) noexcept {
    return reinterpret_cast<std::uintptr_t>(ptr);  // NOLINT(cppcoreguidelines-pro-type-reinterpret-cast)
  }

  template <class T>
  [[nodiscard]] T locked(T checking_resource::*value) const {
    const cistern::detail::scoped_lock lock(mutex_);
    return this->*value;
  }

  void note_request(std::size_t bytes, std::size_t alignment) {
    const cistern::detail::scoped_lock lock(mutex_);
    largest_alignment_ = std::max(largest_alignment_, alignment);
    largest_request_bytes_ = std::max(largest_request_bytes_, bytes);
  }

  void count_failure() {
    const cistern::detail::scoped_lock lock(mutex_);
    ++failed_allocations_;
  }

  [[nodiscard]] void* allocate_upstream(std::size_t bytes, std::size_t alignment) {
    try {
      // Through a volatile: the compiler takes for granted that `allocate` returns aligned memory, and would
      // leave out the check of it.
      void* volatile ptr = upstream_->allocate(bytes, alignment);
      return ptr;
    } catch (...) {
      count_failure();
      throw;
    }
  }

  // Returns the live block that the new one overlaps, in which case nothing is recorded.
  [[nodiscard]] std::optional<live_block> record(void* ptr, std::size_t bytes, std::size_t alignment) {
    const live_block block{ptr, bytes, alignment};
    const cistern::detail::scoped_lock lock(mutex_);
    const auto next = live_.lower_bound(address_of(ptr));
    if (next != live_.end() && address_of(next->second.ptr) < block.end()) return next->second;
    if (next != live_.begin() && std::prev(next)->second.end() > address_of(ptr))
      return std::prev(next)->second;
    try {
      live_.emplace_hint(next, address_of(ptr), block);
    } catch (...) {
      cistern::detail::give_back(*upstream_, ptr, bytes, alignment);
      ++failed_allocations_;
      throw;
    }
    freed_.erase(address_of(ptr));
    ++allocations_;
    allocated_bytes_ += bytes;
    outstanding_bytes_ += bytes;
    peak_bytes_ = std::max(peak_bytes_, outstanding_bytes_);
    return std::nullopt;
  }

  [[nodiscard]] std::optional<live_block> find_live(const void* ptr) const {
    const cistern::detail::scoped_lock lock(mutex_);
    const auto found = live_.find(address_of(ptr));
    return found != live_.end() ? std::optional(found->second) : std::nullopt;
  }

  void report_not_live(void* ptr, std::size_t bytes, std::size_t alignment) {
    memory_error error{memory_fault::unknown_pointer, ptr, bytes, alignment, {}};
    std::string inside;
    {
      const cistern::detail::scoped_lock lock(mutex_);
      if (freed_.contains(address_of(ptr))) error.fault = memory_fault::double_free;
      inside = describe_surrounding(ptr);
    }
    report(std::move(error), inside);
  }

  void check_same(const live_block& block, std::size_t bytes, std::size_t alignment) {
    if (bytes == block.bytes && alignment == block.alignment) return;
    const auto fault = bytes != block.bytes ? memory_fault::wrong_size : memory_fault::wrong_alignment;
    report({fault, block.ptr, bytes, alignment, {}},
           "it was allocated as " + describe(block.ptr, block.bytes, block.alignment));
  }

  // Forgets the block before upstream gets it: another thread may be given the same address at once. Returns
  // whether it was still live: of two threads that free one block, only one may go on to upstream.
  [[nodiscard]] bool forget(const live_block& block) {
    const cistern::detail::scoped_lock lock(mutex_);
    if (live_.erase(address_of(block.ptr)) == 0) return false;
    try {
      if (freed_.size() >= freed_addresses_kept) freed_.clear();
      freed_.insert(address_of(block.ptr));
    } catch (const std::bad_alloc&) {  // Only the wording of a later report depends on it.
    }
    ++deallocations_;
    outstanding_bytes_ -= block.bytes;
    return true;
  }

  [[nodiscard]] static std::string describe(const void* ptr, std::size_t bytes, std::size_t alignment) {
    std::ostringstream out;
    out << ptr << ", " << bytes << " bytes aligned to " << alignment;
    return out.str();
  }

  [[nodiscard]] std::string describe_surrounding(const void* ptr) const CISTERN_REQUIRES(mutex_) {
    const auto next = live_.upper_bound(address_of(ptr));
    if (next == live_.begin()) return "";
    const live_block& block = std::prev(next)->second;
    if (block.end() <= address_of(ptr)) return "";
    return "it points into the live block " + describe(block.ptr, block.bytes, block.alignment);
  }

  [[nodiscard]] memory_error describe_leak() const CISTERN_REQUIRES(mutex_) {
    constexpr std::size_t shown_blocks = 8;
    std::ostringstream out;
    out << to_string(memory_fault::leak) << ": " << live_.size() << " blocks of " << outstanding_bytes_
        << " bytes in all were never freed:";
    std::size_t shown = 0;
    for (const auto& [address, block] : live_) {
      if (shown++ == shown_blocks) break;
      out << "\n  " << describe(block.ptr, block.bytes, block.alignment);
    }
    if (live_.size() > shown_blocks) out << "\n  and " << live_.size() - shown_blocks << " more";
    return {memory_fault::leak, live_.begin()->second.ptr, outstanding_bytes_, 0, out.str()};
  }

  void report(memory_error error, const std::string& more) {
    error.text =
        std::string(to_string(error.fault)) + ": " + describe(error.ptr, error.bytes, error.alignment);
    if (!more.empty()) error.text += "; " + more;
    {
      const cistern::detail::scoped_lock lock(mutex_);
      ++errors_;
      last_error_ = error;
    }
    on_error_(error);
  }

  [[noreturn]] void refuse(memory_error error, const std::string& more) {
    count_failure();
    report(std::move(error), more);
    throw std::bad_alloc();
  }

  std::pmr::memory_resource* upstream_;
  memory_error_handler on_error_;
  mutable cistern::detail::mutex mutex_;
  ::cistern::detail::held_at_fork<::cistern::detail::mutex> fork_guard_{mutex_};
  std::map<std::uintptr_t, live_block> live_ CISTERN_GUARDED_BY(mutex_);
  std::unordered_set<std::uintptr_t> freed_ CISTERN_GUARDED_BY(mutex_);
  std::size_t outstanding_bytes_ CISTERN_GUARDED_BY(mutex_) = 0;
  std::size_t peak_bytes_ CISTERN_GUARDED_BY(mutex_) = 0;
  std::size_t largest_alignment_ CISTERN_GUARDED_BY(mutex_) = 0;
  std::size_t largest_request_bytes_ CISTERN_GUARDED_BY(mutex_) = 0;
  std::uint64_t allocations_ CISTERN_GUARDED_BY(mutex_) = 0;
  std::uint64_t deallocations_ CISTERN_GUARDED_BY(mutex_) = 0;
  std::uint64_t failed_allocations_ CISTERN_GUARDED_BY(mutex_) = 0;
  std::uint64_t allocated_bytes_ CISTERN_GUARDED_BY(mutex_) = 0;
  std::uint64_t errors_ CISTERN_GUARDED_BY(mutex_) = 0;
  std::optional<memory_error> last_error_ CISTERN_GUARDED_BY(mutex_);
};

}  // namespace cistern::testing
