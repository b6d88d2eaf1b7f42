#include <cistern/adaptor/trace_stacks.hpp>
#include <cistern/detail/base/assert.hpp>

namespace cistern {

std::span<const trace_place> trace_stacks::stack(std::uint64_t number) const noexcept {
  CISTERN_EXPECTS(number <= ends_.size(), "trace_stacks: no such stack", number);
  if (number == 0) return {};
  const std::size_t begin = number == 1 ? 0 : ends_[number - 2];
  return std::span(places_).subspan(begin, ends_[number - 1] - begin);
}

trace_module trace_stacks::module(std::uint64_t number) const noexcept {
  CISTERN_EXPECTS(number != 0 && number <= modules_.size(), "trace_stacks: no such module", number);
  const module_record& record = modules_[number - 1];
  const auto text = std::span(text_).subspan(record.text_begin, record.path_bytes + record.build_id_bytes);
  return {.path = {reinterpret_cast<const char*>(text.data()), record.path_bytes},
          .build_id = text.subspan(record.path_bytes),
          .load_address = record.load_address};
}

void trace_stacks::add_module(std::span<const std::byte> text, std::size_t path_bytes,
                              std::uint64_t load_address) {
  modules_.push_back({.text_begin = text_.size(),
                      .path_bytes = path_bytes,
                      .build_id_bytes = text.size() - path_bytes,
                      .load_address = load_address});
  try {
    text_.insert(text_.end(), text.begin(), text.end());
  } catch (...) {
    modules_.pop_back();
    throw;
  }
}

void trace_stacks::add_stack(std::span<const trace_place> places) {
  ends_.push_back(places_.size() + places.size());
  try {
    places_.insert(places_.end(), places.begin(), places.end());
  } catch (...) {
    ends_.pop_back();
    throw;
  }
}

}  // namespace cistern
