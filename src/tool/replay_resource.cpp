#include "replay_resource.hpp"

#include <cistern/pool_options.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <iterator>
#include <new>
#include <stdexcept>
#include <utility>

#include "malloc_library.hpp"
#include "resident_memory.hpp"
#include "size_text.hpp"
#include "usage_error.hpp"

namespace cistern::tool {
namespace {

/// What lies under the pools of the standard, which keep no account.
class counting_upstream final : public std::pmr::memory_resource {
 public:
  [[nodiscard]] upstream_use use() const noexcept {
    return {allocations_.load(std::memory_order_relaxed), held_bytes_.load(std::memory_order_relaxed)};
  }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    void* const block = std::pmr::new_delete_resource()->allocate(bytes, alignment);
    allocations_.fetch_add(1, std::memory_order_relaxed);
    held_bytes_.fetch_add(bytes, std::memory_order_relaxed);
    return block;
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    held_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    std::pmr::new_delete_resource()->deallocate(block, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  std::atomic<std::uint64_t> allocations_{0};
  std::atomic<std::uint64_t> held_bytes_{0};
};

/// Over new/delete itself, not over what counts: the pools know that they are, and keep an account
/// themselves.
template <class Pool>
class our_pool final : public replay_resource {
 public:
  explicit our_pool(const pool_options& options) : pool_(options) {}
  [[nodiscard]] std::pmr::memory_resource& get() noexcept override { return pool_; }
  void trim() override {
    pool_.trim();
    trim_c_library();
  }
  [[nodiscard]] std::optional<upstream_use> upstream() const override {
    const pool_statistics statistics = pool_.statistics();
    return upstream_use{statistics.upstream_allocations, statistics.upstream_bytes};
  }

 private:
  Pool pool_;
};

template <class Resource>
class standard_resource final : public replay_resource {
 public:
  [[nodiscard]] std::pmr::memory_resource& get() noexcept override { return resource_; }
  void end_replay() noexcept override {
    if constexpr (std::is_same_v<Resource, std::pmr::monotonic_buffer_resource>) resource_.release();
  }
  void trim() override { trim_c_library(); }
  [[nodiscard]] std::optional<upstream_use> upstream() const override { return upstream_.use(); }

 private:
  counting_upstream upstream_;
  Resource resource_{&upstream_};
};

class new_delete final : public replay_resource {
 public:
  [[nodiscard]] std::pmr::memory_resource& get() noexcept override {
    return *std::pmr::new_delete_resource();
  }
  void trim() override { trim_c_library(); }
};

class library_malloc final : public replay_resource {
 public:
  explicit library_malloc(const malloc_library& library) : library_(library) {}
  [[nodiscard]] std::pmr::memory_resource& get() noexcept override { return library_; }
  void trim() override { library_.trim(); }

 private:
  malloc_library library_;
};

/// Every block is the same few bytes: what is measured is the replay.
class no_blocks final : public replay_resource, private std::pmr::memory_resource {
 public:
  [[nodiscard]] std::pmr::memory_resource& get() noexcept override { return *this; }
  void trim() override {}

 private:
  void* do_allocate(std::size_t, std::size_t) override {
    alignas(64) thread_local std::array<std::byte, 64> block;  // Or threads would write the same line.
    return block.data();
  }
  void do_deallocate(void*, std::size_t, std::size_t) override {}
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }
};

/// Blocks lie one behind the other in a few KiB of each thread, which are in the caches as a stack is. Nobody
/// looks at what is in them, so it begins anew when these are full, whatever is live.
class buffers_on_stack final : public replay_resource, private std::pmr::memory_resource {
 public:
  [[nodiscard]] std::pmr::memory_resource& get() noexcept override { return *this; }
  void trim() override {}

 private:
  struct buffer {
    alignas(64) std::array<std::byte, 2 * largest_stack_block_bytes> bytes;
    std::size_t used;
  };

  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    thread_local buffer of_thread{};
    if (bytes > largest_stack_block_bytes || alignment > 64) throw std::bad_alloc();
    std::size_t begin = (of_thread.used + alignment - 1) & ~(alignment - 1);
    if (begin + bytes > of_thread.bytes.size()) begin = 0;
    of_thread.used = begin + bytes;
    return of_thread.bytes.data() + begin;
  }
  void do_deallocate(void*, std::size_t, std::size_t) override {}
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }
};

class for_some_blocks final : public replay_resource {
 public:
  explicit for_some_blocks(std::unique_ptr<replay_resource> some) : some_(std::move(some)) {}
  [[nodiscard]] std::pmr::memory_resource& get() noexcept override {
    return *std::pmr::new_delete_resource();
  }
  [[nodiscard]] std::pmr::memory_resource* for_chosen() noexcept override { return &some_->get(); }
  void end_replay() noexcept override { some_->end_replay(); }
  void trim() override { some_->trim(); }
  [[nodiscard]] std::optional<upstream_use> upstream() const override { return some_->upstream(); }

 private:
  std::unique_ptr<replay_resource> some_;
};

struct size_option {
  std::string_view name;
  std::size_t pool_options::*field;
};
constexpr size_option size_options[] = {
    {"max_blocks_per_chunk", &pool_options::max_blocks_per_chunk},
    {"largest_required_pool_block", &pool_options::largest_required_pool_block},
    {"max_bytes", &pool_options::max_bytes},
    {"max_idle_bytes", &pool_options::max_idle_bytes},
    {"max_idle_blocks_per_bucket", &pool_options::max_idle_blocks_per_bucket},
    {"thread_cache_bytes", &pool_options::thread_cache_bytes},
    {"thread_caches_total_bytes", &pool_options::thread_caches_total_bytes},
};
struct switch_option {
  std::string_view name;
  bool pool_options::*field;
};
constexpr switch_option switch_options[] = {
    {"zero_on_free", &pool_options::zero_on_free},
    {"count_operations", &pool_options::count_operations},
    {"pass_through", &pool_options::pass_through},
};

