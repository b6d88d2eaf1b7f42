#include "call_sites.hpp"

#include <algorithm>

namespace cistern::detail {
namespace {

constexpr std::size_t longest_module_bytes =
    3 * longest_varint_bytes + trace_longest_path_bytes + trace_longest_build_id_bytes;
constexpr std::size_t longest_stack_bytes =
    longest_varint_bytes + call_sites::deepest_stack * (3 + longest_varint_bytes);

/// Of two stacks that differ in one place only, hardly ever the same.
[[nodiscard]] std::uint64_t hash_of(std::span<const std::uintptr_t> stack) noexcept {
  std::uint64_t hash = stack.size();
  for (const std::uintptr_t each : stack) {
    hash = (hash ^ each) * 0x9E3779B97F4A7C15U;
    hash ^= hash >> 32U;
  }
  return hash;
}

[[nodiscard]] std::byte* put_bytes(std::byte* to, std::span<const std::byte> bytes) noexcept {
  return std::copy(bytes.begin(), bytes.end(), to);
}

}  // namespace

bool call_sites::begin() noexcept {
  return modules_.begin() && table_.begin();
}

void call_sites::lock() noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS {
  lock_.lock();
  modules_.lock();
}

void call_sites::unlock() noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS {
  modules_.unlock();
  lock_.unlock();
}

std::uint32_t call_sites::find(std::uint64_t hash, std::span<const std::uintptr_t> stack) const noexcept {
  for (std::size_t i = hash % slots;; i = (i + 1) % slots) {  // At most half of them are taken.
    const std::uint32_t number = table_->numbers[i].load(std::memory_order_acquire);
    if (number == 0) return 0;
    const stack_record& known = table_->stacks[number - 1];
    if (known.hash != hash || known.depth != stack.size()) continue;
    if (std::equal(stack.begin(), stack.end(), table_->addresses.begin() + known.begin)) return number;
  }
}

/// With the lock held.
std::uint32_t call_sites::add(std::uint64_t hash, std::span<const std::uintptr_t> stack,
                              std::span<const std::uint16_t> modules) noexcept {
  if (table_->stack_count == most_stacks || stack.size() > most_places - table_->place_count) {
    table_->is_full.store(true, std::memory_order_relaxed);
    return 0;
  }
  const std::uint32_t begin = table_->place_count;
  std::copy(stack.begin(), stack.end(), table_->addresses.begin() + begin);
  std::copy(modules.begin(), modules.end(), table_->modules.begin() + begin);
  table_->place_count += static_cast<std::uint32_t>(stack.size());
  table_->stacks[table_->stack_count++] = {
      .hash = hash, .begin = begin, .depth = static_cast<std::uint32_t>(stack.size())};
  std::size_t slot = hash % slots;
  while (table_->numbers[slot].load(std::memory_order_relaxed) != 0) slot = (slot + 1) % slots;
  table_->numbers[slot].store(table_->stack_count, std::memory_order_release);
  return table_->stack_count;
}

std::uint32_t call_sites::number_of(std::span<const std::uintptr_t> stack) noexcept {
  if (stack.empty()) return 0;
  const std::uint64_t hash = hash_of(stack);
  if (const std::uint32_t known = find(hash, stack); known != 0) return known;
  if (table_->is_full.load(std::memory_order_relaxed)) return 0;
  std::array<std::uint16_t, deepest_stack> modules{};
  for (std::size_t i = 0; i < stack.size(); ++i) modules[i] = modules_.number_of(stack[i]);
  const scoped_lock hold(lock_);
  if (const std::uint32_t known = find(hash, stack); known != 0) return known;  // Another thread was here.
  return add(hash, stack, std::span(modules).first(stack.size()));
}

std::byte* call_sites::put_module(std::byte* to, std::uint16_t number) const noexcept {
  const auto path = modules_.path(number);
  const auto build_id = modules_.build_id(number);
  to = put_varint(to, modules_.load_address(number));
  to = put_varint(to, path.size());
  to = put_varint(to, build_id.size());
  return put_bytes(put_bytes(to, path), build_id);
}

std::byte* call_sites::put_stack(std::byte* to, const stack_record& stack) const noexcept {
  to = put_varint(to, stack.depth);
  for (std::uint32_t i = stack.begin; i < stack.begin + stack.depth; ++i) {
    const std::uint16_t module = table_->modules[i];
    to = put_varint(to, module);
    to = put_varint(to, table_->addresses[i] - (module != 0 ? modules_.load_address(module) : 0));
  }
  return to;
}

encoded_table call_sites::encode_next(std::span<std::byte> payload) noexcept {
  encoded_table made;
  if (!table_.is_there()) return made;
  std::byte* to = payload.data();
  const std::byte* const end = to + payload.size();
  const auto has_room = [&](std::size_t bytes) { return static_cast<std::size_t>(end - to) >= bytes; };
  made.kind = trace_modules_kind;
  for (; table_->encoded_modules < modules_.count() && has_room(longest_module_bytes); ++made.entries) {
    to = put_module(to, static_cast<std::uint16_t>(++table_->encoded_modules));
  }
  if (made.entries == 0) {
    made.kind = trace_stacks_kind;
    for (; table_->encoded_stacks < table_->stack_count && has_room(longest_stack_bytes); ++made.entries) {
      to = put_stack(to, table_->stacks[table_->encoded_stacks++]);
    }
  }
  made.bytes = static_cast<std::size_t>(to - payload.data());
  return made;
}

}  // namespace cistern::detail
