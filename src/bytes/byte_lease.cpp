#include <cistern/byte_lease.hpp>
#include <cistern/detail/base/asan_tail.hpp>
#include <cistern/detail/base/give_back.hpp>
#include <cistern/detail/base/size_classes.hpp>

#include <new>
#include <utility>

namespace cistern {
namespace {

constexpr std::size_t lease_alignment = alignof(std::max_align_t);
constexpr std::size_t largest_request_bytes = SIZE_MAX / 2;

}  // namespace

bytes_already_allocated::bytes_already_allocated()
    : std::logic_error("cistern::byte_lease: bytes are already allocated") {}

bytes_not_allocated::bytes_not_allocated()
    : std::logic_error("cistern::byte_lease: no bytes are allocated") {}

byte_lease::byte_lease(byte_lease&& other) noexcept
    : resource_(other.resource_),
      block_(std::exchange(other.block_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)),
      capacity_bytes_(std::exchange(other.capacity_bytes_, 0)) {}

byte_lease& byte_lease::operator=(byte_lease&& other) noexcept {
  if (this != &other) {
    drop();
    resource_ = other.resource_;
    block_ = std::exchange(other.block_, nullptr);
    size_bytes_ = std::exchange(other.size_bytes_, 0);
    capacity_bytes_ = std::exchange(other.capacity_bytes_, 0);
  }
  return *this;
}

std::span<std::byte> byte_lease::allocate(std::size_t n) {
  if (holds_bytes()) {
    throw bytes_already_allocated();
  }
  if (n > largest_request_bytes) {
    throw std::bad_array_new_length();
  }
  const std::size_t capacity = detail::good_size(n);
  block_ = static_cast<std::byte*>(resource_->allocate(capacity, lease_alignment));
  size_bytes_ = n;
  capacity_bytes_ = capacity;
  detail::poison_tail(block_ + n, capacity - n);
  return {block_, n};
}

std::span<std::byte> byte_lease::bytes() const {
  if (!holds_bytes()) {
    throw bytes_not_allocated();
  }
  return {block_, size_bytes_};
}

void byte_lease::give_back() {
  if (!holds_bytes()) {
    throw bytes_not_allocated();
  }
  drop();
}

void byte_lease::drop() noexcept {
  if (holds_bytes()) {
    detail::unpoison_tail(block_, capacity_bytes_);
    detail::give_back(*resource_, block_, capacity_bytes_, lease_alignment);
    block_ = nullptr;
    size_bytes_ = 0;
    capacity_bytes_ = 0;
  }
}

}  // namespace cistern
