// Runs a program of bytes on a pool over an upstream that fails by plan, and holds the pool against a model.
#pragma once

#include <cistern/detail/base/size_classes.hpp>
#include <cistern/pool_options.hpp>
#include <cistern/sized_block.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <new>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "fickle_resource.hpp"
#include "pool_accounts.hpp"
#include "pool_model.hpp"
#include "program_bytes.hpp"
#include "worker.hpp"

namespace cistern::test_support {

/// What a run has come across, so that a test can demand that it came across everything.
struct pool_coverage {
  std::uint64_t operations = 0;
  std::uint64_t allocations = 0;
  std::uint64_t refusals = 0;  ///< Allocations that threw.
  std::uint64_t unusual_errors = 0;
  std::uint64_t trims = 0;  ///< Those that gave something back.
  std::uint64_t releases = 0;
  std::uint64_t pools = 0;
  std::uint64_t threads = 0;

  pool_coverage& operator+=(const pool_coverage& other) {
    operations += other.operations;
    allocations += other.allocations;
    refusals += other.refusals;
    unusual_errors += other.unusual_errors;
    trims += other.trims;
    releases += other.releases;
    pools += other.pools;
    threads += other.threads;
    return *this;
  }
};

/// Options that follow from seven bytes; zeros mean the defaults.
[[nodiscard]] inline pool_options options_from(program_bytes& program) {
  const auto one_of = [&](auto... values) {
    const std::array<std::size_t, sizeof...(values)> all{static_cast<std::size_t>(values)...};
    return all[program.byte() % all.size()];
  };
  const pool_options defaults;
  const std::uint8_t flags = program.byte();
  return {.max_blocks_per_chunk = one_of(0, 1, 3, 100, no_limit),
          .largest_required_pool_block = one_of(0, 1, 100, 4096, 40'000, 1 << 20, no_limit),
          .max_bytes = one_of(no_limit, no_limit, no_limit, 1, 5'000, 100'000, 1 << 20),
          .max_idle_bytes = one_of(defaults.max_idle_bytes, 0, 1'000, 20'000, 300'000, no_limit),
          .max_idle_blocks_per_bucket = one_of(no_limit, no_limit, no_limit, 0, 1, 5),
          .thread_cache_bytes = one_of(defaults.thread_cache_bytes, 0, 1, 100, 10'000, 100'000),
          .zero_on_free = (flags & 1) != 0,
          .count_operations = (flags & 2) == 0,
          .pass_through = (flags & 12) == 12};
}

/// One run, on up to four threads of which one works at a time. Throws std::logic_error where pool and model
/// differ.
template <class Pool>
class pool_program {
 public:
  pool_program(const pool_options& options, std::span<const std::uint8_t> program)
      : program_(program), options_(options) {
    make_pool();
  }

  const pool_coverage& run() {
    while (!program_.empty()) {
      std::optional<std::uint8_t> change;
      on_current_thread([&] { change = work(); });
      if (change.has_value()) change_threads(*change);
    }
    finish();
    return coverage_;
  }

 private:
  // Of 32 kinds of operations the last few concern the threads.
  static constexpr unsigned threads_from = 29;
  static constexpr bool has_thread_caches = std::is_same_v<Pool, synchronized_pool_resource>;
  static constexpr std::size_t most_live_blocks = 3'000;  // so that a fuzzer's runs stay short

  // Does what comes before the next change of threads, and returns that.
  std::optional<std::uint8_t> work() {
    while (!program_.empty()) {
      const std::uint8_t what = program_.byte();
      ++coverage_.operations;
      if (what % 32 >= threads_from) return what;
      step(what);
    }
    return std::nullopt;
  }

  void step(std::uint8_t what) {
    if (const unsigned kind = what % 32; kind < 9) {
      allocate(request_from_program());
    } else if (kind < 18) {
      deallocate(1);
    } else if (kind < 20) {
      allocate_some();
    } else if (kind < 22) {
      deallocate(program_.byte());
    } else if (kind < 24) {
      trim();
    } else if (kind < 27) {
      plan_failures();
    } else if (kind < 28) {
      check_all();
    } else {
      change_pool(what / 32);
    }
    check_accounts();
  }

  // --- Allocations ---

  struct request {
    std::size_t bytes;
    std::size_t alignment;
    unsigned way;  // through which function
  };

  request request_from_program() {
    const std::uint8_t how = program_.byte();
    const std::size_t bytes = size_from_program(how % 8, how / 8 % 3 - 1);
    const std::uint8_t alignment = program_.byte();
    return {bytes,
            alignment < 128   ? 8
            : alignment < 192 ? alignof(std::max_align_t)
                              : std::size_t{1} << alignment % 14,
            how / 24U};
  }

  // `delta`: -1, 0 or 1, to get to either side of a boundary.
  std::size_t size_from_program(unsigned kind, int delta) {
    const auto shifted = [&](std::size_t bytes) { return bytes + static_cast<std::size_t>(delta); };
    switch (kind) {
      case 0:
      case 1:
        return program_.byte();
      case 2:
        return program_.word();
      case 3:
      case 4:
        return shifted(detail::class_block_bytes(program_.byte() % detail::computed_class_of(128 << 10)));
      case 5:
        return shifted(std::size_t{program_.byte()} << 14);
      case 6:
        return shifted(std::min(pool_->options().largest_required_pool_block, detail::largest_block_bytes));
      default: {  // any power of two, or as near to the largest number
        const std::uint8_t number = program_.byte();
        return number < 128 ? shifted(std::size_t{1} << number % 64) : SIZE_MAX - number % 64;
      }
    }
  }

  bool allocate(const request& wanted) {
    if (model_.size() >= most_live_blocks) return false;
    const std::size_t held_before = checked_.outstanding_bytes();
    const std::uint64_t failures = fickle_.failures();
    const std::uint64_t unusual_failures = fickle_.unusual_failures();
    try {
      take_in(wanted, get(wanted));
      ++coverage_.allocations;
      ++allocations_;
      return true;
    } catch (const std::bad_alloc&) {
      demand(fickle_.failures() != failures || wanted.bytes > PTRDIFF_MAX || meets_ceiling(wanted),
             "std::bad_alloc for no reason");
    } catch (const unusual_error&) {
      demand(fickle_.unusual_failures() != unusual_failures, "an error of upstream's that it didn't throw");
      ++coverage_.unusual_errors;
    }
    constexpr std::size_t new_cache_bytes = has_thread_caches ? std::size_t{8} << 10 : 0;
    demand(checked_.outstanding_bytes() <= held_before + new_cache_bytes, "more is held after a failure");
    check_accounts();
    ++coverage_.refusals;
    return false;
  }

  sized_block get(const request& wanted) {
    std::pmr::memory_resource& base = *pool_;
    switch (wanted.way % 4) {
      case 0:
        return {base.allocate(wanted.bytes, wanted.alignment), wanted.bytes};
      case 1:
        return pool_->allocate_at_least(wanted.bytes, wanted.alignment);
      default:
        return {pool_->allocate(wanted.bytes, wanted.alignment), wanted.bytes};
    }
  }

  void take_in(const request& wanted, const sized_block& got) {
    model_block block;
    block.ptr = got.ptr;
    block.bytes = wanted.bytes;
    block.alignment = wanted.alignment;
    block.seed = static_cast<unsigned char>(1 + ++filled_ % 127);
    block.granted_bytes = expected_grant(pool_->options(), wanted.bytes, wanted.alignment);
    block.known_bytes = got.bytes;
    if (wanted.way % 4 == 1) demand(got.bytes == block.granted_bytes, "the size granted");
    if (options_.zero_on_free) {
      demand(!holds_user_content({block.data(), block.known_bytes}), "a block with another user's content");
    }
    model_.add(block);
  }

  // With nothing in use and all of a large ceiling for itself, a request has no reason to fail.
  bool meets_ceiling(const request& wanted) const {
    constexpr std::size_t own_use_bytes = std::size_t{64} << 10;  // records, and what thread caches hold
    const pool_options options = pool_->options();
    if (options.max_bytes == no_limit) return false;
    const std::size_t granted = expected_grant(options, wanted.bytes, wanted.alignment);
    const std::size_t cached_bytes = has_thread_caches ? threads_used_ * options.thread_cache_bytes : 0;
    return !model_.empty() || cached_bytes > options.max_bytes / 2 || granted > options.max_bytes ||
           options.max_bytes - granted < own_use_bytes + cached_bytes;
  }

  void allocate_some() {
    const std::size_t count = program_.byte();
    const request wanted = request_from_program();
    for (std::size_t i = 0; i < count && allocate(wanted);) ++i;
  }

  // --- Deallocations ---

  // The newest blocks first, the oldest first, or here and there.
  void deallocate(std::size_t count) {
    const std::uint8_t how = program_.byte();
    const std::size_t start = program_.byte();
    for (std::size_t i = 0; i < count && !model_.empty(); ++i) {
      const std::size_t last = model_.size() - 1;
      const std::size_t index = how % 3 == 0   ? last - std::min(last, start)
                                : how % 3 == 1 ? i
                                               : i * 7 + start * 16;
      give_back(model_.take(index % model_.size()), how / 3);
    }
  }

  void give_back(const model_block& block, unsigned way) {
    const std::size_t bytes = way % 2 == 0 ? block.bytes : block.known_bytes;
    if (way % 4 < 2) {
      pool_->deallocate(block.ptr, bytes, block.alignment);
    } else {
      std::pmr::memory_resource& base = *pool_;
      base.deallocate(block.ptr, bytes, block.alignment);
    }
    ++deallocations_;
  }

  void deallocate_all() {
    for (unsigned way = 0; !model_.empty(); ++way) give_back(model_.take(model_.size() - 1), way);
  }

  // --- The whole pool ---

  void trim() {
    const std::size_t keep_bytes = program_.byte() % 2 == 0 ? 0 : program_.word() * 16;
    const std::size_t before_bytes = checked_.outstanding_bytes();
    const std::size_t returned_bytes = pool_->trim(keep_bytes);
    demand(before_bytes - checked_.outstanding_bytes() == returned_bytes, "what a trim gave back");
    if (returned_bytes > 0) ++coverage_.trims;
  }

  void plan_failures() {
    const std::uint8_t how = program_.byte();
    fickle_resource::plan plan;
    plan.unusual = how % 2 != 0;
    if (how % 8 >= 6) {
      plan.refused_above_bytes = std::size_t{1} << program_.byte() % 20;
    } else if (how % 8 >= 2) {
      plan.granted_before = how / 8U;
      plan.failures = 1U + program_.byte() % 20U;
    }
    fickle_.follow(plan);
  }

  void change_pool(unsigned how) {
    if (how == 0) {
      destroy_pool();
      options_ = options_from(program_);
      make_pool();
    } else if (how == 1) {
      without_watching_content([&] { pool_->release(); });
      forget_blocks();
      ++coverage_.releases;
    } else {
      deallocate_all();
      trim();
    }
  }

  void make_pool() {
    fickle_.watch_content(options_.zero_on_free);
    checked_.reset_peak();
    pool_.emplace(options_, &fickle_);
    upstream_allocations_ = checked_.allocations();
    upstream_deallocations_ = checked_.deallocations();
    allocations_ = deallocations_ = 0;
    ++coverage_.pools;
  }

  void destroy_pool() {
    without_watching_content([&] { pool_.reset(); });
    forget_blocks();
  }

  // Blocks in use are not overwritten when they are taken away.
  template <class Action>
  void without_watching_content(Action action) {
    if (!model_.empty()) fickle_.watch_content(false);
    action();
    fickle_.watch_content(options_.zero_on_free);
  }

  void forget_blocks() {
    model_.clear();
    demand(checked_.outstanding_bytes() == 0, "all is given back");
  }

  // --- Checks ---

  void check_accounts() {
    pool_statistics s = pool_->statistics();
    demand(s.in_use_bytes == model_.in_use_bytes(), "bytes in use");
    demand(live_blocks_in(s) == model_.size(), "blocks in use");
    demand(checked_.peak_bytes() <= options_.max_bytes, "the ceiling");
    demand(fickle_.disclosures() == 0, "upstream got a user's content");
    if (options_.count_operations) {
      const operations counted = counted_operations(s);
      demand(counted.allocations == allocations_, "the number of allocations");
      demand(counted.deallocations == deallocations_, "the number of deallocations");
    }
    s.upstream_allocations += upstream_allocations_;  // those of pools before this one
    s.upstream_deallocations += upstream_deallocations_;
    if (const std::string fault = accounts_fault(s, checked_); !fault.empty()) demand(false, fault.c_str());
  }

  static std::size_t live_blocks_in(const pool_statistics& s) {
    return std::accumulate(s.buckets.begin(), s.buckets.end(), s.oversize.live_blocks,
                           [](std::size_t sum, const bucket_statistics& b) { return sum + b.live_blocks; });
  }

  void check_all() {
    pool_->check_invariants();
    model_.check();
  }

  void finish() {
    fickle_.follow({});
    on_current_thread([&] { check_all(), check_accounts(); });
    deallocate_all();
    for (auto& thread : threads_) thread.reset();
    check_all();
    check_accounts();
    check_idle();
    (void)pool_->trim();
    check_accounts();
    constexpr std::size_t most_kept_bytes = has_thread_caches ? std::size_t{64} << 10 : 0;
    const pool_statistics s = pool_->statistics();
    demand(s.idle_bytes == 0, "idle bytes after everything was freed and trimmed");
    demand(s.upstream_bytes <= most_kept_bytes, "bytes held after everything was freed and trimmed");
    destroy_pool();
  }

  // With nothing in use, and all other threads' caches given back.
  void check_idle() {
    const std::size_t max_idle_bytes = pool_->options().max_idle_bytes;
    if (max_idle_bytes == no_limit) return;
    // The bound is reached in steps, while the pool is used. A seventh more, or 256 KiB, isn't worth a look;
    // and the class that is used keeps a span, which may hold a region as large as any.
    constexpr std::size_t not_worth_a_look_bytes = std::size_t{256} << 10;
    const std::size_t most_idle_bytes =
        std::max({max_idle_bytes + max_idle_bytes / 7 + 8, not_worth_a_look_bytes,
                  max_idle_bytes + checked_.largest_request_bytes()}) +
        (has_thread_caches ? pool_->options().thread_cache_bytes : 0);
    const auto settles = [&] {
      for (int looks = 0; looks < 100 && pool_->statistics().idle_bytes > most_idle_bytes; ++looks) {
        use_for_a_while(detail::smallest_block_bytes);  // which every pool has a bucket for
      }
      return pool_->statistics().idle_bytes <= most_idle_bytes;
    };
    if (!settles()) {
      // The last frees of a size, up to a MiB, may not have been looked at before it is used again.
      for (const bucket_statistics& bucket : pool_->statistics().buckets) use_for_a_while(bucket.block_bytes);
      // And what lies beside listed blocks is looked at once in 64 slow paths, of which pairs take none.
      bool is_settled = settles();
      for (int rounds = 0; rounds < 8 && !is_settled; ++rounds) {
        for (const bucket_statistics& bucket : pool_->statistics().buckets) {
          use_together(bucket.block_bytes, bucket.depth);
        }
        is_settled = settles();
      }
      demand(is_settled, "more is idle than may be");
    }
    check_all();
    check_accounts();
  }

  void use_for_a_while(std::size_t bytes) {
    for (int i = 0; i < 1'000; ++i) {
      pool_->deallocate(pool_->allocate(bytes, 8), bytes, 8);
      ++allocations_;
      ++deallocations_;
    }
  }

  // So many at once, or as many as there is memory for.
  void use_together(std::size_t bytes, std::size_t blocks) {
    std::vector<void*> taken;
    try {
      while (taken.size() < blocks) taken.push_back(pool_->allocate(bytes, 8));
    } catch (const std::bad_alloc&) {
    }
    for (void* const each : taken) pool_->deallocate(each, bytes, 8);
    allocations_ += taken.size();
    deallocations_ += taken.size();
  }

  // --- Threads ---

  template <class Work>
  void on_current_thread(Work work) {
    if (current_ == 0) {
      work();
    } else {
      threads_[current_ - 1]->run(work);
    }
  }

  // Goes on on another thread, or on the first one while others end.
  void change_threads(std::uint8_t what) {
    const std::size_t chosen = what / 32 % (threads_.size() + 1);
    if (what % 32 == threads_from) {
      if (chosen > 0) threads_[chosen - 1].reset();
      if (chosen == current_) current_ = 0;
    } else {
      current_ = chosen;
      if (chosen > 0 && !threads_[chosen - 1].has_value()) {
        threads_[chosen - 1].emplace();
        ++threads_used_;
        ++coverage_.threads;
      }
    }
    check_accounts();
  }

  program_bytes program_;
  pool_options options_;
  pool_coverage coverage_;
  testing::checking_resource checked_;
  fickle_resource fickle_{&checked_};
  std::optional<Pool> pool_;
  pool_model model_;
  std::uint64_t allocations_ = 0;  // of this pool
  std::uint64_t deallocations_ = 0;
  std::uint64_t upstream_allocations_ = 0;  // before this pool
  std::uint64_t upstream_deallocations_ = 0;
  std::uint64_t filled_ = 0;
  std::array<std::optional<worker>, 3> threads_;  // may end after the pool
  std::size_t threads_used_ = 1;
  std::size_t current_ = 0;  // 0: the one that runs the program
};

/// The first bytes say the pool's options, the others what to do with it.
template <class Pool>
void run_pool_program(std::span<const std::uint8_t> bytes) {
  program_bytes program(bytes);
  const pool_options options = options_from(program);
  pool_program<Pool>(options, program.rest()).run();
}

}  // namespace cistern::test_support
