// resource_conformance: a suite of checks that any std::pmr::memory_resource must pass.
#pragma once

#include <cistern/detail/base/requirements.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/detail/resource_conformance_support.hpp>
#include <cistern/testing/fail_every_allocation.hpp>
#include <cistern/testing/failing_resource.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory_resource>
#include <string>
#include <vector>

namespace cistern::testing {

/// One check: `run` throws `conformance_error`, whose text says what was wrong, when the resource fails it.
struct conformance_case {
  const char* name;
  void (*run)();
};

/// What a subject of the suite is taken for where it doesn't say otherwise. Derive from it, and hide what
/// differs.
struct conformance_subject {
  /// Memory comes from the upstream given to `make`; false leaves out the checks that make upstream fail.
  static constexpr bool uses_upstream = true;
  /// Threads may share it: adds the check with threads.
  static constexpr bool thread_safe = false;
  /// Two instances never compare equal.
  static constexpr bool identity_equality = true;
  /// Largest alignment it must serve; no check asks for more.
  static constexpr std::size_t max_alignment = std::size_t{64} << 10;
  /// Largest request it must serve.
  static constexpr std::size_t max_request_bytes = std::size_t{1} << 20;
  /// Most bytes of upstream that it may hold after `release()`.
  static constexpr std::size_t held_after_release_bytes = std::size_t{64} << 10;
};

/// The checks, as functions that throw `conformance_error`. `Subject` says how to make the resource:
///
///     struct my_pool_subject : cistern::testing::conformance_subject {
///       static auto make(std::pmr::memory_resource* upstream) {
///         return std::make_unique<my_pool>(upstream);
///       }
///     };
///     const auto failures = cistern::testing::conformance_failures<my_pool_subject>();
///
/// `failures` is empty when all is well.
///
/// `make` returns a smart pointer to a new resource over `upstream`. The checks of `release()` are there when
/// the resource has one. Every check runs over a `checking_resource` and ends with the resource destroyed and
/// nothing outstanding.
template <class Subject>
class resource_conformance {
  using owner_type = decltype(Subject::make(nullptr));
  using traits = Subject;
  using checking_log = detail::checking_log;

 public:
  /// Sizes from 0 up, with every alignment: aligned, whole, apart from each other, content kept.
  static void sizes_and_alignments() {
    constexpr std::size_t small_request_bytes = 4096;
    detail::conformance_fixture<Subject> fixture;
    detail::block_set blocks(fixture.resource());
    for (std::size_t alignment = 1; alignment <= traits::max_alignment; alignment *= 2) {
      for (const std::size_t bytes : detail::interesting_sizes(traits::max_request_bytes)) {
        // Large sizes with every alignment would only take memory.
        if (bytes <= small_request_bytes || alignment <= alignof(std::max_align_t)) {
          blocks.allocate(bytes, alignment);
        }
      }
    }
    blocks.free_all(detail::free_order::random);
    fixture.finish();
  }

  /// Blocks of no bytes are real, distinct and can be freed.
  static void zero_bytes() {
    detail::conformance_fixture<Subject> fixture;
    detail::block_set blocks(fixture.resource());
    for (int i = 0; i < 100; ++i) blocks.allocate(0, within_reach(std::size_t{1} << (i % 7)));
    blocks.free_all(detail::free_order::first_in_first_out);
    fixture.finish();
  }

  /// The whole block can be written, first byte to last, and frees in any order keep the others' content.
  static void free_orders() {
    for (const auto order : {detail::free_order::last_in_first_out, detail::free_order::first_in_first_out,
                             detail::free_order::random}) {
      detail::conformance_fixture<Subject> fixture;
      detail::block_set blocks(fixture.resource());
      for (int round = 0; round < 3; ++round) {  // The later rounds meet memory that was used before.
        for (std::size_t i = 0; i < 500; ++i) {
          blocks.allocate(1 + i * 7 % 600, within_reach(std::size_t{1} << (i % 5)));
        }
        blocks.free_all(order);
      }
      fixture.finish();
    }
  }

