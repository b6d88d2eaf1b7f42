#include <cistern/detail/per_thread_core.hpp>

#include <algorithm>
#include <ctime>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "object_pool_common.hpp"
#include "per_thread_registry.hpp"

namespace cistern::detail {

// Unlocks, and destroys the core if nobody is left to use it.
class per_thread_core::section {
 public:
  explicit section(per_thread_core& core) noexcept : core_(core), lock_(core.mutex_) {}
  section(const section&) = delete;
  section& operator=(const section&) = delete;
  ~section() {
    const bool last = core_.orphaned_ && core_.total_ == 0;
    lock_.unlock();
    if (last) {
      core_.destroy_self();
    }
  }
  [[nodiscard]] std::unique_lock<std::mutex>& lock() noexcept { return lock_; }

 private:
  per_thread_core& core_;
  std::unique_lock<std::mutex> lock_;
};

namespace {

constexpr std::uint32_t batch = object_cache::most_slots / 2;
// How often an idle pool wants to be trimmed if no `idle_timeout` says otherwise.
constexpr duration trim_period = std::chrono::minutes{1};

const object_pool_options& validated_for_per_thread(const object_pool_options& options) {
  object_pool_options unbounded = options;
  unbounded.max_size = npos;  // it means nothing here, so it bounds nothing
  (void)validated(unbounded);
  const auto reject = [](const char* field) {
    throw std::invalid_argument(std::string("object_pool_options: ") + field +
                                " has no meaning for per_thread pools");
  };
  if (options.order == reuse_order::fifo) {
    reject("order (fifo)");
  }
  if (options.min_idle != 0) {
    reject("min_idle");
  }
  if (options.max_lifetime != off) {
    reject("max_lifetime");
  }
  if (options.validate_after != duration::zero()) {
    reject("validate_after");
  }
  return options;
}

}  // namespace

per_thread_core::per_thread_core(const object_pool_options& options, std::pmr::memory_resource* resource,
                                 slot_table::slot_type type, pool_clock clock)
    : options_(validated_for_per_thread(options)),
      resource_(resource),
      clock_(clock),
      asymmetric_(asymmetric_fences()),
      time_mask_(clock == &std::chrono::steady_clock::now ? 15 : 0),
      cache_limit_(
          static_cast<std::uint32_t>(std::min<std::size_t>(options.max_idle, object_cache::most_slots))),
      slots_(resource, type) {
  const pool_identity identity = register_pool(*this);
  number_ = identity.number;
  serial_ = identity.serial;
}

per_thread_core::~per_thread_core() {
  while (object_cache* const cache = std::exchange(caches_, caches_ != nullptr ? caches_->next : nullptr)) {
    std::pmr::polymorphic_allocator<>(resource_).delete_object(cache);
  }
}

duration::rep per_thread_core::read_time() const noexcept {
  return std::max<duration::rep>(coarse_time(clock_).time_since_epoch().count(), 1);
}

// ---- caches ----

// This thread's cache, made if necessary; null if that fails.
object_cache* per_thread_core::attach_cache() noexcept {
  if (object_cache* const cache = find_cache()) {
    return cache;
  }
  if (closed_) {
    return nullptr;
  }
  object_cache* cache = free_caches_;
  try {
    if (cache == nullptr) {
      cache = std::pmr::polymorphic_allocator<>(resource_).new_object<object_cache>();
      cache->next = std::exchange(caches_, cache);
    } else {
      free_caches_ = cache->next_free;
    }
  } catch (...) {
    return nullptr;
  }
  if (!remember_cache({number_, serial_}, cache)) {
    cache->next_free = std::exchange(free_caches_, cache);
    return nullptr;
  }
  return cache;
}

void per_thread_core::retire(object_cache& cache) noexcept {
  const section in(*this);
  // The owner itself, under the mutex: nobody else is at the list.
  while (pool_slot* const slot = cache.pop()) {
    push_depot(*slot);
  }
  if (!closed_) {
    cache.next_free = std::exchange(free_caches_, &cache);
  }
}

void per_thread_core::push_depot(pool_slot& slot) noexcept {
  slot.link = std::exchange(depot_, &slot);
  ++depot_count_;
}

pool_slot* per_thread_core::pop_depot() noexcept {
  if (depot_ == nullptr) {
    return nullptr;
  }
  --depot_count_;
  return std::exchange(depot_, depot_->link);
}

void per_thread_core::fill_from_depot(object_cache& cache) noexcept {
  const std::uint32_t wanted = std::min(batch, cache_limit_);
  while (depot_ != nullptr && cache.count() < wanted) {
    cache.push(*pop_depot());
  }
}

// Moves half of what another thread keeps to the depot, and takes one of it.
pool_slot* per_thread_core::steal() noexcept {
  object_cache* const mine = find_cache();
  for (object_cache* victim = caches_; victim != nullptr; victim = victim->next) {
    if (victim == mine || victim->count() == 0 || !victim->try_claim(asymmetric_)) {
      continue;
    }
    for (std::uint32_t wanted = (victim->count() + 1) / 2; wanted > 0; --wanted) {
      push_depot(*victim->pop());
    }
    victim->unclaim();
    if (pool_slot* const slot = pop_depot()) {
      return slot;
    }
  }
  return nullptr;
}

// Takes the objects out of every cache and keeps their owners out until `unclaim_everything`.
pool_slot* per_thread_core::claim_everything() noexcept {
  for (object_cache* cache = caches_; cache != nullptr; cache = cache->next) {
    cache->claim(asymmetric_);
    while (pool_slot* const slot = cache->pop()) {
      push_depot(*slot);
    }
  }
  depot_count_ = 0;
  return std::exchange(depot_, nullptr);
}

void per_thread_core::unclaim_everything() noexcept {
  for (object_cache* cache = caches_; cache != nullptr; cache = cache->next) {
    cache->unclaim();
  }
}

std::size_t per_thread_core::count_idle() const noexcept {
  std::size_t count = depot_count_;
  for (const object_cache* cache = caches_; cache != nullptr; cache = cache->next) {
    count += cache->count();
  }
  return count;
}

// Moves the older half of a full cache to the depot, so that the next objects find room again.
void per_thread_core::make_room(object_cache& cache) noexcept {
  if (cache.count() < cache_limit_) {
    return;
  }
  pool_slot* young = nullptr;
  for (std::uint32_t keep = cache_limit_ / 2; keep > 0; --keep) {
    pool_slot* const slot = cache.pop();
    slot->link = std::exchange(young, slot);
  }
  while (pool_slot* const old = cache.pop()) {
    push_depot(*old);
  }
  while (young != nullptr) {
    cache.push(*std::exchange(young, young->link));
  }
}

// ---- taking and giving back ----

pool_slot* per_thread_core::take_elsewhere() {
  const section in(*this);
  if (closed_) {
    throw pool_error(pool_errc::closed, "object_pool: the pool is closed");
  }
  object_cache* const cache = attach_cache();
  pool_slot* slot = cache != nullptr ? cache->pop() : nullptr;
  if (slot == nullptr) {
    slot = pop_depot();
  }
  if (slot == nullptr) {
    slot = steal();
  }
  if (slot != nullptr) {
    if (cache != nullptr) {
      fill_from_depot(*cache);
    }
    return slot;
  }
  ++total_;
  ++creating_;
  return nullptr;
}

void per_thread_core::put_back(pool_slot& slot) noexcept {
  destroy_reason reason{};
  {
    const section in(*this);
    slot.acquired_at.store(-epoch_.load(std::memory_order_relaxed), std::memory_order_relaxed);
    const bool stale = slot.generation != generation_.load(std::memory_order_relaxed);
    if (!closed_ && !stale && count_idle() < options_.max_idle) {
      if (object_cache* const cache = attach_cache(); cache != nullptr) {
        make_room(*cache);
        if (cache->count() < cache_limit_) {
          cache->push(slot);
          return;
        }
      }
      push_depot(slot);
      return;
    }
    reason = closed_ ? destroy_reason::closed : stale ? destroy_reason::invalidated : destroy_reason::surplus;
  }
  dispose(slot, reason);
}

void per_thread_core::dispose(pool_slot& slot, destroy_reason reason) noexcept {
  destroy_object(slot);
  vacate(slot, reason);
}

void per_thread_core::vacate(pool_slot& slot, destroy_reason reason) noexcept {
  const section in(*this);
  ++destroyed_[static_cast<std::size_t>(reason)];
  release_slot(slot);
  --total_;
  if (total_ == 0) {
    drained_.notify_all();
  }
}

void per_thread_core::dispose_all(pool_slot* first) noexcept {
  while (first != nullptr) {
    pool_slot& slot = *std::exchange(first, first->link);
    dispose(slot, slot.reason);
  }
}

// ---- slots and creation ----

pool_slot& per_thread_core::take_vacant() {
  if (vacant_ == nullptr && slots_used_ == slots_.slots()) {
    slots_.add_block();
  }
  pool_slot* slot = vacant_;
  if (slot != nullptr) {
    vacant_ = slot->link;
  } else {
    slot = &slots_[++slots_used_];
  }
  slot->home = this;
  slot->generation = generation_.load(std::memory_order_relaxed);
  slot->retained_bytes = 0;
  return *slot;
}

void per_thread_core::release_slot(pool_slot& slot) noexcept {
  retired_uses_ += slot.uses.load(std::memory_order_relaxed);
  slot.uses.store(0, std::memory_order_relaxed);
  slot.acquired_at.store(not_leased, std::memory_order_relaxed);
  slot.link = std::exchange(vacant_, &slot);
}

pool_slot& per_thread_core::create_granted() {
  pool_slot* slot = nullptr;
  try {
    {
      const section in(*this);
      slot = &take_vacant();
    }
    construct_object(*slot);
  } catch (...) {
    {
      const section in(*this);
      --creating_;
      --total_;
      if (slot != nullptr) {
        ++factory_failures_;
        release_slot(*slot);
      }
    }
    if (slot == nullptr) {
      throw;  // no memory for the slot
    }
    throw_factory_failed(std::current_exception());
  }
  const section in(*this);
  --creating_;
  ++created_;
  slot->created_at = now();
  return *slot;
}

pool_slot* per_thread_core::reserve_for_adoption() {
  const section in(*this);
  if (closed_ || count_idle() >= options_.max_idle) {
    return nullptr;
  }
  pool_slot& slot = take_vacant();
  ++total_;
  ++creating_;
  return &slot;
}

void per_thread_core::cancel_adoption(pool_slot& slot) noexcept {
  const section in(*this);
  --total_;
  --creating_;
  release_slot(slot);
}

void per_thread_core::finish_adoption(pool_slot& slot) noexcept {
  {
    const section in(*this);
    --creating_;
    ++adopted_;
    slot.created_at = now();
  }
  put_back(slot);
}

// ---- the whole pool ----

pool_slot* per_thread_core::take_all_idle() noexcept {
  const section in(*this);
  pool_slot* const all = claim_everything();
  if (!closed_) {
    unclaim_everything();
  }
  return all;
}

void per_thread_core::warm(std::size_t idle_objects) {
  for (;;) {
    {
      const section in(*this);
      const std::size_t have = count_idle() + creating_;
      if (closed_ || have >= idle_objects || have >= options_.max_idle) {
        return;
      }
      ++total_;
      ++creating_;
    }
    put_back(create_granted());
  }
}

void per_thread_core::invalidate_all() noexcept {
  pool_slot* gone = nullptr;
  {
    const section in(*this);
    // Before the claims: an owner that comes after its cache was claimed sees it.
    generation_.fetch_add(1, std::memory_order_relaxed);
    gone = claim_everything();
    if (!closed_) {
      unclaim_everything();
    }
  }
  for (pool_slot* slot = gone; slot != nullptr; slot = slot->link) {
    slot->reason = destroy_reason::invalidated;
  }
  dispose_all(gone);
}

std::size_t per_thread_core::trim() noexcept {
  pool_slot* gone = nullptr;
  std::size_t count = 0;
  {
    const section in(*this);
    if (closed_) {
      return 0;
    }
    const duration::rep epoch = epoch_.fetch_add(1, std::memory_order_relaxed) + 1;
    const auto faded = [&](pool_slot& slot) {
      const bool gone_now = epoch + slot.acquired_at.load(std::memory_order_relaxed) >= 2;
      if (gone_now) {
        slot.reason = destroy_reason::idle;
        slot.link = std::exchange(gone, &slot);
        ++count;
      }
      return gone_now;
    };
    pool_slot* depot = std::exchange(depot_, nullptr);
    depot_count_ = 0;
    while (depot != nullptr) {
      pool_slot& slot = *std::exchange(depot, depot->link);
      if (!faded(slot)) {
        push_depot(slot);
      }
    }
    for (object_cache* cache = caches_; cache != nullptr; cache = cache->next) {
      if (cache->count() == 0) {
        continue;  // what it gets from now on is fresh
      }
      cache->claim(asymmetric_);
      pool_slot* kept = nullptr;
      while (pool_slot* const slot = cache->pop()) {
        if (!faded(*slot)) {
          slot->link = std::exchange(kept, slot);
        }
      }
      while (kept != nullptr) {
        cache->push(*std::exchange(kept, kept->link));
      }
      cache->unclaim();
    }
  }
  dispose_all(gone);
  return count;
}

time_point per_thread_core::maintain(time_point time) noexcept {
  trim();
  const section in(*this);
  const duration period = options_.idle_timeout != off ? options_.idle_timeout / 2 : trim_period;
  return count_idle() > 0 ? later(time, period) : time_point::max();
}

void per_thread_core::close() noexcept {
  pool_slot* gone = nullptr;
  {
    const section in(*this);
    closed_ = true;
    gone = claim_everything();  // for good: from now on every thread takes the slow path, and finds it closed
  }
  for (pool_slot* slot = gone; slot != nullptr; slot = slot->link) {
    slot->reason = destroy_reason::closed;
  }
  dispose_all(gone);
}

drain_report per_thread_core::drain(time_point deadline) {
  close();
  section in(*this);
  while (total_ > 0) {
    const time_point current = now();
    if (current >= deadline) {
      break;
    }
    if (deadline == time_point::max()) {
      drained_.wait(in.lock());
    } else {
      drained_.wait_until(in.lock(), later(std::chrono::steady_clock::now(), deadline - current));
    }
  }
  return {holders()};
}

void per_thread_core::orphan() noexcept {
  unregister_pool({number_, serial_});
  close();
  const section in(*this);
  orphaned_ = true;
}

// ---- reports ----

std::vector<outstanding_lease> per_thread_core::holders() const {
  return collect_holders(slots_, slots_used_, now(), npos);
}

object_pool_statistics per_thread_core::statistics() {
  const section in(*this);
  object_pool_statistics s;
  s.total = total_;
  s.idle = count_idle();
  s.creating = creating_;
  s.in_use = total_ - std::min(total_, s.idle + creating_);
  s.max = npos;
  s.acquired = retired_uses_;
  std::uint64_t leased = 0;
  for (std::uint32_t index = 1; index <= slots_used_; ++index) {
    const pool_slot& slot = slots_[index];
    s.acquired += slot.uses.load(std::memory_order_relaxed);
    leased += slot.leased() ? 1 : 0;
  }
  for (const pool_slot* slot = depot_; slot != nullptr; slot = slot->link) {
    s.retained_bytes += slot->retained_bytes;
  }
  s.created = created_;
  s.adopted = adopted_;
  s.factory_failures = factory_failures_;
  s.destroyed = destroyed_;
  const std::uint64_t gone =
      leased + s.destroyed_for(destroy_reason::discarded) + s.destroyed_for(destroy_reason::detached);
  s.returned = s.acquired > gone ? s.acquired - gone : 0;
  return s;
}

std::size_t per_thread_core::idle() noexcept {
  const section in(*this);
  return count_idle();
}

bool per_thread_core::check_invariants() noexcept {
  const section in(*this);
  std::size_t in_depot = 0;
  for (const pool_slot* slot = depot_; slot != nullptr; slot = slot->link) {
    ++in_depot;
  }
  std::uint64_t gone = 0;
  for (const std::uint64_t count : destroyed_) {
    gone += count;
  }
  return in_depot == depot_count_ && count_idle() + creating_ <= total_ &&
         created_ + adopted_ + creating_ - gone == total_ && (!closed_ || count_idle() == 0);
}

}  // namespace cistern::detail
