#include "caller_rule.hpp"

#include <array>
#include <cstring>
#include <optional>

// The tables are those of the Linux Standard Base, "Exception Frames", and of DWARF, "Call Frame
// Information".

/// What libgcc tells its unwinder about a function.
struct dwarf_eh_bases {
  void* text;
  void* data;
  void* function;
};
// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming): the name in libgcc
extern "C" const void* _Unwind_Find_FDE(void* address, dwarf_eh_bases* bases) noexcept;

namespace cistern::detail {
namespace {

// How DWARF numbers registers of x86-64.
constexpr std::uint64_t frame_pointer_number = 6;
constexpr std::uint64_t stack_pointer_number = 7;
constexpr std::uint64_t return_address_number = 16;

/// Takes numbers off the front of a table. Past its end there are zeros.
class table_cursor {
 public:
  table_cursor(const std::byte* begin, const std::byte* end) noexcept : at_(begin), end_(end) {}

  [[nodiscard]] bool is_at_end() const noexcept { return at_ >= end_; }
  [[nodiscard]] const std::byte* at() const noexcept { return at_; }
  void skip(std::uint64_t bytes) noexcept {
    at_ += bytes < static_cast<std::uint64_t>(end_ - at_) ? static_cast<std::ptrdiff_t>(bytes) : end_ - at_;
  }

  template <class Number>
  [[nodiscard]] Number fixed() noexcept {
    Number number = 0;
    if (static_cast<std::size_t>(end_ - at_) >= sizeof number) std::memcpy(&number, at_, sizeof number);
    skip(sizeof number);
    return number;
  }
  [[nodiscard]] std::uint8_t byte() noexcept { return fixed<std::uint8_t>(); }

  [[nodiscard]] std::uint64_t unsigned_number() noexcept {
    std::uint64_t number = 0;
    for (unsigned shift = 0; !is_at_end(); shift += 7) {
      const std::uint8_t next = byte();
      if (shift < 64) number |= std::uint64_t{next & 0x7FU} << shift;
      if (next < 0x80) break;
    }
    return number;
  }
  [[nodiscard]] std::int64_t signed_number() noexcept {
    std::uint64_t number = 0;
    unsigned shift = 0;
    std::uint8_t next = 0x80;
    while (next >= 0x80 && !is_at_end()) {
      next = byte();
      if (shift < 64) number |= std::uint64_t{next & 0x7FU} << shift;
      shift += 7;
    }
    if (shift < 64 && (next & 0x40U) != 0) number |= ~std::uint64_t{0} << shift;
    return static_cast<std::int64_t>(number);
  }
  [[nodiscard]] const char* text() noexcept {
    const char* const begin = reinterpret_cast<const char*>(at_);
    while (!is_at_end() && byte() != 0) {
    }
    return begin;
  }

 private:
  const std::byte* at_;
  const std::byte* end_;
};

/// Behind the length of an entry, up to its end.
[[nodiscard]] table_cursor contents_of(const std::byte* entry) noexcept {
  std::uint32_t bytes = 0;
  std::memcpy(&bytes, entry, sizeof bytes);
  return {entry + sizeof bytes, entry + sizeof bytes + bytes};
}

/// What is common to the entries of many functions.
struct common_part {
  std::uint64_t code_unit = 1;
  std::int64_t data_unit = 1;
  unsigned pointer_bytes = 8;
  bool entries_have_more = false;  // Behind the range, with its length.
  table_cursor instructions;
};

constexpr std::uint8_t aligned_address = 0x50;

/// Bytes of an address that is encoded so; 0 where that isn't known.
[[nodiscard]] unsigned encoded_bytes(std::uint8_t encoding) noexcept {
  switch (encoding & 0x0FU) {
    case 0x00:
    case 0x04:
    case 0x0C:
      return 8;
    case 0x03:
    case 0x0B:
      return 4;
    case 0x02:
    case 0x0A:
      return 2;
    default:
      return 0;
  }
}

[[nodiscard]] std::optional<common_part> read_common(const std::byte* common) noexcept {
  table_cursor from = contents_of(common);
  from.skip(4);  // What says that it is one.
  const std::uint8_t version = from.byte();
  const char* augmentation = from.text();
  if (version != 1 && version != 3) return std::nullopt;
  common_part part{.instructions = from};
  part.code_unit = from.unsigned_number();
  part.data_unit = from.signed_number();
  const std::uint64_t column = version == 1 ? from.byte() : from.unsigned_number();
  if (column != return_address_number) return std::nullopt;
  if (*augmentation == 'z') {
    part.entries_have_more = true;
    table_cursor more = from;
    const std::uint64_t more_bytes = more.unsigned_number();
    from = more;
    from.skip(more_bytes);
    while (*++augmentation != '\0') {
      switch (*augmentation) {
        case 'R':
          part.pointer_bytes = encoded_bytes(more.byte());
          break;
        case 'L':
          (void)more.byte();
          break;
        case 'P': {
          const std::uint8_t encoding = more.byte();
          if (encoding == aligned_address) return std::nullopt;
          more.skip(encoded_bytes(encoding));
          break;
        }
        default:  // "S", of a signal: all registers may have changed.
          return std::nullopt;
      }
    }
  } else if (*augmentation != '\0') {
    return std::nullopt;
  }
  if (part.pointer_bytes == 0) return std::nullopt;
  part.instructions = from;
  return part;
}

/// Where a register of the caller is.
struct saved_register {
  enum class place : std::uint8_t { unchanged, below_top, undefined, other };
  place where = place::unchanged;
  std::int64_t offset_bytes = 0;  // From the top.
};

/// A row of the table that the instructions of an entry make.
struct table_row {
  std::uint64_t top_register = 0;
  std::int64_t top_bytes = 0;
  bool is_top_known = false;
  saved_register frame_pointer;
  saved_register return_address;

