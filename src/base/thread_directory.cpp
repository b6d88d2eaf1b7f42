#include <cistern/detail/base/fork_guard.hpp>
#include <cistern/detail/base/mutex.hpp>
#include <cistern/detail/base/thread_directory.hpp>
#include <cistern/detail/base/tsan.hpp>

#include <algorithm>
#include <atomic>
#include <climits>
#include <cstdlib>
#include <ctime>
#include <system_error>
#include <utility>

#include "directory_tables.hpp"
#include "split_mix.hpp"
#include <pthread.h>
#include <sched.h>

namespace cistern::detail {
namespace {

// Never written: the thread that finds its word pointing here has no record of its own.
constinit thread_record no_caches_yet{};
constinit thread_record no_caches_any_more{.state = thread_record::phase::ended};

// ThreadSanitizer takes its own state of a thread away in the last round: nothing that it watches, or is told
// of, may run then.
std::uint32_t last_round() noexcept {
  return PTHREAD_DESTRUCTOR_ITERATIONS - (program_has_tsan() ? 1 : 0);
}

/// Where the serial numbers of a copy of the library begin. Another copy, or the next one at the same
/// address, begins far away: a thread never takes a pool of one for a pool of the other.
std::uint64_t first_serial(const void* copy) noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  std::uint64_t z = reinterpret_cast<std::uintptr_t>(copy);
  for (const auto part : {now.tv_sec, now.tv_nsec}) {
    z = split_mixed((z + static_cast<std::uint64_t>(part)) * split_mix_step);
  }
  return z;
}

}  // namespace

/// One in each copy of the library, there from before the first constructor, and never destroyed: pools may
/// die, and threads end, after static destructors.
///
/// Its lock is taken by the birth and death of a pool, the first cache and the end of a thread, and fork;
/// never while a lock of a pool is held, and no pool is called under it.
// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor): final, and never deleted through a base
class thread_directory final : private fork_participant {
 public:
  /// `of_this_thread`: the calling thread's `this_thread_record` of the copy that this directory is in.
  constexpr explicit thread_directory(thread_record*& (*of_this_thread)() noexcept) noexcept
      : word_(of_this_thread) {}

  [[nodiscard]] thread_record*& word() const noexcept { return word_(); }

  [[nodiscard]] cache_ticket enroll(cache_owner& owner);
  void withdraw(cache_ticket& ticket) noexcept;
  void renew(cache_ticket& ticket) noexcept;
  /// This thread's record, made if need be; or null.
  [[nodiscard]] thread_record* record() noexcept;

  /// The directory's copy of the library is unloaded while the process goes on.
  void unload() noexcept;

 private:
  void start();
  static void end_of_thread(void* value) noexcept;
  /// Has the system call `end_of_thread` for this thread. False where it can't, or not any more.
  [[nodiscard]] bool watch(thread_record* record) const noexcept {
    const std::uint64_t key = key_plus_one_.load(std::memory_order_relaxed);
    return key != 0 && ::pthread_setspecific(static_cast<pthread_key_t>(key - 1), record) == 0;
  }
  void give_back_caches(thread_record& record) noexcept;
  /// The pool, kept alive until `unpin`; or null if it is gone.
  [[nodiscard]] pool_entry* pin(std::uint32_t id, std::uint64_t serial) noexcept;
  static void unpin(pool_entry& entry) noexcept;
  static void wait_until_unpinned(pool_entry& entry) noexcept;
  [[nodiscard]] std::uint64_t next_serial() noexcept CISTERN_REQUIRES(lock_);
  bool each_lock(lock_visitor& visit) noexcept override { return visit(lock_); }
  void forget_other_threads() noexcept override;

  thread_record*& (*const word_)() noexcept;
  std::atomic<bool> started_{false};
  std::atomic<std::uint64_t> key_plus_one_{0};    ///< 0: there is none yet, or none any more.
  std::atomic<std::uint32_t> ending_threads_{0};  ///< Inside of `end_of_thread`.
  mutex lock_;
  pool_entries entries_ CISTERN_GUARDED_BY(lock_);
  free_ids free_ids_ CISTERN_GUARDED_BY(lock_);
  thread_records records_ CISTERN_GUARDED_BY(lock_);
  std::uint64_t last_serial_ CISTERN_GUARDED_BY(lock_) = 0;
};

constinit thread_local thread_record* this_thread_record = &no_caches_yet;

