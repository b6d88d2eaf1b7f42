// The conformance suite passes good resources, and each of its checks catches a resource with the fault it is
// for.
#include <cistern/testing/resource_conformance.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

namespace testing = cistern::testing;

namespace {

// A plain, correct adaptor; the faulty resources below differ from it in one thing each.
class honest_resource : public std::pmr::memory_resource {
 public:
  explicit honest_resource(std::pmr::memory_resource* upstream) : upstream_(upstream) {}

 protected:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    return upstream_->allocate(bytes, alignment);
  }
  void do_deallocate(void* ptr, std::size_t bytes, std::size_t alignment) override {
    upstream_->deallocate(ptr, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  std::pmr::memory_resource* upstream_;  // NOLINT(misc-non-private-member-variables-in-classes)
};

template <class Resource>
struct subject : testing::conformance_subject {
  static auto make(std::pmr::memory_resource* upstream) { return std::make_unique<Resource>(upstream); }
};

template <class Resource>
struct threaded_subject : subject<Resource> {
  static constexpr bool thread_safe = true;
};

// Whether the suite complains about the subject in exactly this check, among others perhaps, with these
// words.
template <class Subject>
bool caught(const std::string& check, const std::string& words) {
  const auto failures = testing::conformance_failures<Subject>();
  for (const std::string& failure : failures) BOOST_TEST_MESSAGE(failure);
  return std::any_of(failures.begin(), failures.end(), [&](const std::string& failure) {
    return failure.starts_with(check + ": ") && failure.find(words) != std::string::npos;
  });
}

struct new_delete_subject : testing::conformance_subject {
  static constexpr bool uses_upstream = false;
  static constexpr bool identity_equality = false;
  static constexpr bool thread_safe = true;
  struct resource : honest_resource {
    resource() : honest_resource(std::pmr::new_delete_resource()) {}
    // libstdc++ 12 rounds SIZE_MAX up to 0 for aligned new, and returns a tiny block; sanitizers abort.
    void* do_allocate(std::size_t bytes, std::size_t alignment) override {
      if (bytes > testing::checking_resource::refused_above_bytes) throw std::bad_alloc();
      return honest_resource::do_allocate(bytes, alignment);
    }
  };
  static auto make(std::pmr::memory_resource*) { return std::make_unique<resource>(); }
};

struct refuses_alignment : std::pmr::monotonic_buffer_resource {
  using monotonic_buffer_resource::monotonic_buffer_resource;
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (alignment > 8) throw std::bad_alloc();
    return monotonic_buffer_resource::do_allocate(bytes, alignment);
  }
};

struct subject_up_to_8 : subject<refuses_alignment> {
  static constexpr std::size_t max_alignment = 8;
};

struct overlapping : honest_resource {
  using honest_resource::honest_resource;
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (bytes != 5) return honest_resource::do_allocate(bytes, alignment);
    if (shared_ == nullptr) shared_ = upstream_->allocate(1024, 65'536);
    return shared_;
  }
  void do_deallocate(void* ptr, std::size_t bytes, std::size_t alignment) override {
    if (ptr != shared_) honest_resource::do_deallocate(ptr, bytes, alignment);
  }
  ~overlapping() override {
    if (shared_ != nullptr) upstream_->deallocate(shared_, 1024, 65'536);
  }
  void* shared_ = nullptr;
};

struct misaligned : honest_resource {
  using honest_resource::honest_resource;
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    auto* const base = static_cast<std::byte*>(upstream_->allocate(bytes + 64, 64));
    return base + (alignment == 64 ? 8 : 0);
  }
  void do_deallocate(void* ptr, std::size_t bytes, std::size_t alignment) override {
    upstream_->deallocate(static_cast<std::byte*>(ptr) - (alignment == 64 ? 8 : 0), bytes + 64, 64);
  }
};

struct one_address_for_no_bytes : honest_resource {
  using honest_resource::honest_resource;
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    return bytes == 0 ? this : honest_resource::do_allocate(bytes, alignment);
  }
  void do_deallocate(void* ptr, std::size_t bytes, std::size_t alignment) override {
    if (bytes != 0) honest_resource::do_deallocate(ptr, bytes, alignment);
  }
};

// Threads its free list through the memory of another, live block: content changes.
struct scribbling : honest_resource {
  using honest_resource::honest_resource;
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    void* const ptr = honest_resource::do_allocate(bytes, alignment);
    if (bytes > 0 && ++count_ % 100 == 0) victim_ = static_cast<std::byte*>(ptr);
    return ptr;
  }
  void do_deallocate(void* ptr, std::size_t bytes, std::size_t alignment) override {
    if (victim_ != nullptr && ptr != victim_) *victim_ = ~*victim_;
    victim_ = nullptr;
    honest_resource::do_deallocate(ptr, bytes, alignment);
  }
  int count_ = 0;
  std::byte* victim_ = nullptr;
};

