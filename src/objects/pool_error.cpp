#include "pool_error.hpp"

#include <cistern/pool_error.hpp>

#include <cstddef>
#include <mutex>
#include <utility>

#include "../base/statistics_text.hpp"

namespace cistern {

namespace {

class category final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "cistern.object_pool"; }
  [[nodiscard]] std::string message(int value) const override {
    switch (static_cast<pool_errc>(value)) {
      case pool_errc::closed:
        return "the pool is closed";
      case pool_errc::timeout:
        return "timed out waiting for an object";
      case pool_errc::cancelled:
        return "the wait for an object was cancelled";
      case pool_errc::exhausted:
        return "no object is idle";
      case pool_errc::would_deadlock:
        return "every object is held by threads that wait for one";
      case pool_errc::factory_failed:
        return "the factory failed";
    }
    return "unknown error " + std::to_string(value);
  }
};

// "; held longest: ...", or nothing if nobody holds any.
std::string held_longest(const std::vector<outstanding_lease>& holders) {
  std::string text;
  for (const auto& [where, age] : holders) {
    text += std::string(text.empty() ? "; held longest: " : ", ") + "for " + detail::in_seconds(age, 3) +
            " s since " + where.file_name() + ":" + std::to_string(where.line()) + " (" +
            where.function_name() + ")";
  }
  return text;
}

}  // namespace

const std::error_category& pool_category() noexcept {
  static const category instance;
  return instance;
}

std::error_code make_error_code(pool_errc code) noexcept {
  return {static_cast<int>(code), pool_category()};
}

struct pool_error::contents {
  std::string what;
  std::exception_ptr cause;
  std::shared_ptr<detail::lease_holders> holders;
  std::once_flag named;

  void name_holders() noexcept {
    try {
      std::call_once(named, [this] { what += held_longest(holders->gather(most_named)); });
    } catch (...) {  // NOLINT(bugprone-empty-catch): for lack of memory, say, there are no names
    }
  }

  static constexpr std::size_t most_named = 3;
};

pool_error::pool_error(pool_errc code, const std::string& what, std::exception_ptr cause)
    : pool_error(code, what, std::move(cause), nullptr) {}

pool_error::pool_error(pool_errc code, const std::string& what, std::exception_ptr cause,
                       std::shared_ptr<detail::lease_holders> holders)
    : std::system_error(make_error_code(code)), contents_(std::make_shared<contents>()) {
  contents_->what = what;
  contents_->cause = std::move(cause);
  contents_->holders = std::move(holders);
}

const char* pool_error::what() const noexcept {
  if (contents_->holders != nullptr) {
    contents_->name_holders();
  }
  return contents_->what.c_str();
}

const std::exception_ptr& pool_error::cause() const noexcept {
  return contents_->cause;
}

std::vector<outstanding_lease> pool_error::holders() const {
  constexpr std::size_t most = 16;
  return contents_->holders != nullptr ? contents_->holders->gather(most) : std::vector<outstanding_lease>{};
}

}  // namespace cistern
