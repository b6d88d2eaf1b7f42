// guarding_adaptor: finds overruns, wrong and double frees, and writes to freed blocks, over any upstream.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/detail/base/mutex.hpp>
#include <cistern/resource_or_new_delete.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory_resource>
#include <string>
#include <unordered_map>
#include <vector>

namespace cistern {

/// What a `guarding_adaptor` finds wrong.
enum class guard_fault {
  underrun,         ///< Bytes in front of a block were written.
  overrun,          ///< Bytes behind a block were written.
  use_after_free,   ///< Bytes of a freed block were written.
  double_free,      ///< A freed block was freed again.
  wrong_size,       ///< Freed with another size than it was allocated with.
  wrong_alignment,  ///< Freed with another alignment than it was allocated with.
  foreign_pointer,  ///< Freed, but not allocated here, or freed so long ago that nothing is known of it.
  bad_alignment,    ///< Asked for an alignment that isn't a power of two.
  leak,             ///< Live when the adaptor was destroyed.
};

/// The words for a fault, for example "double free".
[[nodiscard]] const char* to_string(guard_fault fault) noexcept;

/// A block that a `guarding_adaptor` knows. Threads are the system's numbers, as debuggers show them.
struct guarded_block {
  const void* ptr = nullptr;  ///< Null: nothing is known.
  std::size_t bytes = 0;
  std::size_t alignment = 0;
  std::uint64_t sequence =
      0;  ///< Its allocation's number, from 1, in the order of the adaptor's allocations.
  std::uint64_t allocating_thread = 0;
  std::uint64_t freeing_thread = 0;  ///< 0 while it is live.
};

/// One fault: who and what.
struct guard_report {
  guard_fault fault = guard_fault::leak;
  /// The block concerned. Of leaks, the oldest; of a foreign pointer, what it points into.
  guarded_block block;
  std::uint64_t thread = 0;  ///< The one that found the fault, by freeing, checking or destroying.
  // As stated by the call that found the fault; null and 0 where that isn't a deallocation.
  const void* stated_ptr = nullptr;
  std::size_t stated_bytes = 0;
  std::size_t stated_alignment = 0;
  /// Of the first changed byte, from the block's start: negative in front of it. Of a foreign pointer inside
  /// a block, where it points.
  std::ptrdiff_t offset = 0;
  std::size_t changed_bytes = 0;  ///< How many of the bytes that are looked at had changed.
  std::byte expected{};           ///< At `offset`.
  std::byte found{};              ///< At `offset`.
  std::size_t leaked_blocks = 0;
  std::size_t leaked_bytes = 0;
};

/// The whole story, for people, in one line.
[[nodiscard]] std::string to_string(const guard_report& report);

/// Called once for each fault, under no lock; maybe by several threads at once. Must not throw.
using guard_handler = std::function<void(const guard_report&)>;

/// The default handler: prints the report on stderr and aborts. Allocates nothing.
[[noreturn]] void abort_on_guard_fault(const guard_report& report) noexcept;

/// Tuning of a `guarding_adaptor`.
struct guarding_options {
  /// Bytes watched on each side of a block; rounded up to a multiple of 8, at least 8, at most 64 KiB.
  std::size_t canary_bytes = 16;
  /// Bytes of upstream that freed blocks may occupy, so that writes to them and second frees are found. 0:
  /// none is kept, and freed blocks aren't overwritten.
  std::size_t quarantine_bytes = std::size_t{1} << 20;
  /// Where the records of blocks are kept, apart from the blocks; null means new/delete.
  std::pmr::memory_resource* records = nullptr;
  guard_handler on_fault = abort_on_guard_fault;
};

/// Puts canaries around every block, keeps freed blocks in quarantine, overwritten, and has a record of each
/// block apart from it. A deallocation checks its arguments against the record, and the canaries; a block
/// that leaves the quarantine is checked for writes. `check` does so at any time, for every block.
///
/// When the handler returns, the adaptor goes on as safely as it can: a block freed with the wrong size or
/// alignment is freed with the right ones; a free of a foreign or freed pointer is ignored; a request with a
/// bad alignment ends in `std::bad_alloc`; leaked blocks go back to upstream.
///
/// Where upstream is out of memory, the quarantine is given back and the request tried again. Under
/// AddressSanitizer, canaries and quarantined blocks are poisoned, so that it reports any access to them at
/// once, reads too.
///
/// Thread-safe if upstream is: a lock around the records, none while upstream or the handler is called. A
/// call costs O(1) on average, and a deallocation the overwriting of the block, and the looking through of
/// those that leave the quarantine. Strong guarantee. Equality is identity. Upstream must not take blocks
/// back by itself while the adaptor lives, as `release` of a pool does.
class guarding_adaptor : public std::pmr::memory_resource {
 public:
  /// `upstream` null means new/delete.
  explicit guarding_adaptor(std::pmr::memory_resource* upstream CISTERN_LIFETIMEBOUND = nullptr)
      : guarding_adaptor(guarding_options{}, upstream) {}
  /// Precondition: `options.on_fault` is not empty.
  explicit guarding_adaptor(guarding_options options,
                            std::pmr::memory_resource* upstream CISTERN_LIFETIMEBOUND = nullptr);
  guarding_adaptor(const guarding_adaptor&) = delete;
  guarding_adaptor& operator=(const guarding_adaptor&) = delete;
  /// Checks everything, reports a leak where blocks are live, and gives all back to upstream.
  ~guarding_adaptor() override;