  [[nodiscard]] saved_register* of(std::uint64_t number) noexcept {
    if (number == detail::frame_pointer_number) return &frame_pointer;
    return number == return_address_number ? &return_address : nullptr;
  }
  void save(std::uint64_t number, saved_register where) noexcept {
    if (saved_register* const each = of(number); each != nullptr) *each = where;
  }
};

/// Follows the instructions of an entry up to a place in the function.
class row_maker {
 public:
  row_maker(const common_part& common, std::uintptr_t at_bytes) noexcept
      : code_unit_(common.code_unit), data_unit_(common.data_unit), at_bytes_(at_bytes) {}

  /// False where there is an instruction that isn't understood.
  [[nodiscard]] bool follow(table_cursor from) noexcept {
    while (!from.is_at_end() && !is_past_ && is_understood_) follow_one(from);
    return is_understood_;
  }
  void end_of_common_part() noexcept { first_ = row_; }
  [[nodiscard]] const table_row& row() const noexcept { return row_; }

 private:
  using place = saved_register::place;

  void follow_one(table_cursor& from) noexcept {
    const std::uint8_t instruction = from.byte();
    const std::uint64_t low = instruction & 0x3FU;
    switch (instruction >> 6U) {
      case 1:
        return advance(low);
      case 2:
        return save_at(low, static_cast<std::int64_t>(from.unsigned_number()) * data_unit_);
      case 3:
        return restore(low);
      default:
        return instruction < 0x0C || instruction > 0x13 ? follow_of_registers(instruction, from)
                                                        : follow_of_top(instruction, from);
    }
  }

  void follow_of_top(std::uint8_t instruction, table_cursor& from) noexcept {
    switch (instruction) {
      case 0x0C:  // def_cfa
        row_.top_register = from.unsigned_number();
        row_.top_bytes = static_cast<std::int64_t>(from.unsigned_number());
        row_.is_top_known = true;
        return;
      case 0x0D:  // def_cfa_register
        row_.top_register = from.unsigned_number();
        return;
      case 0x0E:  // def_cfa_offset
        row_.top_bytes = static_cast<std::int64_t>(from.unsigned_number());
        return;
      case 0x0F:  // def_cfa_expression
        from.skip(from.unsigned_number());
        row_.is_top_known = false;
        return;
      case 0x12:  // def_cfa_sf
        row_.top_register = from.unsigned_number();
        row_.top_bytes = from.signed_number() * data_unit_;
        row_.is_top_known = true;
        return;
      case 0x13:  // def_cfa_offset_sf
        row_.top_bytes = from.signed_number() * data_unit_;
        return;
      default:
        return follow_of_registers(instruction, from);
    }
  }

  void follow_of_registers(std::uint8_t instruction, table_cursor& from) noexcept {
    std::uint64_t number = 0;
    switch (instruction) {
      case 0x00:  // nop
        return;
      case 0x02:  // advance_loc1, 2, 4
        return advance(from.byte());
      case 0x03:
        return advance(from.fixed<std::uint16_t>());
      case 0x04:
        return advance(from.fixed<std::uint32_t>());
      case 0x05:  // offset_extended
        number = from.unsigned_number();
        return save_at(number, static_cast<std::int64_t>(from.unsigned_number()) * data_unit_);
      case 0x11:  // offset_extended_sf
        number = from.unsigned_number();
        return save_at(number, from.signed_number() * data_unit_);
      case 0x06:  // restore_extended
        return restore(from.unsigned_number());
      case 0x07:  // undefined
        return row_.save(from.unsigned_number(), {.where = place::undefined});
      case 0x08:  // same_value
        return row_.save(from.unsigned_number(), {.where = place::unchanged});
      case 0x09:  // register
      case 0x14:  // val_offset
        number = from.unsigned_number();
        (void)from.unsigned_number();
        return row_.save(number, {.where = place::other});
      case 0x15:  // val_offset_sf
        number = from.unsigned_number();
        (void)from.signed_number();
        return row_.save(number, {.where = place::other});
      case 0x10:  // expression
      case 0x16:  // val_expression
        number = from.unsigned_number();
        from.skip(from.unsigned_number());
        return row_.save(number, {.where = place::other});
      case 0x0A:  // remember_state
        return remember();
      case 0x0B:  // restore_state
        return recall();
      case 0x2E:  // GNU_args_size
        (void)from.unsigned_number();
        return;
      default:
        is_understood_ = false;
    }
  }

