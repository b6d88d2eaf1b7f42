// Slots for tests of what keeps idle ones, and a crowd that takes and keeps them.
#pragma once

#include <cistern/detail/objects/lifecycle_calls.hpp>
#include <cistern/detail/objects/slot_table.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <vector>

namespace cistern::test {

struct number_lifecycle {
  int create() { return 0; }
};

// `count` slots of ints, indices 1 to `count`.
class idle_slots {
 public:
  explicit idle_slots(std::size_t count) : owners_(count + 1) {
    while (table_.count() < count) {
      (void)table_.make();
    }
  }
  [[nodiscard]] const detail::slot_table& table() const noexcept { return table_; }
  [[nodiscard]] detail::pool_slot& operator[](std::uint32_t index) { return *table_[index].slot; }

  // Of two threads that hold a slot at once, at least one gets a false.
  [[nodiscard]] bool hold(const detail::pool_slot& slot) { return !owners_[slot.index].exchange(true); }
  [[nodiscard]] bool release(const detail::pool_slot& slot) { return owners_[slot.index].exchange(false); }

 private:
  detail::slot_table table_{std::pmr::new_delete_resource(),
                            detail::lifecycle_calls<int, number_lifecycle>::slot_type};
  std::vector<std::atomic<bool>> owners_;
};

}  // namespace cistern::test
