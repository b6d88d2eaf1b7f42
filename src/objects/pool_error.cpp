#include <cistern/pool_error.hpp>

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

}  // namespace

const std::error_category& pool_category() noexcept {
  static const category instance;
  return instance;
}

std::error_code make_error_code(pool_errc code) noexcept {
  return {static_cast<int>(code), pool_category()};
}

pool_error::pool_error(pool_errc code, const std::string& what, std::exception_ptr cause,
                       std::vector<outstanding_lease> holders)
    : std::system_error(make_error_code(code), what),
      cause_(std::move(cause)),
      holders_(std::move(holders)) {}

}  // namespace cistern