  /// Allocations and frees of random sizes and alignments in random order.
  static void random_churn() {
    detail::conformance_fixture<Subject> fixture;
    detail::block_set blocks(fixture.resource());
    detail::churn<traits>(blocks, 20'000, 1);
    blocks.free_all(detail::free_order::random);
    fixture.finish();
  }

  /// Equal to itself only (unless `identity_equality` is false).
  static void equality() {
    detail::conformance_fixture<Subject> fixture;
    auto other = Subject::make(fixture.upstream());
    detail::require(fixture.resource().is_equal(fixture.resource()), "a resource is not equal to itself");
    detail::require(!fixture.resource().is_equal(*std::pmr::null_memory_resource()),
                    "equal to the null_memory_resource");
    if constexpr (traits::identity_equality) {
      detail::require(!fixture.resource().is_equal(*other), "equal to another instance");
      detail::require(!other->is_equal(fixture.resource()), "another instance is equal to it");
    }
    other.reset();
    detail::block_set blocks(fixture.resource());
    blocks.allocate(8, 8);
    blocks.free_any();
    fixture.finish();
  }

  /// Sizes near the largest there are end in `std::bad_alloc` and change nothing.
  static void sizes_out_of_reach() {
    detail::conformance_fixture<Subject> fixture;
    detail::block_set blocks(fixture.resource());
    for (std::size_t i = 0; i < 50; ++i) blocks.allocate(i * 10, 8);
    const std::size_t held_bytes = fixture.checked.outstanding_bytes();
    for (const std::size_t bytes : detail::unreachable_sizes()) {
      for (std::size_t alignment = 1; alignment <= traits::max_alignment; alignment *= 4) {
        blocks.require_refused(bytes, alignment);
      }
    }
    detail::require(fixture.checked.outstanding_bytes() <= held_bytes,
                    "refused requests left more memory held from upstream than before");
    blocks.check_all();
    blocks.allocate(64, 8);
    blocks.free_all(detail::free_order::random);
    fixture.finish();
  }

  /// Whichever call of upstream fails, the failed call changes nothing, and nothing is lost at the end.
  static void failing_upstream() {
    for (const auto mode : {failure_mode::once, failure_mode::from_then_on}) {
      checking_log checked;
      failing_resource upstream(&checked.resource);
      const auto whole_life = [&upstream] {
        auto resource = Subject::make(&upstream);
        detail::block_set blocks(*resource);
        blocks.tolerate_failure([&blocks] {
          for (std::size_t bytes = 1; bytes <= traits::max_request_bytes; bytes += bytes + 1) {
            for (int i = 0; i < 4; ++i) blocks.allocate(bytes, within_reach(i % 2 == 0 ? 8 : 64));
          }
        });
      };
      fail_every_allocation(upstream, whole_life, [&checked](std::uint64_t) { checked.require_clean(); },
                            {.mode = mode});
      checked.require_clean();
    }
  }

  /// After a failed call of upstream the same resource goes on serving.
  static void works_after_a_failure() {
    checking_log checked;
    failing_resource upstream(&checked.resource);
    {
      auto resource = Subject::make(&upstream);
      detail::block_set blocks(*resource);
      detail::churn<traits>(blocks, 500, 2);
      upstream.fail_from_nth(1);
      blocks.allocate_until_refused(traits::max_request_bytes);
      upstream.disarm();
      detail::churn<traits>(blocks, 500, 3);
      blocks.free_all(detail::free_order::random);
    }
    checked.require_clean();
  }

  /// `release()` gives memory back without any deallocation, twice in a row, and the resource works after it.
  static void release() requires requires(owner_type& owner) { owner->release(); }
  {
    detail::conformance_fixture<Subject> fixture;
    for (int round = 0; round < 3; ++round) {
      detail::block_set blocks(fixture.resource());
      for (std::size_t i = 0; i < 4'000; ++i) {
        blocks.allocate(i % 2'000, within_reach(std::size_t{1} << (i % 8)));
      }
      blocks.allocate(traits::max_request_bytes, within_reach(64));
      blocks.forget_all();
      fixture.owner->release();
      fixture.owner->release();
      detail::require(fixture.checked.outstanding_bytes() <= traits::held_after_release_bytes,
                      "release() left " + std::to_string(fixture.checked.outstanding_bytes()) +
                          " bytes held from upstream");
    }
    fixture.finish();
  }

  /// Blocks that are never freed go back to upstream when the resource is destroyed (where it has
  /// `release()`).
  static void destruction_frees() {
    detail::conformance_fixture<Subject> fixture;
    detail::block_set blocks(fixture.resource());
    detail::churn<traits>(blocks, 2'000, 4);
    blocks.forget_all();
    fixture.finish();
  }

  /// Threads allocate and free at once, and free what other threads allocated.
  static void threads() {
    detail::conformance_fixture<Subject> fixture;
    constexpr std::size_t thread_count = 4;
    std::vector<detail::block_set> sets;
    for (std::size_t t = 0; t < thread_count; ++t) sets.emplace_back(fixture.resource(), t);
    detail::run_threads(thread_count, [&](std::size_t t) { detail::churn<traits>(sets[t], 3'000, 10 + t); });
    detail::run_threads(thread_count, [&](std::size_t t) {
      sets[(t + 1) % thread_count].free_all(detail::free_order::random);
      detail::churn<traits>(sets[(t + 1) % thread_count], 3'000, 20 + t);
    });
    for (detail::block_set& set : sets) set.free_all(detail::free_order::first_in_first_out);
    fixture.finish();
  }

  /// All checks that fit the subject, in an order from simple to hard.
  [[nodiscard]] static std::vector<conformance_case> cases() {
    std::vector<conformance_case> all = {
        {"sizes_and_alignments", &sizes_and_alignments},
        {"zero_bytes", &zero_bytes},
        {"free_orders", &free_orders},
        {"random_churn", &random_churn},
        {"equality", &equality},
        {"sizes_out_of_reach", &sizes_out_of_reach},
    };
    if constexpr (traits::uses_upstream) {
      all.push_back({"failing_upstream", &failing_upstream});
      all.push_back({"works_after_a_failure", &works_after_a_failure});
    }
    if constexpr (requires(owner_type & owner) { owner->release(); }) {
      all.push_back({"release", &release});
      all.push_back({"destruction_frees", &destruction_frees});
    }
    if constexpr (traits::thread_safe) all.push_back({"threads", &threads});
    return all;
  }

 private:
  static constexpr std::size_t within_reach(std::size_t alignment) noexcept {
    return alignment < traits::max_alignment ? alignment : traits::max_alignment;
  }
};

/// Runs every check that fits `Subject` and returns one text per failed check: "name: what was wrong". Empty
/// when the resource conforms. Stops at the first failure of each check, goes on with the next check.
template <class Subject>
[[nodiscard]] std::vector<std::string> conformance_failures() {
  std::vector<std::string> failures;
  for (const conformance_case& check : resource_conformance<Subject>::cases()) {
    try {
      check.run();
    } catch (const std::exception& error) {
      failures.push_back(std::string(check.name) + ": " + error.what());
    }
  }
  return failures;
}

}  // namespace cistern::testing