namespace {

thread_record*& this_copys_word() noexcept {
  return this_thread_record;
}

constinit thread_directory here{this_copys_word};

// ---- loading and unloading ----
//
// A module's destructors run when it is unloaded, but also when the process exits, and then other threads may
// still be at work. At exit, what was registered with atexit has run before any of them.

constinit std::atomic<bool> may_be_unloading{false};
constinit bool unloading = false;

void note_exit() noexcept {
  may_be_unloading.store(false, std::memory_order_relaxed);
}
[[gnu::constructor(101)]] void note_load() noexcept {
  may_be_unloading.store(std::atexit(note_exit) == 0, std::memory_order_relaxed);
}

// The first destructor of the module to run, and (by its priority) the last.
[[gnu::destructor]] void begin_unload() noexcept {
  unloading = may_be_unloading.load(std::memory_order_relaxed);
}
[[gnu::destructor(101)]] void end_unload() noexcept {
  if (unloading) {
    here.unload();
  }
}

}  // namespace

// May be run by several threads at once. No lock, since a fork could leave it locked in the child.
void thread_directory::start() {
  if (started_.load(std::memory_order_acquire)) {
    return;
  }
  hold_at_fork(*this);
  pthread_key_t key{};
  if (const int error = ::pthread_key_create(&key, end_of_thread); error != 0) {
    throw std::system_error(error, std::generic_category(), "cistern: pthread_key_create");
  }
  std::uint64_t none = 0;
  if (!key_plus_one_.compare_exchange_strong(none, std::uint64_t{key} + 1, std::memory_order_relaxed)) {
    ::pthread_key_delete(key);
  }
  started_.store(true, std::memory_order_release);
}

// ---- pools ----

std::uint64_t thread_directory::next_serial() noexcept {
  if (last_serial_ == 0) {
    last_serial_ = first_serial(this);
  }
  last_serial_ += last_serial_ == UINT64_MAX ? 2 : 1;
  return last_serial_;
}

cache_ticket thread_directory::enroll(cache_owner& owner) {
  start();
  const scoped_lock guard(lock_);
  if (free_ids_.empty()) {
    if (!free_ids_.reserve(std::size_t{entries_.size()} + 1) || !entries_.grow()) {
      throw std::bad_alloc();
    }
    free_ids_.put(entries_.size() - 1);
  }
  const std::uint32_t id = free_ids_.take();
  pool_entry& entry = entries_[id];
  entry.serial = next_serial();
  entry.owner = &owner;
  cache_ticket ticket;
  ticket.become(id, entry.serial);
  ticket.directory_ = this;
  return ticket;
}

void thread_directory::wait_until_unpinned(pool_entry& entry) noexcept {
  std::atomic<std::uint32_t>& pins = entry.pins;
  // Acquire pairs with the release in `unpin`: what the ending thread did to the pool is seen.
  for (std::uint32_t seen = pins.load(std::memory_order_acquire); seen != 0;
       seen = pins.load(std::memory_order_acquire)) {
    pins.wait(seen, std::memory_order_relaxed);
  }
}

void thread_directory::withdraw(cache_ticket& ticket) noexcept {
  pool_entry* entry = nullptr;
  {
    const scoped_lock guard(lock_);
    entry = &entries_[ticket.id_];
    entry->serial = 0;  // from here on nobody pins it
  }
  wait_until_unpinned(*entry);
  const scoped_lock guard(lock_);
  entry->owner = nullptr;
  free_ids_.put(ticket.id_);
}

void thread_directory::renew(cache_ticket& ticket) noexcept {
  pool_entry* entry = nullptr;
  {
    const scoped_lock guard(lock_);
    entry = &entries_[ticket.id_];
    entry->serial = next_serial();
    ticket.become(ticket.id_, entry->serial);
  }
  wait_until_unpinned(*entry);
}

pool_entry* thread_directory::pin(std::uint32_t id, std::uint64_t serial) noexcept {
  const scoped_lock guard(lock_);
  pool_entry& entry = entries_[id];
  if (entry.serial != serial) {
    return nullptr;
  }
  entry.pins.fetch_add(1, std::memory_order_relaxed);  // ordered by lock_
  return &entry;
}

void thread_directory::unpin(pool_entry& entry) noexcept {
  entry.pins.fetch_sub(1, std::memory_order_release);
  entry.pins.notify_all();  // entries never move
}

// ---- threads ----

