#include <cistern/detail/objects/object_accounts.hpp>

#include <algorithm>
#include <numeric>

namespace cistern::detail {

void object_accounts::remove(pool_slot& slot, destroy_reason reason) noexcept {
  ++destroyed_[static_cast<std::size_t>(reason)];
  --total_;
  retired_uses_ += slot.uses.load(std::memory_order_relaxed);
  slots_.remove(slot);
}

std::vector<outstanding_lease> object_accounts::holders(time_point now, std::size_t most) const {
  std::vector<outstanding_lease> result;
  slots_.for_each([&](const pool_slot& slot) {
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
  slots_.for_each([&](const pool_slot& slot) {
    s.acquired += slot.uses.load(std::memory_order_relaxed);
    never_returned += slot.leased() ? 1 : 0;
  });
  s.returned = s.acquired > never_returned ? s.acquired - never_returned : 0;
}

bool object_accounts::balanced() const noexcept {
  // Some of those being created have a slot already.
  const bool slots_add_up = slots_.count() <= total_ && slots_.count() + creating_ >= total_;
  const auto gone = std::accumulate(destroyed_.begin(), destroyed_.end(), std::uint64_t{0});
  return slots_add_up && created_ + adopted_ + creating_ == total_ + gone;
}

}  // namespace cistern::detail
