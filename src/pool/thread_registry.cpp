#include <cistern/detail/base/mutex.hpp>
#include <cistern/detail/pool/thread_registry.hpp>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <functional>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#include <pthread.h>

namespace cistern::detail {

constinit thread_local std::array<cache_reference, thread_table_size> thread_table{};

namespace {

/// All caches of one thread, indexed by pool id: complete, while `thread_table` keeps the last ones used.
/// Memory from malloc, 16 bytes for each pool id up to the highest the thread has met.
struct thread_record {
  cache_reference* entries = nullptr;
  std::uint32_t size = 0;
  bool ending = false;  ///< The caches were given back; no new ones.
};
constinit thread_local thread_record record;

struct pool_entry {
  std::uint64_t serial = 0;            // 0: no pool; guarded by registry::lock
  cache_owner* owner = nullptr;        // guarded by registry::lock
  pool_entry* older = nullptr;         // guarded by registry::lock
  pool_entry* newer = nullptr;         // guarded by registry::lock
  std::atomic<std::uint32_t> pins{0};  // threads that are giving a cache back to `owner`
};

/// Made on first use and never destroyed: pools may die, and threads end, after static destructors.
///
/// Its lock is taken by the birth and death of a pool, the end of a thread, and fork; never while a lock of a
/// pool is held, and user code never runs under it.
class registry {
 public:
  static registry& instance() {
    static registry* const only = new registry;
    return *only;
  }

  pool_ticket enroll(cache_owner& owner);
  void withdraw(pool_ticket ticket) noexcept;
  pool_ticket renew(pool_ticket ticket) noexcept;

  /// The pool, kept alive until `unpin`, or null if it is gone.
  cache_owner* pin(pool_ticket ticket) noexcept;
  void unpin(std::uint32_t id) noexcept;

  /// Has `end_of_thread` called when this thread ends.
  bool watch_this_thread() noexcept { return pthread_setspecific(key_, this) == 0; }

 private:
  registry();
  static void end_of_thread(void*) noexcept;
  static void before_fork() noexcept;
  static void after_fork_in_parent() noexcept;
  static void after_fork_in_child() noexcept;
  static void wait_until_unpinned(pool_entry& entry) noexcept;
  void unlock_pools() noexcept;

