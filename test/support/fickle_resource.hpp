// fickle_resource: an upstream of limited size that fails by plan, and notices what it gets back.
#pragma once

#include <cistern/resource_or_new_delete.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory_resource>
#include <new>
#include <span>

#include "throwing_resource.hpp"

namespace cistern::test_support {

/// Whether `memory` holds what its user left there: three words in a row of one repeated byte that is neither
/// zero nor `fickle_resource`'s own.
[[nodiscard]] inline bool holds_user_content(std::span<const std::byte> memory);

/// Grants or fails as `follow` says; refuses by `std::bad_alloc` what would make it hold more than a small
/// machine has. Not thread-safe.
class fickle_resource final : public std::pmr::memory_resource {
 public:
  /// New memory is filled with this while `watch_content` is on.
  static constexpr unsigned char fresh_byte = 0xee;
  static constexpr std::size_t most_bytes = std::size_t{32} << 20;

  /// Which requests fail, and how.
  struct plan {
    std::uint64_t granted_before = 0;
    std::uint64_t failures = 0;
    std::size_t refused_above_bytes = SIZE_MAX;
    bool unusual = false;  ///< Throw `unusual_error` instead of `std::bad_alloc`.
  };

  explicit fickle_resource(std::pmr::memory_resource* upstream) : upstream_(upstream) {}

  void follow(const plan& next) { plan_ = next; }
  /// From now on new memory is filled, and what comes back with a user's content in it is counted.
  void watch_content(bool on) { watching_ = on; }

  [[nodiscard]] std::uint64_t failures() const { return failures_; }
  [[nodiscard]] std::uint64_t unusual_failures() const { return unusual_failures_; }
  /// Deallocations, while watched, that disclosed what a user had left.
  [[nodiscard]] std::uint64_t disclosures() const { return disclosures_; }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (bytes > most_bytes - held_bytes_) fail(false);
    if (fails_by_plan(bytes)) fail(plan_.unusual);
    void* memory = upstream_->allocate(bytes, alignment);
    held_bytes_ += bytes;
    if (watching_) std::memset(memory, fresh_byte, bytes);
    return memory;
  }

  void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override {
    if (watching_ && holds_user_content({static_cast<const std::byte*>(memory), bytes})) ++disclosures_;
    held_bytes_ -= bytes;
    upstream_->deallocate(memory, bytes, alignment);
  }

  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  [[nodiscard]] bool fails_by_plan(std::size_t bytes) {
    if (bytes > plan_.refused_above_bytes) return true;
    if (plan_.granted_before > 0) {
      --plan_.granted_before;
      return false;
    }
    if (plan_.failures == 0) return false;
    --plan_.failures;
    return true;
  }

  [[noreturn]] void fail(bool unusual) {
    ++failures_;
    if (!unusual) throw std::bad_alloc();
    ++unusual_failures_;
    throw unusual_error{};
  }

  std::pmr::memory_resource* upstream_;
  plan plan_;
  bool watching_ = false;
  std::size_t held_bytes_ = 0;
  std::uint64_t failures_ = 0;
  std::uint64_t unusual_failures_ = 0;
  std::uint64_t disclosures_ = 0;
};

inline bool holds_user_content(std::span<const std::byte> memory) {
  constexpr std::uint64_t each_byte = 0x0101'0101'0101'0101;
  unsigned alike = 0;
  std::uint64_t previous = 0;
  for (std::size_t at = 0; at + sizeof previous <= memory.size(); at += sizeof previous) {
    std::uint64_t word = 0;
    std::memcpy(&word, memory.data() + at, sizeof word);
    const std::uint64_t byte = word & 0xff;
    const bool content = byte != 0 && byte != fickle_resource::fresh_byte && word == byte * each_byte;
    alike = content ? (word == previous ? alike + 1 : 1) : 0;
    previous = word;
    if (alike == 3) return true;
  }
  return false;
}

}  // namespace cistern::test_support
