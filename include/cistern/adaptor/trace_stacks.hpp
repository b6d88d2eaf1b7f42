// trace_stacks: from where a recorded program called: stacks of places in the program and its libraries.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/lifetimebound.hpp>

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <span>
#include <string_view>
#include <vector>

namespace cistern {

/// The program, or a library that it had loaded.
struct trace_module {
  std::string_view path;                ///< Of its file; may be empty.
  std::span<const std::byte> build_id;  ///< That the linker gave it; empty where it has none.
  std::uint64_t load_address = 0;       ///< Where in the process the addresses of its file began.
};

/// A place in the code: a call, or what a signal interrupted.
struct trace_place {
  std::uint64_t module = 0;   ///< The module's number, from 1; 0: it is in none that is known.
  std::uint64_t address = 0;  ///< In the module's file, as symbols have it; without a module: in the process.

  friend bool operator==(const trace_place&, const trace_place&) = default;
};

/// The stacks that a trace's calls refer to by number. What is returned is valid until the trace is read on.
/// Not thread-safe.
class trace_stacks {
 public:
  [[nodiscard]] std::size_t stacks() const noexcept { return ends_.size(); }
  [[nodiscard]] std::size_t modules() const noexcept { return modules_.size(); }

  /// The places of a stack, from the call of the allocation function outward; none for number 0.
  /// Precondition: `number <= stacks()`.
  [[nodiscard]] std::span<const trace_place> stack(std::uint64_t number) const noexcept CISTERN_LIFETIMEBOUND;
  /// Precondition: `1 <= number <= modules()`.
  [[nodiscard]] trace_module module(std::uint64_t number) const noexcept CISTERN_LIFETIMEBOUND;

 private:
  friend class trace_reader;
  struct module_record {
    std::size_t text_begin;
    std::size_t path_bytes;
    std::size_t build_id_bytes;
    std::uint64_t load_address;
  };

  explicit trace_stacks(std::pmr::memory_resource* memory)
      : text_(memory), modules_(memory), places_(memory), ends_(memory) {}

  [[nodiscard]] std::size_t places() const noexcept { return places_.size(); }
  [[nodiscard]] std::size_t text_bytes() const noexcept { return text_.size(); }
  /// Both leave all as it was where there is no memory. `text`: the path, and the build id behind it.
  void add_module(std::span<const std::byte> text, std::size_t path_bytes, std::uint64_t load_address);
  void add_stack(std::span<const trace_place> places);

  std::pmr::vector<std::byte> text_;  // Of all modules.
  std::pmr::vector<module_record> modules_;
  std::pmr::vector<trace_place> places_;  // Of all stacks.
  std::pmr::vector<std::size_t> ends_;    // Where each stack ends in those.
};

}  // namespace cistern
