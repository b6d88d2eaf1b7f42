// module_table: the program and the libraries that it has loaded, by numbers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "yielding_lock.hpp"
#include "zeroed_pages.hpp"

namespace cistern::detail {

/// As the dynamic linker has it.
struct loaded_module {
  std::uintptr_t begin = 0;  ///< Of its pages; `end`, if there is none.
  std::uintptr_t end = 0;
  std::uintptr_t load_address = 0;  ///< To be taken from an address to get what its file says.
  const char* path = nullptr;       ///< Empty for the program.
  std::span<const std::byte> build_id;
};

/// The module that an address lies in. Asks the dynamic linker, under its lock.
[[nodiscard]] loaded_module module_at(std::uintptr_t address) noexcept;

/// Numbers modules from 1 on as somebody asks for them. Keeps what it knows of those that are unloaded.
/// Allocates nothing. Any number of threads may ask for numbers; while `lock` is held, none gets a new one.
class module_table {
 public:
  constexpr module_table() noexcept = default;

  /// Begins without any. False if the system has no memory (errno says why).
  [[nodiscard]] bool begin() noexcept;

  /// The number of the module that an address lies in; 0: in none, or there are too many.
  [[nodiscard]] std::uint16_t number_of(std::uintptr_t address) noexcept;
  /// Modules may have been unloaded.
  void doubt() noexcept;

  void lock() noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS { lock_.lock(); }
  void unlock() noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS { lock_.unlock(); }

  /// While `lock` is held, or for a number that `number_of` has returned.
  [[nodiscard]] std::uintptr_t load_address(std::uint16_t number) const noexcept {
    return table_->modules[number - 1U].load_address;
  }
  /// The three that follow: while `lock` is held.
  [[nodiscard]] std::uint32_t count() const noexcept { return table_.is_there() ? table_->count : 0; }
  [[nodiscard]] std::span<const std::byte> path(std::uint16_t number) const noexcept;
  [[nodiscard]] std::span<const std::byte> build_id(std::uint16_t number) const noexcept;

 private:
  static constexpr std::size_t most_modules = 1024;
  static constexpr std::size_t most_text_bytes = std::size_t{256} << 10;

  struct module_record {
    std::uintptr_t begin;
    std::uintptr_t end;
    std::uintptr_t load_address;
    std::uint32_t text_begin;
    std::uint16_t path_bytes;
    std::uint16_t build_id_bytes;
    bool is_loaded;  // As far as is known.
  };
  struct table {
    std::uint32_t count;
    std::uint32_t text_bytes;
    std::array<module_record, most_modules> modules;
    std::array<std::byte, most_text_bytes> text;  // Paths, each with the build id behind it.
  };

  [[nodiscard]] std::uint16_t find(std::uintptr_t address) const noexcept;
  [[nodiscard]] std::uint16_t add(const loaded_module& found, std::span<const std::byte> path) noexcept;
  void append_text(std::span<const std::byte> text) noexcept;

  yielding_lock lock_;
  zeroed_pages<table> table_;
};

}  // namespace cistern::detail
