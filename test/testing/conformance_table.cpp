// Runs the conformance suite over our resources and over those of others, and prints a row of
// docs/conformance.md for each. Every check runs in a process of its own: some end it.
#include <cistern/adaptor/failure_adaptor.hpp>
#include <cistern/adaptor/fallback_adaptor.hpp>
#include <cistern/adaptor/guarding_adaptor.hpp>
#include <cistern/adaptor/limit_adaptor.hpp>
#include <cistern/adaptor/recording_adaptor.hpp>
#include <cistern/adaptor/sampling_guard_adaptor.hpp>
#include <cistern/adaptor/statistics_adaptor.hpp>
#include <cistern/no_limit.hpp>
#include <cistern/page_resource.hpp>
#include <cistern/process_pool.hpp>
#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/testing/checking_resource.hpp>
#include <cistern/testing/failing_resource.hpp>
#include <cistern/testing/resource_conformance.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <memory>
#include <memory_resource>
#include <new>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef HAVE_BOOST_CONTAINER
#include <boost/container/pmr/monotonic_buffer_resource.hpp>
#include <boost/container/pmr/synchronized_pool_resource.hpp>
#include <boost/container/pmr/unsynchronized_pool_resource.hpp>
#include <boost/version.hpp>
#endif

namespace testing = cistern::testing;

namespace {

using std::pmr::memory_resource;

// ---- resources in one form: the suite is compiled once for each kind, not once for each resource ----

class releasable : public memory_resource {
 public:
  virtual void release() = 0;
};

// Any resource that isn't a `releasable` or a memory_resource of the standard's, as one.
template <class Resource, class Base>
class wrapped : public Base {
 public:
  template <class... Arguments>
  explicit wrapped(Arguments&&... arguments) : resource_(std::forward<Arguments>(arguments)...) {}

 protected:
  [[nodiscard]] Resource& resource() noexcept { return resource_; }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    return resource_.allocate(bytes, alignment);
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    resource_.deallocate(block, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    const auto* const same_kind = dynamic_cast<const wrapped*>(&other);
    return same_kind != nullptr && resource_.is_equal(same_kind->resource_);
  }

  Resource resource_;
};

template <class Pool>
class wrapped_pool final : public wrapped<Pool, releasable> {
 public:
  using wrapped<Pool, releasable>::wrapped;
  void release() override { this->resource().release(); }
};

// One that everybody shares, and that outlives its user.
class shared final {
 public:
  explicit shared(memory_resource* resource) : resource_(resource) {}
  void* allocate(std::size_t bytes, std::size_t alignment) { return resource_->allocate(bytes, alignment); }
  void deallocate(void* block, std::size_t bytes, std::size_t alignment) {
    resource_->deallocate(block, bytes, alignment);
  }
  [[nodiscard]] bool is_equal(const shared& other) const noexcept { return *resource_ == *other.resource_; }

 private:
  memory_resource* resource_;
};

template <class Owned>
using maker = std::unique_ptr<Owned> (*)(memory_resource* upstream);

// The kinds. `make` is set before the checks run.
template <bool for_threads, std::size_t largest_alignment = testing::conformance_subject::max_alignment>
struct pool : testing::conformance_subject {
  static constexpr bool thread_safe = for_threads;
  static constexpr std::size_t max_alignment = largest_alignment;
  static inline maker<releasable> make;
};
struct adaptor : testing::conformance_subject {
  static constexpr bool thread_safe = true;
  static inline maker<memory_resource> make;
};
struct of_the_process : testing::conformance_subject {
  static constexpr bool uses_upstream = false;
  static constexpr bool thread_safe = true;
  static constexpr bool identity_equality = false;
  static inline maker<memory_resource> make;
};

template <class Pool>
std::unique_ptr<releasable> pool_over(memory_resource* upstream) {
  return std::make_unique<wrapped_pool<Pool>>(upstream);
}

template <class Pool>
std::unique_ptr<releasable> pool_passed_through(memory_resource* upstream) {
  return std::make_unique<wrapped_pool<Pool>>(cistern::pool_options{.pass_through = true}, upstream);
}

template <class Adaptor>
std::unique_ptr<memory_resource> adaptor_over(memory_resource* upstream) {
  return std::make_unique<Adaptor>(upstream);
}

std::unique_ptr<memory_resource> sharing(memory_resource* resource) {
  return std::make_unique<wrapped<shared, memory_resource>>(resource);
}

// ---- mimalloc: it has no memory_resource, so this is what its users write ----

class mimalloc {
 public:
  // Loaded for this alone: linked, it would replace malloc in the whole process.
  static bool is_there() { return functions().version != nullptr; }
  static std::string version() {
    const int number = functions().version();  // 209 is 2.0.9; newer ones write 30403 for 3.4.3
    const int base = number < 1000 ? 10 : 100;
    return std::to_string(number / base / base) + '.' + std::to_string(number / base % base) + '.' +
           std::to_string(number % base);
  }

