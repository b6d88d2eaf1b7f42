// The words of guarding_adaptor's reports, and the handler that ends the program with them.
#include <cistern/adaptor/guarding_adaptor.hpp>
#include <cistern/detail/base/misuse.hpp>

#include <array>
#include <cstdarg>
#include <cstdio>

namespace cistern {
namespace {

/// A text in place: what reports a damaged heap had better not allocate. What doesn't fit is cut off.
class line {
 public:
  [[gnu::format(printf, 2, 3)]] void add(const char* format, ...) noexcept {
    std::va_list arguments;
    va_start(arguments, format);
    // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): the analyzer loses it on the second call of `add`.
    const int wanted = std::vsnprintf(text_.data() + used_, text_.size() - used_, format, arguments);
    va_end(arguments);
    if (wanted > 0) {
      const std::size_t left = text_.size() - 1 - used_;
      used_ += static_cast<std::size_t>(wanted) < left ? static_cast<std::size_t>(wanted) : left;
    }
  }

  [[nodiscard]] const char* text() const noexcept { return text_.data(); }

 private:
  std::array<char, 512> text_{};
  std::size_t used_ = 0;
};

[[nodiscard]] unsigned long long number(std::uint64_t value) noexcept {
  return value;
}

void add_block(line& out, const guarded_block& block) noexcept {
  out.add("block %p of %zu bytes aligned to %zu, allocation %llu by thread %llu", block.ptr, block.bytes,
          block.alignment, number(block.sequence), number(block.allocating_thread));
  if (block.freeing_thread != 0) out.add(", freed by thread %llu", number(block.freeing_thread));
}

void add_damage(line& out, const guard_report& report) noexcept {
  add_block(out, report.block);
  out.add("; %zu byte%s changed, the first at offset %td", report.changed_bytes,
          report.changed_bytes == 1 ? "" : "s", report.offset);
  if (report.fault == guard_fault::overrun) {
    out.add(" (%td behind its end)", report.offset - static_cast<std::ptrdiff_t>(report.block.bytes));
  }
  out.add(", from 0x%02x to 0x%02x; found by thread %llu", static_cast<unsigned>(report.expected),
          static_cast<unsigned>(report.found), number(report.thread));
}

void add_stated(line& out, const guard_report& report) noexcept {
  out.add("%p, %zu bytes aligned to %zu, by thread %llu", report.stated_ptr, report.stated_bytes,
          report.stated_alignment, number(report.thread));
}

void add_mismatch(line& out, const guard_report& report) noexcept {
  add_block(out, report.block);
  out.add("; freed as %zu bytes aligned to %zu by thread %llu", report.stated_bytes, report.stated_alignment,
          number(report.thread));
}

void add_foreign(line& out, const guard_report& report) noexcept {
  add_stated(out, report);
  if (report.block.ptr == nullptr) return;
  out.add("; it points %td bytes into ", report.offset);
  add_block(out, report.block);
}

void add_leak(line& out, const guard_report& report) noexcept {
  out.add("%zu block%s of %zu bytes in all never freed; the oldest: ", report.leaked_blocks,
          report.leaked_blocks == 1 ? "" : "s", report.leaked_bytes);
  add_block(out, report.block);
}

[[nodiscard]] line describe(const guard_report& report) noexcept {
  line out;
  out.add("%s: ", to_string(report.fault));
  switch (report.fault) {
    case guard_fault::underrun:
    case guard_fault::overrun:
    case guard_fault::use_after_free:
      add_damage(out, report);
      break;
    case guard_fault::double_free:
      add_block(out, report.block);
      out.add("; freed again by thread %llu", number(report.thread));
      break;
    case guard_fault::wrong_size:
    case guard_fault::wrong_alignment:
      add_mismatch(out, report);
      break;
    case guard_fault::foreign_pointer:
      add_foreign(out, report);
      break;
    case guard_fault::bad_alignment:
      add_stated(out, report);
      break;
    case guard_fault::leak:
      add_leak(out, report);
      break;
  }
  return out;
}

}  // namespace

const char* to_string(guard_fault fault) noexcept {
  switch (fault) {
    case guard_fault::underrun:
      return "write in front of a block";
    case guard_fault::overrun:
      return "write behind a block";
    case guard_fault::use_after_free:
      return "write to a freed block";
    case guard_fault::double_free:
      return "double free";
    case guard_fault::wrong_size:
      return "free with the wrong size";
    case guard_fault::wrong_alignment:
      return "free with the wrong alignment";
    case guard_fault::foreign_pointer:
      return "free of a foreign pointer";
    case guard_fault::bad_alignment:
      return "request with an alignment that is not a power of two";
    case guard_fault::leak:
      return "leak";
  }
  return "unknown fault";
}

std::string to_string(const guard_report& report) {
  return describe(report).text();
}

void abort_on_guard_fault(const guard_report& report) noexcept {
  const line text = describe(report);
  line whole;
  whole.add("cistern::guarding_adaptor: %s", text.text());
  detail::misuse_found(whole.text());
}

}  // namespace cistern