  mutex lock_;  // guards all below
  std::deque<pool_entry> entries_;
  std::vector<std::uint32_t> free_ids_;  // a heap, lowest on top
  pool_entry* newest_ = nullptr;
  std::uint64_t next_serial_ = 1;
  pthread_key_t key_{};
};

void check(int error, const char* what) {
  if (error != 0) {
    throw std::system_error(error, std::generic_category(), what);
  }
}

registry::registry() {
  // A key's destructor runs after those of C++ thread_local objects, which may still free into pools.
  check(pthread_key_create(&key_, end_of_thread), "cistern: pthread_key_create");
  check(pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child), "cistern: pthread_atfork");
}

pool_ticket registry::enroll(cache_owner& owner) {
  const std::lock_guard guard(lock_);
  if (free_ids_.empty()) {
    free_ids_.reserve(entries_.size() + 1);  // so that `withdraw` needs no memory
    entries_.emplace_back();
    free_ids_.push_back(static_cast<std::uint32_t>(entries_.size() - 1));
  }
  std::pop_heap(free_ids_.begin(), free_ids_.end(), std::greater<>{});
  const std::uint32_t id = free_ids_.back();
  free_ids_.pop_back();

  pool_entry& entry = entries_[id];
  entry.serial = next_serial_++;
  entry.owner = &owner;
  entry.older = std::exchange(newest_, &entry);
  entry.newer = nullptr;
  if (entry.older != nullptr) {
    entry.older->newer = &entry;
  }
  return {id, entry.serial};
}

void registry::wait_until_unpinned(pool_entry& entry) noexcept {
  // Acquire pairs with the release in `unpin`: what the ending thread did to the pool is seen.
  for (std::uint32_t pins = entry.pins.load(std::memory_order_acquire); pins != 0;
       pins = entry.pins.load(std::memory_order_acquire)) {
    entry.pins.wait(pins, std::memory_order_relaxed);
  }
}

void registry::withdraw(pool_ticket ticket) noexcept {
  pool_entry* entry = nullptr;
  {
    const std::lock_guard guard(lock_);
    entry = &entries_[ticket.id];
    entry->serial = 0;  // from here on nobody pins it
    (entry->newer != nullptr ? entry->newer->older : newest_) = entry->older;
    if (entry->older != nullptr) {
      entry->older->newer = entry->newer;
    }
  }
  wait_until_unpinned(*entry);
  const std::lock_guard guard(lock_);
  entry->owner = nullptr;
  free_ids_.push_back(ticket.id);
  std::push_heap(free_ids_.begin(), free_ids_.end(), std::greater<>{});
}

pool_ticket registry::renew(pool_ticket ticket) noexcept {
  pool_entry* entry = nullptr;
  {
    const std::lock_guard guard(lock_);
    entry = &entries_[ticket.id];
    ticket.serial = entry->serial = next_serial_++;
  }
  wait_until_unpinned(*entry);
  return ticket;
}

cache_owner* registry::pin(pool_ticket ticket) noexcept {
  const std::lock_guard guard(lock_);
  pool_entry& entry = entries_[ticket.id];
  if (entry.serial != ticket.serial) {
    return nullptr;
  }
  entry.pins.fetch_add(1, std::memory_order_relaxed);  // ordered by lock_
  return entry.owner;
}

void registry::unpin(std::uint32_t id) noexcept {
  pool_entry* entry = nullptr;
  {
    const std::lock_guard guard(lock_);
    entry = &entries_[id];
  }
  entry->pins.fetch_sub(1, std::memory_order_release);
  entry->pins.notify_all();  // entries are never destroyed
}

// Giving a cache back may get to a pool that another pool has as its upstream, and destructors of other keys
// may free into pools after this; they work on the depots directly. New caches would set the key again, and
// the system calls its destructor a few times only.
void registry::end_of_thread(void*) noexcept {
  registry& all = instance();
  record.ending = true;
  for (std::uint32_t id = record.size; id-- > 0;) {
    const cache_reference last = std::exchange(record.entries[id], {});
    thread_table_entry(thread_table_offset(id)) = {};
    if (last.cache == nullptr) {
      continue;
    }
    if (cache_owner* owner = all.pin({id, last.serial}); owner != nullptr) {
      owner->retire(*last.cache);
      all.unpin(id);
    }
  }
  std::free(record.entries);
  record.entries = nullptr;
  record.size = 0;
}

// Newest pools first: a pool is younger than its upstream, and whoever allocates takes locks in that order.
void registry::before_fork() noexcept {
  registry& all = instance();
  all.lock_.lock();
  for (pool_entry* entry = all.newest_; entry != nullptr; entry = entry->older) {
    entry->owner->before_fork();
  }
}

void registry::unlock_pools() noexcept {
  for (pool_entry* entry = newest_; entry != nullptr; entry = entry->older) {
    entry->owner->after_fork();
  }
}

void registry::after_fork_in_parent() noexcept {
  registry& all = instance();
  all.unlock_pools();
  all.lock_.unlock();
}

// Threads that held a pin don't exist here. Their caches stay with their pools, untouched, since they may be
// in the middle of anything; `release` gets the memory back.
void registry::after_fork_in_child() noexcept {
  registry& all = instance();
  for (pool_entry& entry : all.entries_) {
    entry.pins.store(0, std::memory_order_relaxed);
  }
  all.unlock_pools();
  all.lock_.unlock();
}

}  // namespace

pool_ticket enroll(cache_owner& owner) {
  return registry::instance().enroll(owner);
}
void withdraw(pool_ticket ticket) noexcept {
  registry::instance().withdraw(ticket);
}
pool_ticket renew(pool_ticket ticket) noexcept {
  return registry::instance().renew(ticket);
}

bool thread_is_ending() noexcept {
  return record.ending;
}

thread_cache* find_cache(pool_ticket ticket) noexcept {
  if (ticket.id >= record.size || record.entries[ticket.id].serial != ticket.serial) {
    return nullptr;
  }
  const cache_reference found = record.entries[ticket.id];
  thread_table_entry(thread_table_offset(ticket.id)) = found;
  return found.cache;
}

bool remember_cache(pool_ticket ticket, thread_cache& cache) noexcept {
  if (ticket.id >= record.size) {
    const std::uint32_t size = std::max(2 * record.size, ticket.id + 8);
    void* grown = std::realloc(record.entries, size * sizeof(cache_reference));
    if (grown == nullptr) {
      return false;
    }
    record.entries = static_cast<cache_reference*>(grown);
    std::fill(record.entries + record.size, record.entries + size, cache_reference{});
    record.size = size;
  }
  if (!registry::instance().watch_this_thread()) {
    return false;
  }
  record.entries[ticket.id] = {ticket.serial, &cache};
  thread_table_entry(thread_table_offset(ticket.id)) = record.entries[ticket.id];
  return true;
}

}  // namespace cistern::detail