struct frees_with_wrong_size : honest_resource {
  using honest_resource::honest_resource;
  void do_deallocate(void* ptr, std::size_t bytes, std::size_t alignment) override {
    upstream_->deallocate(ptr, bytes == 100 ? 104 : bytes, alignment);
  }
};

struct equal_to_all : honest_resource {
  using honest_resource::honest_resource;
  [[nodiscard]] bool do_is_equal(const memory_resource&) const noexcept override { return true; }
};

// Rounds up without a look at overflow.
struct overflowing : honest_resource {
  using honest_resource::honest_resource;
  static std::size_t rounded(std::size_t bytes) { return (bytes + 15) / 16 * 16; }
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    return upstream_->allocate(rounded(bytes), alignment);
  }
  void do_deallocate(void* ptr, std::size_t bytes, std::size_t alignment) override {
    upstream_->deallocate(ptr, rounded(bytes), alignment);
  }
};

struct throws_something_else : honest_resource {
  using honest_resource::honest_resource;
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (bytes > PTRDIFF_MAX) throw std::length_error("too long");
    return honest_resource::do_allocate(bytes, alignment);
  }
};

// Takes two blocks for large requests and forgets the first when the second fails.
struct loses_on_failure : honest_resource {
  using honest_resource::honest_resource;
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (bytes < 4096) return upstream_->allocate(bytes, alignment);
    void* const extra = upstream_->allocate(8, 8);
    void* const ptr = upstream_->allocate(bytes, alignment);
    upstream_->deallocate(extra, 8, 8);
    return ptr;
  }
};

struct broken_after_failure : honest_resource {
  using honest_resource::honest_resource;
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (broken_) throw std::bad_alloc();
    try {
      return upstream_->allocate(bytes, alignment);
    } catch (...) {
      broken_ = bytes >= 65'536;
      throw;
    }
  }
  bool broken_ = false;
};

// Keeps its blocks in a list that release() walks but for one block.
struct forgetful_release : honest_resource {
  using honest_resource::honest_resource;
  struct record {
    void* ptr;
    std::size_t bytes;
    std::size_t alignment;
  };
  ~forgetful_release() override { free_down_to(0); }
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    records_.push_back({upstream_->allocate(bytes, alignment), bytes, alignment});
    return records_.back().ptr;
  }
  void do_deallocate(void*, std::size_t, std::size_t) override {}
  void release() {
    const auto largest = std::max_element(records_.begin(), records_.end(),
                                          [](const record& a, const record& b) { return a.bytes < b.bytes; });
    if (largest != records_.end()) std::iter_swap(largest, records_.begin());
    free_down_to(std::min<std::size_t>(records_.size(), 1));
  }
  void free_down_to(std::size_t count) {
    for (; records_.size() > count; records_.pop_back()) {
      upstream_->deallocate(records_.back().ptr, records_.back().bytes, records_.back().alignment);
    }
  }
  std::vector<record> records_;
};

struct destructor_leaks : forgetful_release {
  using forgetful_release::forgetful_release;
  ~destructor_leaks() override { records_.clear(); }
};

// Keeps the first freed block, and never gives it back.
struct leaks_at_the_end : honest_resource {
  using honest_resource::honest_resource;
  void do_deallocate(void* ptr, std::size_t bytes, std::size_t alignment) override {
    if (!std::exchange(leaked_, true)) return;
    honest_resource::do_deallocate(ptr, bytes, alignment);
  }
  bool leaked_ = false;
};