  void* allocate(std::size_t bytes, std::size_t alignment) {
    void* const block = functions().allocate(bytes, alignment);
    if (block == nullptr) throw std::bad_alloc();
    return block;
  }
  void deallocate(void* block, std::size_t bytes, std::size_t alignment) {
    functions().free(block, bytes, alignment);
  }
  [[nodiscard]] bool is_equal(const mimalloc&) const noexcept { return true; }

 private:
  struct table {
    void* (*allocate)(std::size_t, std::size_t) = nullptr;
    void (*free)(void*, std::size_t, std::size_t) = nullptr;
    int (*version)() = nullptr;
  };
  static const table& functions() {
    static const table found = [] {
      table loaded;
      void* const library = dlopen(MIMALLOC_FILE, RTLD_NOW | RTLD_LOCAL);
      if (library == nullptr) return loaded;
      loaded.allocate =
          reinterpret_cast<void* (*)(std::size_t, std::size_t)>(dlsym(library, "mi_malloc_aligned"));
      loaded.free =
          reinterpret_cast<void (*)(void*, std::size_t, std::size_t)>(dlsym(library, "mi_free_size_aligned"));
      loaded.version = reinterpret_cast<int (*)()>(dlsym(library, "mi_version"));
      return loaded;
    }();
    return found;
  }
};

// ---- Boost.Container: a memory_resource of its own, above and below ----

#ifdef HAVE_BOOST_CONTAINER
template <class Pool>
class boost_pool {
 public:
  explicit boost_pool(memory_resource* upstream) : upstream_(upstream), pool_(&upstream_) {}
  void* allocate(std::size_t bytes, std::size_t alignment) { return pool_.allocate(bytes, alignment); }
  void deallocate(void* block, std::size_t bytes, std::size_t alignment) {
    pool_.deallocate(block, bytes, alignment);
  }
  [[nodiscard]] bool is_equal(const boost_pool& other) const noexcept { return pool_.is_equal(other.pool_); }
  void release() { pool_.release(); }

 private:
  class boost_upstream final : public boost::container::pmr::memory_resource {
   public:
    explicit boost_upstream(std::pmr::memory_resource* resource) : resource_(resource) {}

   private:
    void* do_allocate(std::size_t bytes, std::size_t alignment) override {
      return resource_->allocate(bytes, alignment);
    }
    void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
      resource_->deallocate(block, bytes, alignment);
    }
    [[nodiscard]] bool do_is_equal(const boost::container::pmr::memory_resource& other) const
        BOOST_NOEXCEPT override {
      return this == &other;
    }

    std::pmr::memory_resource* resource_;
  };

  boost_upstream upstream_;
  Pool pool_;
};
#endif

// ---- the checks ----

constexpr unsigned time_limit_seconds = 300;  // Of a check that doesn't end by itself.

// What was wrong; empty if nothing was.
std::string outcome_of(const testing::conformance_case& check) {
  int ends[2];
  if (pipe(ends) != 0) throw std::bad_alloc();
  std::cout.flush();
  const pid_t child = fork();
  if (child == 0) {
    alarm(time_limit_seconds);
    if (dup2(open("/dev/null", O_WRONLY), 2) != 2) _exit(1);  // What peers say of refused sizes.
    std::string words;
    try {
      check.run();
    } catch (const std::exception& error) {
      words = error.what();
    }
    _exit(write(ends[1], words.data(), words.size()) == static_cast<ssize_t>(words.size()) ? 0 : 1);
  }
  close(ends[1]);
  std::string words;
  char part[512];
  for (ssize_t got = 0; (got = read(ends[0], part, sizeof part)) > 0;)
    words.append(part, static_cast<std::size_t>(got));
  close(ends[0]);
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) throw std::bad_alloc();
  if (WIFSIGNALED(status)) {
    return WTERMSIG(status) == SIGALRM ? "doesn't end"
                                       : "ends the process: " + std::string(strsignal(WTERMSIG(status)));
  }
  return WEXITSTATUS(status) == 0 ? words : "ends the process";
}

template <class Kind, class Make>
void print_row(const std::string& name, Make make) {
  Kind::make = make;
  const auto checks = testing::resource_conformance<Kind>::cases();
  std::string faults;
  std::size_t passed = 0;
  for (const testing::conformance_case& check : checks) {
    const std::string wrong = outcome_of(check);
    if (wrong.empty()) {
      ++passed;
    } else {
      faults += (faults.empty() ? "`" : "<br>`") + std::string(check.name) + "`: " + wrong;
    }
  }
  std::cout << "| " << name << " | " << passed << " of " << checks.size() << " | " << faults
            << (faults.empty() ? "|\n" : " |\n");
}

// Of others: first with all alignments, then without the larger ones, which hide what else there is.
template <bool for_threads, class Pool>
void print_pool(const std::string& name) {
  print_row<pool<for_threads>>(name, &pool_over<Pool>);
  print_row<pool<for_threads, 8>>(name + ", aligned to 8 at most", &pool_over<Pool>);
}

