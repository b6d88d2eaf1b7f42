// object_pool_policy: how the threads that use an object pool share its objects.
#pragma once

namespace cistern {

/// One set of objects for all threads, bounded by `max_size`, with a queue for those who wait.
struct shared {};
/// A cache of objects per thread: unbounded, never waiting, idle objects fade; the way of Go's sync.Pool.
struct per_thread {};

template <class T, class Lifecycle, class Policy = shared>
class object_pool;

}  // namespace cistern
