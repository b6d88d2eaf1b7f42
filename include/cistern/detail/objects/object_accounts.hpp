// object_accounts: the slots of one object pool, which of them hold objects, and where all objects went.
#pragma once

#include <cistern/detail/objects/pool_slot.hpp>
#include <cistern/detail/objects/slot_table.hpp>
#include <cistern/object_pool_options.hpp>
#include <cistern/object_pool_statistics.hpp>
#include <cistern/pool_error.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <vector>

namespace cistern::detail {

/// Guarded by the pool's mutex, all of it, except `slots()`.
///
/// Invariant: created + adopted + creating - destroyed == total.
class object_accounts {
 public:
  object_accounts(std::pmr::memory_resource* resource, slot_table::slot_type type) noexcept
      : slots_(resource, type) {}

  [[nodiscard]] const slot_table& slots() const noexcept { return slots_; }
  /// Objects that exist or are being created.
  [[nodiscard]] std::size_t total() const noexcept { return total_; }
  [[nodiscard]] std::size_t creating() const noexcept { return creating_; }

  /// An object is going to be made; then, once each: it has been, or it won't be.
  void begin_creation() noexcept {
    ++total_;
    ++creating_;
  }
  void cancel_creation() noexcept {
    --total_;
    --creating_;
  }
  void finish_creation(bool by_factory) noexcept {
    --creating_;
    ++(by_factory ? created_ : adopted_);
  }
  void count_factory_failure() noexcept { ++factory_failures_; }
  void count_refusal(pool_errc code) noexcept {
    timed_out_ += code == pool_errc::timeout ? 1 : 0;
    cancelled_ += code == pool_errc::cancelled ? 1 : 0;
  }

  /// A slot for an object. Throws what the resource throws, having changed nothing.
  [[nodiscard]] pool_slot& make_slot() { return slots_.make(); }
  /// It remained empty, and goes.
  void remove_empty(pool_slot& slot) noexcept { slots_.remove(slot); }
  /// The object in `slot` is gone, and so is the slot now.
  void remove(pool_slot& slot, destroy_reason reason) noexcept;

  /// Who holds objects, the longest held first, at most `most`. Throws std::bad_alloc.
  [[nodiscard]] std::vector<outstanding_lease> holders(time_point now, std::size_t most) const;
  /// Fills in what is known here. O(slots).
  void report(object_pool_statistics& statistics) const noexcept;
  [[nodiscard]] bool balanced() const noexcept;

 private:
  slot_table slots_;
  std::size_t total_ = 0;
  std::size_t creating_ = 0;
  std::uint64_t created_ = 0, adopted_ = 0, factory_failures_ = 0, timed_out_ = 0, cancelled_ = 0;
  std::uint64_t retired_uses_ = 0;  // of objects that are gone
  std::array<std::uint64_t, destroy_reason_count> destroyed_{};
};

}  // namespace cistern::detail
