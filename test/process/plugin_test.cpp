// Several copies of the library in one process: plug-ins that bring their own come, work on threads of their
// host, and go. HOST_HAS_CISTERN: the host has a copy as well.
#include "plugin.hpp"

#include <cstddef>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "../support/death.hpp"
#include "../support/threads.hpp"
#include "../support/worker.hpp"
#include <dlfcn.h>
#include <unistd.h>
#if HOST_HAS_CISTERN
#include <cistern/process_pool.hpp>
#include <cistern/testing/checking_resource.hpp>

#include "../support/pool_accounts.hpp"
#endif

using cistern::test_support::run_thread;
using cistern::test_support::worker;

namespace {

namespace fs = std::filesystem;

/// A loaded module, under a file name of its own, so that the loader takes it for another one.
class plugin {
 public:
  explicit plugin(fs::path file) : file_(std::move(file)) {
    fs::copy_file(PLUGIN, file_, fs::copy_options::overwrite_existing);
    handle_ = ::dlopen(file_.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ == nullptr) {
      throw std::runtime_error(::dlerror());
    }
  }
  ~plugin() {
    unload();
    fs::remove(file_);
  }
  plugin(const plugin&) = delete;
  plugin& operator=(const plugin&) = delete;

  void unload() {
    if (handle_ != nullptr) {
      ::dlclose(handle_);
      handle_ = nullptr;
    }
  }
  [[nodiscard]] bool is_loaded() const {
    void* const again = ::dlopen(file_.c_str(), RTLD_NOW | RTLD_NOLOAD);
    if (again != nullptr) {
      ::dlclose(again);
    }
    return again != nullptr;
  }
  template <class Function>
  [[nodiscard]] Function* find(Function* /*declared*/, const char* name) const {
    return reinterpret_cast<Function*>(::dlsym(handle_, name));
  }

 private:
  fs::path file_;
  void* handle_ = nullptr;
};

// The last one first: glibc takes static thread-local storage back only of what was loaded last.
void unload(std::vector<std::unique_ptr<plugin>>& all) {
  while (!all.empty()) {
    all.pop_back();
  }
}

// The declared function gives the type, its name the symbol.
#define CALL(module, function) (module).find(static_cast<decltype(&(function))>(nullptr), #function)

class scratch_folder {
 public:
  scratch_folder() : path_(fs::temp_directory_path() / ("cistern_plugins_" + std::to_string(::getpid()))) {
    fs::create_directory(path_);
  }
  ~scratch_folder() { fs::remove_all(path_); }
  scratch_folder(const scratch_folder&) = delete;
  scratch_folder& operator=(const scratch_folder&) = delete;
  [[nodiscard]] fs::path file(std::size_t number) const {
    return path_ / ("p" + std::to_string(number) + ".so");
  }

 private:
  fs::path path_;
};

}  // namespace

#if !HOST_HAS_CISTERN
// Must come first: later there is a pool.
BOOST_AUTO_TEST_CASE(a_pooled_object_that_no_copy_can_have_made_is_refused) {
  const scratch_folder folder;
  const plugin deleter(folder.file(0));
  char none[128] = "";
  BOOST_TEST(cistern::test_support::dies_saying("no pool yet", [&] {
    CALL(deleter, plugin_delete_order)(none);
  }));
}
#endif

// More often than a process has thread-specific keys (1024), or room for static thread-local storage, or than
// a thread that stays may remember.
BOOST_AUTO_TEST_CASE(a_thousand_plugins_come_and_go_while_threads_of_the_host_stay) {
  const scratch_folder folder;
  worker stays;
  for (std::size_t i = 0; i < 1'100; ++i) {
    plugin one(folder.file(i));
    CALL(one, plugin_start)();
    stays.run([&] { CALL(one, plugin_work)(); });
    worker ends_later;
    ends_later.run([&] { CALL(one, plugin_work)(); });
    run_thread([&] { CALL(one, plugin_work)(); });
    CALL(one, plugin_stop)();
    one.unload();
    BOOST_REQUIRE(!one.is_loaded());
  }  // here a thread ends that has used what is gone
}