template <class Option, std::size_t count>
[[nodiscard]] const Option* option_called(const Option (&options)[count], std::string_view name) {
  const auto* const found = std::find_if(std::begin(options), std::end(options),
                                         [&](const Option& each) { return each.name == name; });
  return found == std::end(options) ? nullptr : found;
}

/// `text`: NAME=VALUE.
void set_option(pool_options& options, std::string_view text) {
  const std::size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals);
  const std::string_view value = equals == std::string_view::npos ? "" : text.substr(equals + 1);
  if (const size_option* const size = option_called(size_options, name)) {
    const std::optional<std::uint64_t> number =
        value == "no_limit" ? std::optional<std::uint64_t>(no_limit) : size_from_text(value);
    if (!number) {
      throw usage_error(std::string(name) +
                        " takes a size, as 4096, 64K, 100M or 2G, or no_limit: " + std::string(value));
    }
    options.*size->field = *number;
  } else if (const switch_option* const one = option_called(switch_options, name)) {
    if (value != "true" && value != "false") {
      throw usage_error(std::string(name) + " takes true or false: " + std::string(value));
    }
    options.*one->field = value == "true";
  } else {
    throw usage_error("cistern's pools have no option " + std::string(name) +
                      "; docs/options.md lists those that they have");
  }
}

[[nodiscard]] std::vector<std::string_view> parts_of(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

template <class Pool>
[[nodiscard]] replay_candidate our_candidate(std::string_view text, bool is_thread_safe) {
  const std::vector<std::string_view> parts = parts_of(text, ':');
  pool_options options;
  for (std::size_t i = 1; i < parts.size(); ++i) set_option(options, parts[i]);
  try {
    const Pool refuses_what_makes_no_sense(options);
  } catch (const std::invalid_argument& error) {
    throw usage_error(error.what());
  }
  return {.name = std::string(text), .is_thread_safe = is_thread_safe, .make = [options] {
            return std::make_unique<our_pool<Pool>>(options);
          }};
}

template <class Made>
[[nodiscard]] replay_candidate plain(std::string_view name, bool is_thread_safe) {
  return {.name = std::string(name), .is_thread_safe = is_thread_safe, .make = [] {
            return std::make_unique<Made>();
          }};
}

[[nodiscard]] replay_candidate of_library(const std::string& name) {
  return {.name = name,
          .make = [library = malloc_library(name)] { return std::make_unique<library_malloc>(library); }};
}

[[nodiscard]] replay_candidate candidate(std::string_view text) {
  const std::string name(text.substr(0, text.find(':')));
  if (name == "cistern-sync") return our_candidate<synchronized_pool_resource>(text, true);
  if (name == "cistern-unsync") return our_candidate<unsynchronized_pool_resource>(text, false);
  if (name.find('/') != std::string::npos) return of_library(std::string(text));
  if (name != text)
    throw usage_error("only cistern-sync and cistern-unsync have options: " + std::string(text));
  if (name == "new") return plain<new_delete>(name, true);
  if (name == "std-sync") {
    return plain<standard_resource<std::pmr::synchronized_pool_resource>>(name, true);
  }
  if (name == "std-unsync") {
    return plain<standard_resource<std::pmr::unsynchronized_pool_resource>>(name, false);
  }
  if (name == "monotonic") {
    replay_candidate one = plain<standard_resource<std::pmr::monotonic_buffer_resource>>(name, false);
    one.keeps_freed_blocks = true;
    return one;
  }
  if (name == "nothing") {
    replay_candidate one = plain<no_blocks>(name, true);
    one.gives_blocks = false;
    return one;
  }
  if (malloc_library::is_known(name)) return of_library(name);
  throw usage_error(
      "no such resource: " + name +
      " (there are new, cistern-sync, cistern-unsync, std-sync, std-unsync, monotonic, mimalloc, "
      "jemalloc, tcmalloc, snmalloc, nothing, and libraries by a path with a slash)");
}

}  // namespace

std::vector<replay_candidate> candidates_in(std::string_view list) {
  std::vector<replay_candidate> all;
  for (const std::string_view each : parts_of(list, ',')) {
    if (std::any_of(all.begin(), all.end(), [&](const auto& other) { return other.name == each; })) {
      throw usage_error("named twice: " + std::string(each));
    }
    all.push_back(candidate(each));
  }
  return all;
}

replay_candidate stack_buffers() {
  return plain<buffers_on_stack>("stack", true);
}

replay_candidate for_chosen_blocks(const replay_candidate& one) {
  replay_candidate some = one;
  some.name += " for some blocks";
  some.make = [make = one.make] { return std::make_unique<for_some_blocks>(make()); };
  return some;
}

std::vector<replay_candidate> candidates_by_default() {
  std::vector<replay_candidate> all = candidates_in("new,cistern-sync,cistern-unsync,std-sync,std-unsync");
  for (const char* library : {"mimalloc", "jemalloc", "tcmalloc", "snmalloc"}) {
    try {
      all.push_back(of_library(library));
    } catch (const std::runtime_error&) {  // NOLINT(bugprone-empty-catch): it isn't there
    }
  }
  all.push_back(candidate("nothing"));
  return all;
}

}  // namespace cistern::tool