// The C library may allocate when it is told of a key: who stands under malloc mustn't be asked for a cache
// then.
thread_record* thread_directory::record() noexcept {
  thread_record*& mine = word();
  if (mine->state != thread_record::phase::fresh) {
    return mine->state == thread_record::phase::working ? mine : nullptr;
  }
  mine = &no_caches_any_more;
  thread_record* made = nullptr;
  {
    const scoped_lock guard(lock_);
    made = records_.take();
  }
  if (made != nullptr && !watch(made)) {
    const scoped_lock guard(lock_);
    records_.put_back(*std::exchange(made, nullptr));
  }
  mine = made != nullptr ? made : &no_caches_yet;
  return made;
}

// Destructors of other keys, which run in no order that can be relied on, and those of thread_local objects,
// which run before, give things back to pools as well. So the caches go as late as the system allows: what is
// given back in between finds them, and no lock is taken for it.
void thread_directory::end_of_thread(void* value) noexcept {
  here.ending_threads_.fetch_add(1, std::memory_order_relaxed);
  auto& record = *static_cast<thread_record*>(value);
  if (++record.rounds >= last_round() || !here.watch(&record)) {
    here.give_back_caches(record);
  }
  // Release pairs with the acquire in `unload`: nothing of this may come after that.
  here.ending_threads_.fetch_sub(1, std::memory_order_release);
}

// What a pool gives on to an upstream that is a pool as well goes there without a cache, as does all that
// comes later: the system would tell of this thread's end no more.
void thread_directory::give_back_caches(thread_record& record) noexcept {
  record.state = thread_record::phase::ended;
  word() = &no_caches_any_more;
  for (std::uint32_t id = record.size; id-- > 0;) {
    const cache_reference last = record.all[id];
    if (last.cache == nullptr) {
      continue;
    }
    if (pool_entry* const entry = pin(id, last.serial); entry != nullptr) {
      entry->owner->retire(last.cache);
      unpin(*entry);
    }
  }
  const scoped_lock guard(lock_);
  records_.put_back(record);
}

// Their pins and records are nobody's any more. Their caches are for their pools to deal with.
void thread_directory::forget_other_threads() noexcept CISTERN_NO_THREAD_SAFETY_ANALYSIS {
  for (std::uint32_t id = 0; id < entries_.size(); ++id) {
    entries_[id].pins.store(0, std::memory_order_relaxed);
  }
  ending_threads_.store(0, std::memory_order_relaxed);
  records_.put_back_all_but(word());
}

// ---- the end ----

// Without the key the system calls nobody here when a thread ends. A thread that ends right now may have read
// the key's destructor already: those inside are waited for. Nothing can be done for one that is between that
// reading and the counter's first instruction, or between the counter's last and the return.
//
// A few pages stay behind. A module that was there from the start runs its destructors at the end of the
// process only, but can't tell: what it registered with atexit comes after them. Then others may still free
// what they have.
void thread_directory::unload() noexcept {
  if (!started_.load(std::memory_order_acquire)) {
    return;
  }
  ::pthread_key_delete(static_cast<pthread_key_t>(key_plus_one_.exchange(0, std::memory_order_relaxed) - 1));
  while (ending_threads_.load(std::memory_order_acquire) != 0) {
    ::sched_yield();
  }
}

// ---- from outside ----

cache_ticket enroll(cache_owner& owner) {
  return here.enroll(owner);
}

void cache_ticket::withdraw() noexcept {
  directory_->withdraw(*this);
}
void cache_ticket::renew() noexcept {
  directory_->renew(*this);
}

void* cache_ticket::find() const noexcept {
  thread_record& record = *directory_->word();
  if (id_ >= record.size || record.all[id_].serial != serial_) {
    return nullptr;
  }
  record.table[id_ % thread_record::table_size] = record.all[id_];
  return record.all[id_].cache;
}

bool cache_ticket::thread_takes_caches() const noexcept {
  return directory_->word()->state != thread_record::phase::ended;
}

bool cache_ticket::remember(void* cache) const noexcept {
  thread_record* const record = directory_->record();
  if (record == nullptr) {
    return false;
  }
  if (id_ >= record->size) {
    const std::size_t size = page_array<cache_reference>::capacity(std::max(2 * record->size, id_ + 1));
    cache_reference* const grown = page_array<cache_reference>::make(size);
    if (grown == nullptr) {
      return false;
    }
    std::copy_n(record->all, record->size, grown);
    cache_reference* const old = std::exchange(record->all, grown);
    const std::uint32_t old_size = std::exchange(record->size, static_cast<std::uint32_t>(size));
    if (old != record->table.data()) {
      page_array<cache_reference>::free(old, old_size);
    }
  }
  record->all[id_] = {serial_, cache};
  record->table[id_ % thread_record::table_size] = record->all[id_];
  return true;
}

}  // namespace cistern::detail