  [[nodiscard]] std::pmr::memory_resource* upstream_resource() const noexcept { return upstream_; }

  /// Looks at every live and quarantined block, reports what was written where it mustn't, each block once,
  /// and returns how many blocks it reported. O(blocks, and bytes in quarantine). Thread-safe: other
  /// threads that use the adaptor wait meanwhile. Throws `std::bad_alloc`.
  std::size_t check();
  /// Checks the blocks in quarantine and gives them back to upstream. Thread-safe.
  void flush_quarantine() noexcept;

  /// The live blocks, oldest first. O(n log n). Thread-safe.
  [[nodiscard]] std::vector<guarded_block> outstanding() const;
  /// Live blocks. Thread-safe, as all that follow; O(1).
  [[nodiscard]] std::size_t outstanding_blocks() const;
  /// Their bytes, as asked for.
  [[nodiscard]] std::size_t outstanding_bytes() const;
  /// Bytes of upstream that freed blocks occupy.
  [[nodiscard]] std::size_t quarantined_bytes() const;
  /// Allocations so far: the number of the last one.
  [[nodiscard]] std::uint64_t allocations() const;
  /// Faults reported so far.
  [[nodiscard]] std::uint64_t faults() const;

 protected:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

 private:
  /// Live: the user's. Closing: one thread's, which is freeing or giving back. Quarantined: in the list.
  enum class block_state : unsigned char { live, closing, quarantined };

  struct record {
    guarded_block block;
    block_state state = block_state::live;
    bool reported = false;    // Damage of it was.
    record* newer = nullptr;  // In the quarantine.
  };

  /// A block's place in upstream: front canary (and padding), block, back canary.
  struct extent {
    std::byte* base;
    std::size_t front_bytes;
    std::size_t whole_bytes;
    std::size_t alignment;
  };

  class fault_list;

  [[nodiscard]] std::size_t front_bytes_for(std::size_t alignment) const noexcept;
  [[nodiscard]] extent extent_of(const guarded_block& block) const noexcept;
  [[nodiscard]] void* allocate_upstream(std::size_t bytes, std::size_t alignment);
  void watch(std::byte* base, std::size_t whole_bytes, std::byte* start, std::size_t bytes) const noexcept;
  void add_record(const guarded_block& block);
  [[nodiscard]] record* close_live(void* block, std::size_t bytes, std::size_t alignment, fault_list& faults);
  [[nodiscard]] guard_report foreign_pointer(const void* ptr) const CISTERN_REQUIRES(lock_);
  void find_canary_damage(record& one, fault_list& faults) const noexcept;
  void find_poison_damage(record& one, fault_list& faults) const noexcept;
  [[nodiscard]] record* quarantine(record& one) noexcept;
  void give_back(record* oldest) noexcept;
  void forget_and_free(record& one) noexcept;
  void report(const guard_report& fault) noexcept;
  void report_all(const fault_list& faults) noexcept;

  std::pmr::memory_resource* upstream_;
  const std::size_t canary_bytes_;
  const std::size_t quarantine_limit_bytes_;
  const guard_handler on_fault_;
  mutable detail::mutex lock_;
  detail::held_at_fork<detail::mutex> fork_guard_{lock_};
  // A record that is closing is one thread's, and the others' state is under the lock as the table is.
  std::pmr::unordered_map<const void*, record> records_ CISTERN_GUARDED_BY(lock_);
  record* oldest_freed_ CISTERN_GUARDED_BY(lock_) = nullptr;  // The quarantine: a queue.
  record* newest_freed_ CISTERN_GUARDED_BY(lock_) = nullptr;
  std::size_t quarantined_bytes_ CISTERN_GUARDED_BY(lock_) = 0;
  std::size_t live_blocks_ CISTERN_GUARDED_BY(lock_) = 0;
  std::size_t live_bytes_ CISTERN_GUARDED_BY(lock_) = 0;
  std::uint64_t sequence_ CISTERN_GUARDED_BY(lock_) = 0;
  std::uint64_t faults_ CISTERN_GUARDED_BY(lock_) = 0;
};

}  // namespace cistern
