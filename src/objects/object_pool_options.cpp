#include <cistern/object_pool_options.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace cistern {

namespace {

[[noreturn]] void reject(const std::string& field, const std::string& value, const std::string& rule) {
  throw std::invalid_argument("object_pool_options: " + field + " (" + value + ") " + rule);
}

void check_bound(const char* field, std::size_t value, const char* bound_name, std::size_t bound) {
  if (value > bound) {
    reject(field, std::to_string(value),
           std::string("exceeds ") + bound_name + " (" + std::to_string(bound) + ")");
  }
}

void check_not_negative(const char* field, duration value) {
  if (value < duration::zero()) {
    reject(field, std::to_string(value.count()) + " ns", "is negative");
  }
}

}  // namespace

const object_pool_options& validated(const object_pool_options& options) {
  if (options.max_size == 0) {
    reject("max_size", "0", "must be at least 1");
  }
  if (options.max_size != no_limit && options.max_size > largest_max_size) {
    reject("max_size", std::to_string(options.max_size),
           "exceeds " + std::to_string(largest_max_size) + "; no_limit means no bound");
  }
  check_bound("initial", options.initial, "max_size", options.max_size);
  check_bound("initial", options.initial, "max_idle", options.max_idle);
  check_bound("min_idle", options.min_idle, "max_size", options.max_size);
  check_bound("min_idle", options.min_idle, "max_idle", options.max_idle);
  check_not_negative("acquire_timeout", options.acquire_timeout);
  check_not_negative("idle_timeout", options.idle_timeout);
  check_not_negative("max_lifetime", options.max_lifetime);
  check_not_negative("validate_after", options.validate_after);
  check_not_negative("backoff_max", options.backoff_max);
  if (!(options.lifetime_jitter >= 0.0 && options.lifetime_jitter <= 1.0)) {
    reject("lifetime_jitter", std::to_string(options.lifetime_jitter), "must be from 0 to 1");
  }
  return options;
}

}  // namespace cistern