void print_ours() {
  print_row<pool<false>>("`cistern::unsynchronized_pool_resource`",
                         &pool_over<cistern::unsynchronized_pool_resource>);
  print_row<pool<true>>("`cistern::synchronized_pool_resource`",
                        &pool_over<cistern::synchronized_pool_resource>);
  print_row<pool<false>>("`cistern::unsynchronized_pool_resource`, pass-through",
                         &pool_passed_through<cistern::unsynchronized_pool_resource>);
  print_row<pool<true>>("`cistern::synchronized_pool_resource`, pass-through",
                        &pool_passed_through<cistern::synchronized_pool_resource>);
  print_row<of_the_process>("`cistern::process_pool`",
                            [](memory_resource*) { return sharing(cistern::process_pool()); });
  print_row<of_the_process>("`cistern::page_resource`",
                            [](memory_resource*) { return sharing(cistern::pages()); });
  print_row<adaptor>("`cistern::limit_adaptor`",
                     [](memory_resource* upstream) -> std::unique_ptr<memory_resource> {
                       return std::make_unique<cistern::limit_adaptor>(cistern::no_limit, upstream);
                     });
  print_row<adaptor>("`cistern::statistics_adaptor`", &adaptor_over<cistern::statistics_adaptor>);
  print_row<adaptor>(
      "`cistern::recording_adaptor`", [](memory_resource* upstream) -> std::unique_ptr<memory_resource> {
        return std::make_unique<cistern::recording_adaptor>([](std::span<const std::byte>) {}, upstream);
      });
  print_row<adaptor>(
      "`cistern::fallback_adaptor`", [](memory_resource* upstream) -> std::unique_ptr<memory_resource> {
        return std::make_unique<cistern::fallback_adaptor>(std::pmr::null_memory_resource(), upstream);
      });
  print_row<adaptor>("`cistern::failure_adaptor`",
                     [](memory_resource* upstream) -> std::unique_ptr<memory_resource> {
                       return std::make_unique<cistern::failure_adaptor>(
                           [](std::size_t, std::size_t) { return false; }, upstream);
                     });
  print_row<adaptor>("`cistern::guarding_adaptor`", &adaptor_over<cistern::guarding_adaptor>);
  print_row<adaptor>("`cistern::sampling_guard_adaptor`, one in two",
                     [](memory_resource* upstream) -> std::unique_ptr<memory_resource> {
                       // All of a short check may be sampled; the suite wants to see upstream asked.
                       upstream->deallocate(upstream->allocate(1), 1);
                       return std::make_unique<cistern::sampling_guard_adaptor>(
                           cistern::sampling_guard_options{.one_in = 2}, upstream);
                     });
  print_row<adaptor>("`cistern::testing::checking_resource`", &adaptor_over<testing::checking_resource>);
  print_row<adaptor>("`cistern::testing::failing_resource`", &adaptor_over<testing::failing_resource>);
}

void print_standard() {
#if defined(_LIBCPP_VERSION)
  const std::string library = ", libc++ " + std::to_string(_LIBCPP_VERSION / 10'000);
#else
  const std::string library = ", libstdc++ " + std::to_string(_GLIBCXX_RELEASE);
#endif
  print_pool<false, std::pmr::unsynchronized_pool_resource>("`std::pmr::unsynchronized_pool_resource`" +
                                                            library);
  print_pool<true, std::pmr::synchronized_pool_resource>("`std::pmr::synchronized_pool_resource`" + library);
  print_pool<false, std::pmr::monotonic_buffer_resource>("`std::pmr::monotonic_buffer_resource`" + library);
  print_row<of_the_process>("`std::pmr::new_delete_resource`" + library,
                            [](memory_resource*) { return sharing(std::pmr::new_delete_resource()); });
}

void print_others() {
#ifdef HAVE_BOOST_CONTAINER
  namespace pmr = boost::container::pmr;
  const std::string library = ", Boost " + std::to_string(BOOST_VERSION / 100'000) + "." +
                              std::to_string(BOOST_VERSION / 100 % 1'000);
  const std::string name = "`boost::container::pmr::";
  print_pool<false, boost_pool<pmr::unsynchronized_pool_resource>>(name + "unsynchronized_pool_resource`" +
                                                                   library);
  print_pool<true, boost_pool<pmr::synchronized_pool_resource>>(name + "synchronized_pool_resource`" +
                                                                library);
  print_pool<false, boost_pool<pmr::monotonic_buffer_resource>>(name + "monotonic_buffer_resource`" +
                                                                library);
#endif
  if (!mimalloc::is_there()) return;
  print_row<of_the_process>("a resource over `mi_malloc_aligned`, mimalloc " + mimalloc::version(),
                            [](memory_resource*) -> std::unique_ptr<memory_resource> {
                              return std::make_unique<wrapped<mimalloc, memory_resource>>();
                            });
}

}  // namespace

int main() {
  print_ours();
  print_standard();
  print_others();
  return std::cout.flush() ? 0 : 1;
}