BOOST_AUTO_TEST_CASE(sixty_plugins_at_once) {
  const scratch_folder folder;
  std::vector<std::unique_ptr<plugin>> all;
  for (std::size_t i = 0; i < 60; ++i) {
    all.push_back(std::make_unique<plugin>(folder.file(i)));
  }
  run_thread([&] {
    for (const auto& one : all) {
      CALL(*one, plugin_start)();
      CALL(*one, plugin_work)();
    }
  });
  for (const auto& one : all) {
    CALL(*one, plugin_stop)();
  }
  unload(all);
}

BOOST_AUTO_TEST_CASE(a_pooled_object_of_one_copy_is_deleted_by_another) {
  const scratch_folder folder;
  plugin maker(folder.file(0));
  plugin deleter(folder.file(1));
  const auto make = CALL(maker, plugin_make_order);
  const auto destroy = CALL(deleter, plugin_delete_order);
  for (int i = 0; i < 200; ++i) {
    destroy(make());
  }
  std::vector<void*> orders;
  run_thread([&] {
    for (int i = 0; i < 200; ++i) {
      orders.push_back(make());
    }
  });
  for (void* one : orders) {
    destroy(one);
  }
  BOOST_TEST(CALL(maker, plugin_process_pool)() == CALL(deleter, plugin_process_pool)());
}

// Two that look for the process's pool at once find the same.
BOOST_AUTO_TEST_CASE(copies_that_start_at_once_have_one_pool) {
  const scratch_folder folder;
  std::vector<std::unique_ptr<plugin>> all;
  for (std::size_t i = 0; i < 8; ++i) {
    all.push_back(std::make_unique<plugin>(folder.file(i)));
  }
  std::vector<cistern::synchronized_pool_resource*> pools(all.size());
  cistern::test_support::run_threads(all.size(),
                                     [&](std::size_t i) { pools[i] = CALL(*all[i], plugin_process_pool)(); });
  for (const auto* pool : pools) {
    BOOST_TEST(pool == pools[0]);
  }
  unload(all);
}

// At most one of them has the pool and stays; objects live on when their maker is gone.
BOOST_AUTO_TEST_CASE(copies_that_use_the_pool_of_another_can_be_unloaded) {
  const scratch_folder folder;
  plugin first(folder.file(0));
  (void)CALL(first, plugin_process_pool)();
  worker stays;
  std::vector<void*> orders;
  for (std::size_t i = 1; i < 50; ++i) {
    plugin one(folder.file(i));
    stays.run([&] { orders.push_back(CALL(one, plugin_make_order)()); });
    one.unload();
    BOOST_TEST(!one.is_loaded());
  }
  const auto destroy = CALL(first, plugin_delete_order);
  for (void* one : orders) {
    destroy(one);
  }
}

#if HOST_HAS_CISTERN
// The plug-in's code finds no cache of this pool in its own storage, so it asks ours.
BOOST_AUTO_TEST_CASE(a_plugin_works_on_a_pool_of_its_host) {
  const scratch_folder folder;
  cistern::testing::checking_resource upstream;
  cistern::synchronized_pool_resource pool(&upstream);
  auto stays = std::make_unique<worker>();
  for (std::size_t i = 0; i < 20; ++i) {
    plugin one(folder.file(i));
    CALL(one, plugin_start)();
    for (int round = 0; round < 3; ++round) {
      stays->run([&] {
        CALL(one, plugin_work)();
        CALL(one, plugin_work_on)(&pool);
        pool.deallocate(pool.allocate(100), 100);
      });
      run_thread([&] { CALL(one, plugin_work_on)(&pool); });
    }
    CALL(one, plugin_stop)();
  }
  run_thread([&] { pool.deallocate(pool.allocate(100), 100); });
  stays.reset();
  pool.trim();
  pool.check_invariants();
  BOOST_TEST(cistern::test_support::accounts_fault(pool, upstream) == "");
  BOOST_TEST(upstream.outstanding_bytes() == 0U);  // each thread had one cache here, and gave it back
}

// The program is always the first copy, so no plug-in is kept.
BOOST_AUTO_TEST_CASE(the_hosts_copy_has_the_process_pool) {
  const scratch_folder folder;
  plugin one(folder.file(0));
  void* const made = CALL(one, plugin_make_order)();
  BOOST_TEST(CALL(one, plugin_process_pool)() == cistern::process_pool());
  CALL(one, plugin_delete_order)(made);
  one.unload();
  BOOST_TEST(!one.is_loaded());
}
#endif
