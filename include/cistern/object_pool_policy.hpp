// object_pool_policy: how the threads that use an object pool share its objects.
#pragma once

#include <cistern/detail/base/requirements.hpp>

namespace cistern {

/// One set of objects for all threads, bounded by `max_size`, with a queue for those who wait.
///
/// Acquiring and giving back are O(1), and lock-free while an object is idle and there are no more than
/// `max_size`; otherwise they take a mutex. A FIFO pool takes it once in as many acquires as there are idle
/// objects.
struct shared {};

/// A cache of objects per thread, the way of Go's sync.Pool: each thread keeps the objects that it gave back
/// for its own next acquire, without a lock; a thread that has none takes some that others keep, and only
/// then creates. Never waits, and never says no.
///
/// Idle objects fade: one that stays unused during two calls of `trim`, or of `maintain` if there is no
/// `idle_timeout`, is destroyed. A thread that ends leaves its objects to the others.
///
/// Options that mean something else than for a shared pool, or nothing:
/// - `max_size` doesn't bound what is in use, and `empty`, `max_waiters` and `backoff_max` matter only to
///   `maintain`, or not at all, for nobody waits. `resize(n)` bounds the idle objects: it sets `max_idle`;
/// - `max_idle`: an object given back beyond it is destroyed, except that each thread's own cache may keep
///   32 of them, or `max_idle` if that is less;
/// - `acquire_timeout` is how long a creation may take before its caller gets `pool_errc::timeout`;
/// - `order` can't be FIFO: refused with `std::invalid_argument`.
///
/// Acquiring and giving back are O(1) while the thread's cache serves; otherwise O(threads). Ages in reports
/// may be too long by the time of their thread's last 16 acquires.
struct per_thread {};

template <class T, class Lifecycle, class Policy = shared>
class object_pool;

}  // namespace cistern
