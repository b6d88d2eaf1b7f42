// taker: the memory resources that the demo puts under its jobs.
#pragma once

#include <memory>
#include <memory_resource>
#include <span>
#include <string>
#include <string_view>

namespace demo {

struct taker {
  std::string_view name;
  std::string_view meaning;  ///< In words, for the reader.
  bool ours = false;
  bool thread_safe = false;
  std::shared_ptr<std::pmr::memory_resource> (*make)() = nullptr;
  /// Asks the resource, and what it gets its memory from, to give back all they can. Null: it can't.
  void (*give_back)(std::pmr::memory_resource&) = nullptr;
  /// Called between two passes of a job, when nothing is live; null where there is nothing to do.
  void (*rewind)(std::pmr::memory_resource&) = nullptr;
};

/// All, in the order of the tables; what others are compared with comes first.
[[nodiscard]] std::span<const taker> takers();
/// Throws `std::runtime_error` if there is none of that name.
[[nodiscard]] const taker& taker_called(std::string_view name);

inline constexpr std::string_view baseline_name = "new/delete";

}  // namespace demo
