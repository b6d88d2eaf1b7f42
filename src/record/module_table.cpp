#include "module_table.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include <elf.h>
#include <link.h>
#include <unistd.h>

namespace cistern::detail {
namespace {

constexpr std::size_t most_build_id_bytes = 64;

/// In the notes of a module: each has the lengths of its name and its contents, a type, and both, each of
/// whole words.
[[nodiscard]] std::span<const std::byte> build_id_in(std::span<const std::byte> notes) noexcept {
  const auto whole_words = [](std::size_t bytes) { return (bytes + 3) & ~std::size_t{3}; };
  ElfW(Nhdr) note{};
  while (notes.size() >= sizeof note) {
    std::memcpy(&note, notes.data(), sizeof note);
    notes = notes.subspan(sizeof note);
    const std::size_t name_bytes = whole_words(note.n_namesz);
    if (name_bytes > notes.size() || note.n_descsz > notes.size() - name_bytes) break;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(notes.data(), "GNU", 4) == 0) {
      return note.n_descsz <= most_build_id_bytes ? notes.subspan(name_bytes, note.n_descsz)
                                                  : std::span<const std::byte>();
    }
    notes = notes.subspan(std::min(name_bytes + whole_words(note.n_descsz), notes.size()));
  }
  return {};
}

[[nodiscard]] std::span<const ElfW(Phdr)> segments_of(const dl_phdr_info& module) noexcept {
  return {module.dlpi_phdr, module.dlpi_phnum};
}

[[nodiscard]] std::span<const std::byte> build_id_of(const dl_phdr_info& module) noexcept {
  for (const ElfW(Phdr) & segment : segments_of(module)) {
    if (segment.p_type != PT_NOTE) continue;
    const auto* const notes = reinterpret_cast<const std::byte*>(module.dlpi_addr + segment.p_vaddr);
    if (const auto found = build_id_in({notes, segment.p_memsz}); !found.empty()) return found;
  }
  return {};
}

struct module_search {
  std::uintptr_t address;
  loaded_module found;
};

/// Not 0 to end the search.
int look_at(dl_phdr_info* module, std::size_t /*bytes*/, void* argument) noexcept {
  auto& search = *static_cast<module_search*>(argument);
  std::uintptr_t begin = UINTPTR_MAX;
  std::uintptr_t end = 0;
  for (const ElfW(Phdr) & segment : segments_of(*module)) {
    if (segment.p_type != PT_LOAD) continue;
    begin = std::min<std::uintptr_t>(begin, module->dlpi_addr + segment.p_vaddr);
    end = std::max<std::uintptr_t>(end, module->dlpi_addr + segment.p_vaddr + segment.p_memsz);
  }
  if (search.address < begin || search.address >= end) return 0;
  search.found = {.begin = begin,
                  .end = end,
                  .load_address = module->dlpi_addr,
                  .path = module->dlpi_name,
                  .build_id = build_id_of(*module)};
  return 1;
}

[[nodiscard]] bool are_equal(std::span<const std::byte> a, std::span<const std::byte> b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

}  // namespace

loaded_module module_at(std::uintptr_t address) noexcept {
  module_search search{.address = address, .found = {}};
  ::dl_iterate_phdr(look_at, &search);
  return search.found;
}

bool module_table::begin() noexcept {
  return table_.begin();
}

std::span<const std::byte> module_table::path(std::uint16_t number) const noexcept {
  const module_record& record = table_->modules[number - 1U];
  return std::span(table_->text).subspan(record.text_begin, record.path_bytes);
}

std::span<const std::byte> module_table::build_id(std::uint16_t number) const noexcept {
  const module_record& record = table_->modules[number - 1U];
  return std::span(table_->text).subspan(record.text_begin + record.path_bytes, record.build_id_bytes);
}

/// With the lock held.
std::uint16_t module_table::find(std::uintptr_t address) const noexcept {
  for (std::uint32_t i = 0; i < table_->count; ++i) {
    const module_record& record = table_->modules[i];
    if (record.is_loaded && address >= record.begin && address < record.end) {
      return static_cast<std::uint16_t>(i + 1);
    }
  }
  return 0;
}

void module_table::append_text(std::span<const std::byte> text) noexcept {
  std::copy(text.begin(), text.end(), table_->text.begin() + table_->text_bytes);
  table_->text_bytes += static_cast<std::uint32_t>(text.size());
}

/// With the lock held. One that was doubted may be there still.
std::uint16_t module_table::add(const loaded_module& found, std::span<const std::byte> path) noexcept {
  for (std::uint32_t i = 0; i < table_->count; ++i) {
    module_record& record = table_->modules[i];
    const auto number = static_cast<std::uint16_t>(i + 1);
    if (record.begin == found.begin && record.end == found.end && record.load_address == found.load_address &&
        are_equal(this->path(number), path) && are_equal(build_id(number), found.build_id)) {
      record.is_loaded = true;
      return number;
    }
  }
  if (table_->count == most_modules ||
      path.size() + found.build_id.size() > most_text_bytes - table_->text_bytes) {
    return 0;
  }
  table_->modules[table_->count] = {.begin = found.begin,
                                    .end = found.end,
                                    .load_address = found.load_address,
                                    .text_begin = table_->text_bytes,
                                    .path_bytes = static_cast<std::uint16_t>(path.size()),
                                    .build_id_bytes = static_cast<std::uint16_t>(found.build_id.size()),
                                    .is_loaded = true};
  append_text(path);
  append_text(found.build_id);
  return static_cast<std::uint16_t>(++table_->count);
}

std::uint16_t module_table::number_of(std::uintptr_t address) noexcept {
  {
    const scoped_lock hold(lock_);
    if (const std::uint16_t number = find(address); number != 0) return number;
  }
  // Without our lock: another thread may come here while it holds the dynamic linker's.
  const loaded_module found = module_at(address);
  if (found.end == 0) return 0;
  char own[PATH_MAX];
  const char* path = found.path;
  std::size_t path_bytes = ::strnlen(path, PATH_MAX - 1);
  if (path_bytes == 0) {
    const int error = errno;
    path_bytes =
        static_cast<std::size_t>(std::max<ssize_t>(::readlink("/proc/self/exe", own, sizeof own - 1), 0));
    errno = error;
    path = own;
  }
  const scoped_lock hold(lock_);
  if (const std::uint16_t number = find(address); number != 0) return number;
  return add(found, std::as_bytes(std::span(path, path_bytes)));
}

void module_table::doubt() noexcept {
  if (!table_.is_there()) return;
  const scoped_lock hold(lock_);
  for (std::uint32_t i = 0; i < table_->count; ++i) table_->modules[i].is_loaded = false;
}

}  // namespace cistern::detail
