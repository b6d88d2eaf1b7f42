// guard_faults: misuse that sanitizers don't see, and a collection of what a guarding_adaptor reported.
#pragma once

#include <cistern/adaptor/guarding_adaptor.hpp>

#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

namespace cistern::test_support {

/// Writes where nobody may, unseen by AddressSanitizer.
[[gnu::no_sanitize_address, gnu::noinline]] inline void scribble(void* block, std::ptrdiff_t offset,
                                                                 char value) noexcept {
  static_cast<volatile char*>(block)[offset] = value;
}

/// A handler's memory.
class guard_faults {
 public:
  [[nodiscard]] guard_handler handler() {
    return [this](const guard_report& report) {
      const std::lock_guard guard(lock_);
      reports_.push_back(report);
    };
  }

  /// What was reported since the last call.
  [[nodiscard]] std::vector<guard_report> take() {
    const std::lock_guard guard(lock_);
    return std::exchange(reports_, {});
  }

 private:
  std::mutex lock_;
  std::vector<guard_report> reports_;
};

}  // namespace cistern::test_support
