// guarded_slots: blocks alone on a page, between two that nobody may touch, so that misuse of one is found at
// once.
#pragma once

#include <cistern/detail/base/block_request.hpp>
#include <cistern/detail/base/fault_watch.hpp>
#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/mutex.hpp>
#include <cistern/detail/base/os_pages.hpp>
#include <cistern/sampling_guard_statistics.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cistern::detail {

/// Pages that are given back at the end; none where `base` is null.
struct owned_pages {
  using source = void* (*)(std::size_t bytes) noexcept;

  std::byte* base;
  std::size_t bytes;
  owned_pages(source from, std::size_t wanted_bytes) noexcept
      : base(wanted_bytes == 0 ? nullptr : static_cast<std::byte*>(from(wanted_bytes))),
        bytes(wanted_bytes) {}
  owned_pages(const owned_pages&) = delete;
  owned_pages& operator=(const owned_pages&) = delete;
  ~owned_pages() {
    if (base != nullptr) {
      unmap_pages(base, bytes);
    }
  }
};

///     | guard | slot 0 | guard | slot 1 | guard | ...
///                    ^ here a block ends, or as near to it as its alignment allows; each second block
///                      begins a page instead, so that underruns are seen as well
///
/// What the block leaves of its page is filled, and looked at when it is freed. A freed block is cleared and
/// its page closed, which serves again when all others have: the queue of free slots is the quarantine. Slots
/// are mapped once.
///
/// A fault is told on stderr (`fault_watch`); misuse seen by `deallocate` as well, which then aborts. All
/// thread-safe: a short lock, none of it held while the system is called.
// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor): final, and never deleted through a base
class guarded_slots final : private fault_listener {
 public:
  static constexpr std::size_t most_slots = 16'384;  // Two mappings each; Linux allows 65,530.

  /// At most `most_slots`. None where the system refuses the pages: then every allocation is refused. Throws
  /// `std::system_error` where forks can't be watched.
  explicit guarded_slots(std::size_t slots);
  guarded_slots(const guarded_slots&) = delete;
  guarded_slots& operator=(const guarded_slots&) = delete;
  /// The blocks go, the live ones too.
  ~guarded_slots();

  /// Whether it is an address of a slot or of a guard page.
  [[nodiscard]] bool contains(const void* address) const noexcept {
    return reinterpret_cast<std::uintptr_t>(address) - first_address_ < area_bytes_;
  }

  /// Null where it is too large for a slot, no slot is free, or the system refuses. `caller`: where in the
  /// program, for reports.
  [[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment, const void* caller) noexcept;

  /// Precondition: `contains(block)`. Reports what is wrong with it, and aborts; else closes it.
  void deallocate(const void* block, std::size_t bytes, std::size_t alignment, const void* caller) noexcept {
    const block_request given{bytes, alignment};
    deallocate(block, &given, caller);
  }
  /// The same where nobody says how it was asked for.
  void deallocate(const void* block, const void* caller) noexcept { deallocate(block, nullptr, caller); }

  /// How a live block was asked for. Precondition: `contains(block)`. Reports what is wrong with it, and
  /// aborts.
  [[nodiscard]] block_request request_of(const void* block, const void* caller) noexcept;

  /// Takes every live block back. No other thread may be inside. O(slots).
  void release(const void* caller) noexcept;

  [[nodiscard]] sampling_guard_statistics statistics() const noexcept;

 private:
  struct event {  // An allocation or a free.
    std::uint64_t time_ns = 0;
    std::uint64_t thread = 0;
    const void* caller = nullptr;
  };

  struct slot {
    std::byte* block = nullptr;  // Null: never used.
    std::size_t bytes = 0;
    std::size_t alignment = 0;
    bool is_live = false;
    bool begins_page = false;  // The block does; else it ends it.
    bool is_told = false;      // A fault on the block, live or freed.
    event allocated;
    event freed;
    slot* next = nullptr;  // In the queue.
  };

  void make_slots() noexcept;
  [[nodiscard]] static event event_of(const void* caller) noexcept;
  [[nodiscard]] std::byte* page_of(const slot& one) const noexcept;
  [[nodiscard]] slot* slot_near(const void* address) const noexcept CISTERN_REQUIRES(lock_);
  [[nodiscard]] slot* take_slot() noexcept;
  void put_back(slot& one) noexcept CISTERN_REQUIRES(lock_);
  void put_back_unopened(slot& one) noexcept;
  void deallocate(const void* block, const block_request* given, const void* caller) noexcept;
  [[nodiscard]] slot* begin_free(const void* block, const block_request* given, const event& now,
                                 signal_text& misuse) noexcept;
  [[nodiscard]] slot* live_slot(const void* block, std::string_view use, const event& now,
                                signal_text& misuse) noexcept CISTERN_REQUIRES(lock_);
  void mark_freed(slot& one, const event& now) noexcept CISTERN_REQUIRES(lock_);
  void quarantine(slot& one) noexcept;
  void expect_whole_margins(const slot& one) const noexcept;
  bool describe_fault(const void* address, fault_access access, signal_text& text) noexcept override;
  static void add_block(signal_text& text, const slot& one, const event& now) noexcept;

  const std::size_t page_bytes_;
  const std::size_t slot_count_;
  owned_pages area_;
  owned_pages slot_pages_;
  // What is contained. Nothing, until all is there.
  std::uintptr_t first_address_ = 0;
  std::size_t area_bytes_ = 0;
  slot* slots_ = nullptr;

  mutable mutex lock_;
  held_at_fork<mutex> fork_guard_{lock_};
  slot* oldest_free_ CISTERN_GUARDED_BY(lock_) = nullptr;
  slot* newest_free_ CISTERN_GUARDED_BY(lock_) = nullptr;
  sampling_guard_statistics counts_ CISTERN_GUARDED_BY(lock_);
};

}  // namespace cistern::detail
