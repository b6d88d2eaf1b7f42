#include <cistern/detail/objects/object_accounts.hpp>

#include <algorithm>
#include <numeric>
#include <utility>

namespace cistern::detail {

pool_slot& object_accounts::take_vacant() {
  if (vacant_ != nullptr) {
    pool_slot& slot = *std::exchange(vacant_, vacant_->link);
    slot.link = nullptr;
    return slot;
  }
  if (slots_used_ == slots_.slots()) {
    slots_.add_block();
  }
  return slots_[++slots_used_];
}

void object_accounts::put_vacant(pool_slot& slot) noexcept {
  slot.link = std::exchange(vacant_, &slot);
}

void object_accounts::remove(pool_slot& slot, destroy_reason reason) noexcept {
  ++destroyed_[static_cast<std::size_t>(reason)];
  --total_;
  retired_uses_ += slot.uses.load(std::memory_order_relaxed);
  slot.uses.store(0, std::memory_order_relaxed);
  slot.acquired_at.store(not_leased, std::memory_order_relaxed);
  put_vacant(slot);
}

std::vector<outstanding_lease> object_accounts::holders(time_point now, std::size_t most) const {
  std::vector<outstanding_lease> result;
  for_each([&](const pool_slot& slot) {
    const auto since = slot.acquired_at.load(std::memory_order_relaxed);
    if (since > not_leased) {
      const duration age = now.time_since_epoch() - duration{since};
      result.push_back({slot.site.load(), std::max(age, duration::zero())});
    }
  });
  std::stable_sort(result.begin(), result.end(), [](const auto& a, const auto& b) { return a.age > b.age; });
  result.resize(std::min(result.size(), most));
  return result;
}

void object_accounts::report(object_pool_statistics& s) const noexcept {
  s.total = total_;
  s.creating = creating_;
  s.created = created_;
  s.adopted = adopted_;
  s.factory_failures = factory_failures_;
  s.timed_out = timed_out_;
  s.cancelled = cancelled_;
  s.destroyed = destroyed_;
  s.acquired = retired_uses_;
  std::uint64_t never_returned =
      s.destroyed_for(destroy_reason::discarded) + s.destroyed_for(destroy_reason::detached);
  for_each([&](const pool_slot& slot) {
    s.acquired += slot.uses.load(std::memory_order_relaxed);
    never_returned += slot.leased() ? 1 : 0;
  });
  s.returned = s.acquired > never_returned ? s.acquired - never_returned : 0;
}

bool object_accounts::balanced() const noexcept {
  std::size_t occupied = slots_used_;
  for (const pool_slot* slot = vacant_; slot != nullptr; slot = slot->link) {
    --occupied;
  }
  // Some of those being created have a slot already.
  const bool slots_add_up = occupied <= total_ && occupied + creating_ >= total_;
  const auto gone = std::accumulate(destroyed_.begin(), destroyed_.end(), std::uint64_t{0});
  return slots_add_up && created_ + adopted_ + creating_ == total_ + gone;
}

}  // namespace cistern::detail
