#include "library_copies.hpp"

#include <cistern/detail/base/errno_keeper.hpp>

#include <cstddef>
#include <cstring>

#include <dlfcn.h>
#include <link.h>

// Weak: a program that is linked statically has no other modules, nor this function.
extern "C" [[gnu::weak]] void* dlopen(const char* file, int mode);

namespace cistern::detail {
namespace {

constexpr char note_name[] = "Cistern";
constexpr std::uint32_t note_type = 1;

/// A module, as the loader lists them: in the order in which they were loaded, the program itself first.
struct found_copy {
  library_copy* copy = nullptr;
  char module[4096] = "";  ///< Its file; empty for the program itself.
};

std::size_t padded(std::size_t bytes, std::size_t alignment) noexcept {
  return (bytes + alignment - 1) & ~(alignment - 1);
}

/// The record of a copy with our ABI that these notes tell of, or null.
library_copy* copy_in(const std::byte* notes, std::size_t bytes, std::size_t alignment) noexcept {
  while (bytes > sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) header{};
    std::memcpy(&header, notes, sizeof header);
    const std::byte* const name = notes + sizeof header;
    const std::byte* const content = notes + padded(sizeof header + header.n_namesz, alignment);
    if (header.n_type == note_type && header.n_namesz == sizeof note_name &&
        header.n_descsz == sizeof(std::int32_t) && std::memcmp(name, note_name, sizeof note_name) == 0) {
      std::int32_t distance_bytes = 0;
      std::memcpy(&distance_bytes, content, sizeof distance_bytes);
      auto* const copy = reinterpret_cast<library_copy*>(const_cast<std::byte*>(content + distance_bytes));
      if (copy->abi == cistern_this_copy.abi) {
        return copy;
      }
    }
    const std::size_t whole = padded(static_cast<std::size_t>(content - notes) + header.n_descsz, alignment);
    if (whole >= bytes) {
      return nullptr;
    }
    notes += whole;
    bytes -= whole;
  }
  return nullptr;
}

int look_into(dl_phdr_info* module, std::size_t /*size*/, void* result) noexcept {
  auto& found = *static_cast<found_copy*>(result);
  for (unsigned i = 0; i < module->dlpi_phnum && found.copy == nullptr; ++i) {
    const ElfW(Phdr)& segment = module->dlpi_phdr[i];
    if (segment.p_type == PT_NOTE) {
      const auto* const notes = reinterpret_cast<const std::byte*>(module->dlpi_addr + segment.p_vaddr);
      found.copy = copy_in(notes, segment.p_memsz, segment.p_align == 8 ? 8 : 4);
    }
  }
  if (found.copy == nullptr) {
    return 0;
  }
  std::strncpy(found.module, module->dlpi_name, sizeof found.module - 1);
  return 1;
}

found_copy look() noexcept {
  found_copy found;
  ::dl_iterate_phdr(look_into, &found);
  return found;
}

/// Keeps a module loaded for good. Returns when the loader isn't at work on it any more; false if it is gone.
bool pin(const char* module) noexcept {
  return &::dlopen == nullptr || ::dlopen(module, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE) != nullptr;
}

}  // namespace

// The list only grows at its end, so the first copy stays the first until it is unloaded, which it isn't once
// somebody depends on it.
library_copy& first_copy() noexcept {
  const errno_keeper keeper;
  for (;;) {
    const found_copy found = look();
    if (found.copy == nullptr) {  // somebody has taken the notes out
      return cistern_this_copy;
    }
    const bool never_unloaded = found.module[0] == '\0';
    if (never_unloaded || (pin(found.module) && look().copy == found.copy)) {
      return *found.copy;
    }
  }
}

}  // namespace cistern::detail