// Loses what another thread frees than the one that allocated it.
struct loses_foreign_frees : honest_resource {
  using honest_resource::honest_resource;
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    void* const ptr = upstream_->allocate(bytes, alignment);
    const std::scoped_lock lock(mutex_);
    owners_[ptr] = std::this_thread::get_id();
    return ptr;
  }
  void do_deallocate(void* ptr, std::size_t bytes, std::size_t alignment) override {
    const std::scoped_lock lock(mutex_);
    if (owners_[ptr] == std::this_thread::get_id()) upstream_->deallocate(ptr, bytes, alignment);
  }
  std::mutex mutex_;
  std::map<void*, std::thread::id> owners_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(good_resources_pass) {
  const auto none = std::vector<std::string>{};
  BOOST_TEST(testing::conformance_failures<threaded_subject<honest_resource>>() == none,
             boost::test_tools::per_element());
  // With libc++ 19 blocks of no bytes share an address, and SIZE_MAX bytes are granted.
#if !defined(_LIBCPP_VERSION)
  BOOST_TEST(testing::conformance_failures<subject<std::pmr::monotonic_buffer_resource>>() == none,
             boost::test_tools::per_element());
#endif
  BOOST_TEST(testing::conformance_failures<new_delete_subject>() == none, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(no_check_goes_beyond_what_the_subject_serves) {
#if !defined(_LIBCPP_VERSION)
  BOOST_TEST(testing::conformance_failures<subject_up_to_8>() == std::vector<std::string>{},
             boost::test_tools::per_element());
#endif
  BOOST_TEST(caught<subject<refuses_alignment>>("sizes_and_alignments", "bad_alloc"));
}

BOOST_AUTO_TEST_CASE(the_checks_are_those_that_fit) {
  const auto names = [](const std::vector<testing::conformance_case>& cases) {
    std::string joined;
    for (const auto& each : cases) joined += std::string(each.name) + " ";
    return joined;
  };
  BOOST_TEST(names(testing::resource_conformance<subject<honest_resource>>::cases()) ==
             "sizes_and_alignments zero_bytes free_orders random_churn equality sizes_out_of_reach "
             "failing_upstream works_after_a_failure ");
  BOOST_TEST(names(testing::resource_conformance<subject<std::pmr::monotonic_buffer_resource>>::cases()) ==
             "sizes_and_alignments zero_bytes free_orders random_churn equality sizes_out_of_reach "
             "failing_upstream works_after_a_failure release destruction_frees ");
  BOOST_TEST(names(testing::resource_conformance<new_delete_subject>::cases()) ==
             "sizes_and_alignments zero_bytes free_orders random_churn equality sizes_out_of_reach threads ");
}

BOOST_AUTO_TEST_CASE(overlap_is_caught) {
  BOOST_TEST(caught<subject<overlapping>>("sizes_and_alignments", "overlapping"));
}

BOOST_AUTO_TEST_CASE(misalignment_is_caught) {
  BOOST_TEST(caught<subject<misaligned>>("sizes_and_alignments", "misaligned block"));
  BOOST_TEST(caught<subject<misaligned>>("random_churn", "misaligned block"));
}

BOOST_AUTO_TEST_CASE(shared_blocks_of_no_bytes_are_caught) {
  BOOST_TEST(caught<subject<one_address_for_no_bytes>>("zero_bytes", "overlapping"));
}

BOOST_AUTO_TEST_CASE(scribbling_is_caught) {
  BOOST_TEST(caught<subject<scribbling>>("free_orders", "content changed at offset 0"));
  BOOST_TEST(caught<subject<scribbling>>("random_churn", "content changed at offset 0"));
}

BOOST_AUTO_TEST_CASE(misuse_of_upstream_is_caught) {
  BOOST_TEST(caught<subject<frees_with_wrong_size>>("sizes_and_alignments",
                                                    "misuse of upstream: free with the wrong"));
}

BOOST_AUTO_TEST_CASE(false_equality_is_caught) {
  BOOST_TEST(caught<subject<equal_to_all>>("equality", "null_memory_resource"));
}

BOOST_AUTO_TEST_CASE(overflow_is_caught) {
  BOOST_TEST(caught<subject<overflowing>>("sizes_out_of_reach", "can't be served"));
}

BOOST_AUTO_TEST_CASE(foreign_exceptions_are_caught) {
  BOOST_TEST(caught<subject<throws_something_else>>("sizes_out_of_reach", "something else"));
}

BOOST_AUTO_TEST_CASE(loss_on_failure_is_caught) {
  BOOST_TEST(caught<subject<loses_on_failure>>("failing_upstream", "lost 1 blocks of 8 bytes"));
}

BOOST_AUTO_TEST_CASE(breaking_after_failure_is_caught) {
  BOOST_TEST(caught<subject<broken_after_failure>>("works_after_a_failure", "bad_alloc"));
}

BOOST_AUTO_TEST_CASE(a_release_that_keeps_memory_is_caught) {
  BOOST_TEST(caught<subject<forgetful_release>>("release", "release() left 1048576 bytes"));
}

BOOST_AUTO_TEST_CASE(a_destructor_that_leaks_is_caught) {
  BOOST_TEST(caught<subject<destructor_leaks>>("destruction_frees", "lost "));
}

BOOST_AUTO_TEST_CASE(a_lost_block_is_caught) {
  for (const std::string check : {"sizes_and_alignments", "zero_bytes", "free_orders", "random_churn"}) {
    BOOST_TEST(caught<subject<leaks_at_the_end>>(check, "lost 1 blocks"));
  }
}

BOOST_AUTO_TEST_CASE(blocks_lost_between_threads_are_caught) {
  BOOST_TEST(caught<threaded_subject<loses_foreign_frees>>("threads", "lost "));
  BOOST_TEST(!caught<threaded_subject<loses_foreign_frees>>("random_churn", ""));
}
