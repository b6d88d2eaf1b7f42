// source_location: where a call stands in the source, on compilers with and without the standard's type.
#pragma once

#include <cistern/detail/base/requirements.hpp>

#include <atomic>
#include <cstdint>
#include <version>
#if defined(__cpp_lib_source_location)
#include <source_location>
#endif

namespace cistern {

#if defined(__cpp_lib_source_location)
/// The standard's type, where the compiler has it.
using source_location = std::source_location;
#else
/// The part of `std::source_location` that object pools use, for compilers whose standard library lacks it.
/// `column()` is always 0.
class source_location {
 public:
  /// The place of the call; meant to be used as a default argument.
  static constexpr source_location current(const char* file = __builtin_FILE(),
                                           const char* function = __builtin_FUNCTION(),
                                           std::uint_least32_t line = __builtin_LINE()) noexcept {
    source_location here;
    here.file_ = file;
    here.function_ = function;
    here.line_ = line;
    return here;
  }
  [[nodiscard]] constexpr const char* file_name() const noexcept { return file_; }
  [[nodiscard]] constexpr const char* function_name() const noexcept { return function_; }
  [[nodiscard]] constexpr std::uint_least32_t line() const noexcept { return line_; }
  [[nodiscard]] constexpr std::uint_least32_t column() const noexcept { return 0; }

 private:
  const char* file_ = "";
  const char* function_ = "";
  std::uint_least32_t line_ = 0;
};
#endif

namespace detail {

// A source location that its owner writes while others may read it, for reports about slow callers.
class atomic_source_location {
 public:
#if defined(__cpp_lib_source_location)
  void store(source_location where) noexcept {
    where_.store(where, std::memory_order_relaxed);
  }
  [[nodiscard]] source_location load() const noexcept {
    return where_.load(std::memory_order_relaxed);
  }

 private:
  static_assert(std::atomic<source_location>::is_always_lock_free);
  std::atomic<source_location> where_{source_location{}};
#else
  // Three words: a report written while the object changes hands may name the file of one caller and the
  // line of the next.
  void store(source_location where) noexcept {
    file_.store(where.file_name(), std::memory_order_relaxed);
    function_.store(where.function_name(), std::memory_order_relaxed);
    line_.store(where.line(), std::memory_order_relaxed);
  }
  [[nodiscard]] source_location load() const noexcept {
    return source_location::current(file_.load(std::memory_order_relaxed),
                                    function_.load(std::memory_order_relaxed),
                                    line_.load(std::memory_order_relaxed));
  }

 private:
  std::atomic<const char*> file_{""};
  std::atomic<const char*> function_{""};
  std::atomic<std::uint_least32_t> line_{0};
#endif
};

}  // namespace detail
}  // namespace cistern