  void advance(std::uint64_t units) noexcept {
    row_begin_bytes_ += units * code_unit_;
    is_past_ = row_begin_bytes_ > at_bytes_;
  }
  void save_at(std::uint64_t number, std::int64_t offset_bytes) noexcept {
    row_.save(number, {.where = place::below_top, .offset_bytes = offset_bytes});
  }
  void restore(std::uint64_t number) noexcept {
    if (const saved_register* const first = first_.of(number); first != nullptr) row_.save(number, *first);
  }
  void remember() noexcept {
    is_understood_ = remembered_ != rows_.size();
    if (is_understood_) rows_[remembered_++] = row_;
  }
  void recall() noexcept {
    is_understood_ = remembered_ != 0;
    if (is_understood_) row_ = rows_[--remembered_];
  }

  std::uint64_t code_unit_;
  std::int64_t data_unit_;
  std::uintptr_t at_bytes_;
  std::uintptr_t row_begin_bytes_ = 0;
  table_row row_;
  table_row first_;  // As the common part leaves it.
  std::array<table_row, 8> rows_{};
  std::size_t remembered_ = 0;
  bool is_past_ = false;
  bool is_understood_ = true;
};

/// So many words, where that is a whole number from 1 to `most`.
[[nodiscard]] std::optional<std::uint32_t> words_of(std::int64_t bytes, std::uint32_t most) noexcept {
  if (bytes <= 0 || bytes % 8 != 0 || bytes / 8 > most) return std::nullopt;
  return static_cast<std::uint32_t>(bytes / 8);
}

[[nodiscard]] caller_rule rule_of(const table_row& row) noexcept {
  using place = saved_register::place;
  if (row.return_address.where == place::undefined) return {.how = caller_rule::kind::outermost};
  const bool by_stack_pointer = row.top_register == stack_pointer_number;
  const auto top_words = words_of(row.top_bytes, caller_rule::most_top_words);
  if (!row.is_top_known || (!by_stack_pointer && row.top_register != frame_pointer_number) || !top_words ||
      row.return_address.where != place::below_top || row.return_address.offset_bytes != -8) {
    return {};
  }
  caller_rule rule{
      .how = by_stack_pointer ? caller_rule::kind::by_stack_pointer : caller_rule::kind::by_frame_pointer,
      .top_words = *top_words};
  if (row.frame_pointer.where == place::below_top) {
    const auto words = words_of(-row.frame_pointer.offset_bytes, caller_rule::most_frame_pointer_words);
    if (!words) return {};
    rule.frame_pointer_words = *words;
  } else if (row.frame_pointer.where == place::other) {
    return {};
  }
  return rule;
}

}  // namespace

caller_rule read_caller_rule(const std::byte* common, const std::byte* entry,
                             std::uintptr_t at_bytes) noexcept {
  const auto part = read_common(common);
  if (!part) return {};
  table_cursor from = contents_of(entry);
  from.skip(4 + std::size_t{2} * part->pointer_bytes);  // Where the common part is; begin and range.
  if (part->entries_have_more) from.skip(from.unsigned_number());
  row_maker rows(*part, at_bytes);
  if (!rows.follow(part->instructions)) return {};
  rows.end_of_common_part();
  if (!rows.follow(from)) return {};
  return rule_of(rows.row());
}

caller_rule find_caller_rule(std::uintptr_t return_address) noexcept {
#if defined(__x86_64__) && defined(__LP64__)
  // The call is before what it returns to, perhaps at the end of its function.
  const std::uintptr_t call = return_address - 1;
  dwarf_eh_bases bases{};
  const void* const found = _Unwind_Find_FDE(reinterpret_cast<void*>(call), &bases);
  if (found == nullptr) return {.how = caller_rule::kind::outermost};
  const auto* const entry = static_cast<const std::byte*>(found);
  std::int32_t back_bytes = 0;
  std::memcpy(&back_bytes, entry + 4, sizeof back_bytes);
  return read_caller_rule(entry + 4 - back_bytes, entry,
                          call - reinterpret_cast<std::uintptr_t>(bases.function));
#else
  (void)return_address;
  return {};
#endif
}

}  // namespace cistern::detail
