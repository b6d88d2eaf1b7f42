// fault_watch: those who know what an address was are asked when the process is about to die of touching it.
#pragma once

namespace cistern::detail {

class signal_text;

enum class fault_access : unsigned char { unknown, read, write };

/// Knows some addresses that nobody may touch.
class fault_listener {
 public:
  fault_listener() noexcept = default;
  fault_listener(const fault_listener&) = delete;
  fault_listener& operator=(const fault_listener&) = delete;

  /// Whether it knows the address; then it has said in `text` what is wrong, or left it empty to say nothing.
  /// Called in a signal handler, maybe of a thread that is anywhere in this object: calls only what is safe
  /// there, and waits for nothing.
  virtual bool describe_fault(const void* address, fault_access access, signal_text& text) noexcept = 0;

 protected:
  ~fault_listener() = default;

 private:
  friend class fault_watch;
  fault_listener* next_ = nullptr;
  fault_listener* previous_ = nullptr;
};

/// From now on `listener` is asked on SIGSEGV and SIGBUS, and what it says is written on stderr. Then
/// whatever was there before for the signal has it: a handler, which is called as the system would call it,
/// or the end of the process. The handler comes with the first listener, and goes with the last one where it
/// is still the process's; one that another was put over stays, as that may call it. A handler put over it
/// that doesn't call what was there silences it. O(1). Thread-safe. Throws `std::system_error` where forks
/// can't be watched. Not with a lock held that is held at a fork; nor is the next one.
void watch_faults(fault_listener& listener);
/// The listener is about to go. Waits while it is asked. O(1).
void stop_watching_faults(fault_listener& listener) noexcept;

}  // namespace cistern::detail
