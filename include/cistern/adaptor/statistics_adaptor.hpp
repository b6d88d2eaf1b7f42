// statistics_adaptor: counts what passes through it, with peaks, sizes, and scopes that count a part of it.
#pragma once

#include <cistern/detail/base/abi.hpp>
#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/lifetimebound.hpp>
#include <cistern/detail/base/mutex.hpp>
#include <cistern/resource_or_new_delete.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <memory_resource>
#include <string>
#include <string_view>

namespace cistern {

namespace detail {
class openmetrics_text;
}

/// Requests by size: class 0 holds those of no bytes, class n those of at most 2^(n-1) bytes that no class
/// before holds.
inline constexpr std::size_t request_size_classes = 66;

/// The class of a request. O(1).
[[nodiscard]] std::size_t request_size_class(std::size_t bytes) noexcept;
/// The largest size in a class, in bytes; `SIZE_MAX` for the last.
[[nodiscard]] std::size_t request_size_class_limit_bytes(std::size_t size_class) noexcept;

/// What passed through a `statistics_adaptor` since it was made, or since a scope began. Bytes are counted as
/// they are asked for.
///
/// `live_blocks == allocations - deallocations` and `live_bytes == allocated_bytes - deallocated_bytes`. Of a
/// scope they are negative where more was freed than allocated.
struct allocation_statistics {
  std::uint64_t allocations = 0;        ///< Requests that succeeded.
  std::uint64_t deallocations = 0;      ///< Blocks freed.
  std::uint64_t failures = 0;           ///< Requests that ended in an exception.
  std::uint64_t allocated_bytes = 0;    ///< By all allocations together.
  std::uint64_t deallocated_bytes = 0;  ///< By all deallocations together.
  std::int64_t live_blocks = 0;
  std::int64_t live_bytes = 0;
  std::int64_t peak_blocks = 0;  ///< The most `live_blocks` was; never negative.
  std::int64_t peak_bytes = 0;   ///< The most `live_bytes` was; never negative.
  /// Successful requests by their size.
  std::array<std::uint64_t, request_size_classes> allocations_by_size{};

  friend bool operator==(const allocation_statistics&, const allocation_statistics&) = default;
  /// How `to_openmetrics` of several (cistern/named_statistics.hpp) writes these.
  friend void add_openmetrics(detail::openmetrics_text& text, const allocation_statistics& statistics,
                              std::string_view name);
};

/// Writes an aligned table for people.
std::ostream& operator<<(std::ostream& out, const allocation_statistics& statistics);

/// The same figures as one JSON object; keys are the field names above. `allocations_by_size` is an array of
/// objects `{"limit_bytes":…,"allocations":…}`, one for each class in use.
[[nodiscard]] std::string to_json(const allocation_statistics& statistics);

/// The same figures as OpenMetrics text (ending in "# EOF"), metric names prefixed `cistern_adaptor_`, each
/// with a label `adaptor="<name>"`; `name` is escaped as the format asks, and what is no
/// UTF-8 in it becomes U+FFFD. Several in one text: cistern/named_statistics.hpp.
[[nodiscard]] std::string to_openmetrics(const allocation_statistics& statistics, std::string_view name);

/// Passes every request on and counts it.
///
/// Thread-safe if upstream is: one short lock for each call, none of it while upstream is called. A block is
/// counted after upstream gave it and before it goes back, so what other threads see is never more than is
/// held; at a quiet moment all is exact. O(1) beside upstream's cost; allocates nothing itself. Equality is
/// identity.
class statistics_adaptor : public std::pmr::memory_resource {
 public:
  /// `upstream` null means new/delete.
  explicit statistics_adaptor(std::pmr::memory_resource* upstream CISTERN_LIFETIMEBOUND = nullptr) noexcept
      : upstream_(resource_or_new_delete(upstream)) {}

  statistics_adaptor(const statistics_adaptor&) = delete;
  statistics_adaptor& operator=(const statistics_adaptor&) = delete;
  /// Precondition: no scope of this adaptor lives.
  ~statistics_adaptor() override;

  [[nodiscard]] std::pmr::memory_resource* upstream_resource() const noexcept { return upstream_; }

  /// Since the adaptor was made. O(1); thread-safe.
  [[nodiscard]] allocation_statistics statistics() const;

  /// Makes the peaks what is live now. Scopes keep theirs. Thread-safe; O(1).
  void reset_peak() noexcept;

  /// Counts what passes through an adaptor, by any thread, from its construction to its end: counters and
  /// peak of its own, in which what was live before counts as nothing. Scopes nest, and may also end in any
  /// other order. However many there are, they add two comparisons to each allocation; they allocate nothing.
  class scope {
   public:
    /// Precondition: `adaptor` outlives the scope. O(1); thread-safe.
    explicit scope(statistics_adaptor& adaptor CISTERN_LIFETIMEBOUND) noexcept;
    /// O(1); thread-safe.
    ~scope();
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;

    /// Since the scope began. O(younger scopes); thread-safe.
    [[nodiscard]] allocation_statistics statistics() const;

   private:
    friend class statistics_adaptor;

    statistics_adaptor& adaptor_;
    allocation_statistics at_start_;
    // The most that lived, counted as the adaptor counts, while this scope was the youngest. The peak of a
    // scope is the greatest of these from itself to the youngest; one that ends leaves its own to the next
    // older.
    std::int64_t peak_blocks_ = 0;
    std::int64_t peak_bytes_ = 0;
    scope* older_ = nullptr;
    scope* younger_ = nullptr;
  };

 protected:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

 private:
  void count_allocation(std::size_t bytes) noexcept;

  std::pmr::memory_resource* upstream_;
  mutable detail::mutex lock_;
  detail::held_at_fork<detail::mutex> fork_guard_{lock_};
  allocation_statistics totals_ CISTERN_GUARDED_BY(lock_);
  scope* youngest_ CISTERN_GUARDED_BY(lock_) = nullptr;  // All fields of all scopes, too.
};

/// The counting scope of a `statistics_adaptor`.
using statistics_scope = statistics_adaptor::scope;

}  // namespace cistern
