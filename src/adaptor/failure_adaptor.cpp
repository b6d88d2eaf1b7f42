#include <cistern/adaptor/failure_adaptor.hpp>
#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/possible_size.hpp>

#include <new>
#include <utility>

namespace cistern {
namespace {

/// The adaptors whose callbacks this thread is in, innermost first; each entry lives in its call's frame.
class callback_frame {
 public:
  explicit callback_frame(const failure_adaptor* adaptor) noexcept : adaptor_(adaptor), outer_(innermost) {
    innermost = this;
  }
  callback_frame(const callback_frame&) = delete;
  callback_frame& operator=(const callback_frame&) = delete;
  ~callback_frame() { innermost = outer_; }

  [[nodiscard]] static bool is_inside(const failure_adaptor* adaptor) noexcept {
    for (const callback_frame* frame = innermost; frame != nullptr; frame = frame->outer_) {
      if (frame->adaptor_ == adaptor) return true;
    }
    return false;
  }

 private:
  static constinit thread_local const callback_frame* innermost;

  const failure_adaptor* adaptor_;
  const callback_frame* outer_;
};

constinit thread_local const callback_frame* callback_frame::innermost = nullptr;

}  // namespace

failure_adaptor::failure_adaptor(failure_callback on_failure, std::pmr::memory_resource* upstream)
    : upstream_(resource_or_new_delete(upstream)), on_failure_(std::move(on_failure)) {
  CISTERN_EXPECTS(on_failure_ != nullptr, "failure_adaptor needs a callback", 0);
}

bool failure_adaptor::make_room(std::size_t bytes, std::size_t alignment) {
  failures_.fetch_add(1, std::memory_order_relaxed);
  if (callback_frame::is_inside(this)) return false;
  const callback_frame frame(this);
  if (!on_failure_(bytes, alignment)) return false;
  retries_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void* failure_adaptor::do_allocate(std::size_t bytes, std::size_t alignment) {
  detail::expect_possible_size(bytes);  // no room that a callback makes would do
  for (bool first = true;; first = false) {
    try {
      void* const block = upstream_->allocate(bytes, alignment);
      if (!first) rescued_.fetch_add(1, std::memory_order_relaxed);
      return block;
    } catch (const std::bad_alloc&) {
      if (!make_room(bytes, alignment)) throw;
    }
  }
}

}  // namespace cistern
