// contract: what the cases of the malloc contract test share. Nothing here allocates.
#pragma once

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace contract {

/// One case. Each runs in a process of its own, so that it starts from a fresh malloc and may end as it
/// likes.
struct test_case {
  test_case(const char* case_name, void (*case_body)()) noexcept;

  const char* name;
  void (*body)();
  test_case* next = nullptr;
};

/// Says what isn't so, and ends the process with status 1; safe in any thread and any handler.
[[noreturn]] void fail(const char* file, int line, const char* what) noexcept;

/// Ends the case as one that can't be judged here.
[[noreturn]] void skip(const char* why) noexcept;

/// Whether the malloc under test is Cistern's; otherwise the case is run to see that it accepts what others
/// do.
[[nodiscard]] bool is_cistern() noexcept;
/// Whether it was built with CISTERN_CHECKED.
[[nodiscard]] bool is_checked() noexcept;
/// Whether it was built with CISTERN_HARDENED.
[[nodiscard]] bool is_hardened() noexcept;
/// One allocation in how many it is to guard; 0: none.
[[nodiscard]] std::size_t guarded_one_in() noexcept;

/// How the child of a fork that does `action` ends, and what it says on stderr.
struct ending {
  int signal = 0;  ///< 0: none.
  std::array<char, 1024> text{};
};
[[nodiscard]] ending ending_of(void (*action)(const void*), const void* context);
template <class Action>
[[nodiscard]] ending ending_of(const Action& action) {
  return ending_of([](const void* context) { (*static_cast<const Action*>(context))(); }, &action);
}
/// Whether it is ended by the signal, with a line that contains both.
[[nodiscard]] bool dies_saying(const char* start, const char* end, const ending& seen, int signal) noexcept;
template <class Action>
[[nodiscard]] bool dies_saying(const char* start, const char* end, const Action& action,
                               int signal = SIGABRT) {
  return dies_saying(start, end, ending_of(action), signal);
}

/// `value`, about which the compiler knows nothing: it would warn of impossible sizes and drop unused blocks.
template <class T>
T hide(T value) noexcept {
  asm volatile("" : "+r"(value) : : "memory");
  return value;
}

/// Fills a block with bytes that depend on `seed` and on their place.
void fill(void* block, std::size_t bytes, unsigned seed) noexcept;
/// Whether the first `bytes` are still as `fill` left them.
[[nodiscard]] bool is_filled(const void* block, std::size_t bytes, unsigned seed) noexcept;
[[nodiscard]] inline bool is_aligned(const void* block, std::size_t alignment) noexcept {
  return reinterpret_cast<std::uintptr_t>(block) % alignment == 0;
}

/// Bytes of this process that are resident, and that are mapped.
[[nodiscard]] std::size_t resident_bytes() noexcept;
[[nodiscard]] std::size_t mapped_bytes() noexcept;
/// How many mappings the system has of it.
[[nodiscard]] std::size_t mappings() noexcept;

/// Small, seeded, and without state elsewhere.
class random_numbers {
 public:
  explicit random_numbers(std::uint64_t seed) noexcept : state_(seed * 2 + 1) {}
  std::size_t below(std::size_t bound) noexcept {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return static_cast<std::size_t>((state_ >> 33U) % bound);
  }
  /// Up to `1 << most_shift`, each doubling as likely as the next.
  std::size_t size(unsigned most_shift) noexcept {
    return 1 + below(std::size_t{1} << below(most_shift + 1));
  }

 private:
  std::uint64_t state_;
};

}  // namespace contract

#define MUST(condition) \
  ((condition) ? static_cast<void>(0) : ::contract::fail(__FILE__, __LINE__, #condition))

#define CONTRACT_CASE(name)                                          \
  static void name();                                                \
  static const ::contract::test_case name##_registered(#name, name); \
  static void name()
