// Annotations for clang's thread safety analysis: which lock guards what, and who must hold it.
#pragma once

// What a comment would say, and clang checks (-Wthread-safety); other compilers see nothing. The analysis
// knows locks by these annotations alone: detail::mutex and detail::scoped_lock
// (cistern/detail/base/mutex.hpp) have them, std::mutex and std::lock_guard of libstdc++ don't.
#if defined(__clang__)
#define CISTERN_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define CISTERN_THREAD_ANNOTATION(x)
#endif

// ---- of a class ----

/// Objects of the class are locks; `x` is what messages call them.
#define CISTERN_CAPABILITY(x) CISTERN_THREAD_ANNOTATION(capability(x))
/// Objects of the class hold a lock from their construction on, to the end of their life.
#define CISTERN_SCOPED_CAPABILITY CISTERN_THREAD_ANNOTATION(scoped_lockable)

// ---- of data ----

/// Read and written under the lock `x` only.
#define CISTERN_GUARDED_BY(x) CISTERN_THREAD_ANNOTATION(guarded_by(x))
/// What the pointer points to is read and written under the lock `x` only.
#define CISTERN_PT_GUARDED_BY(x) CISTERN_THREAD_ANNOTATION(pt_guarded_by(x))
/// Of a lock: taken before those named, where a thread takes both.
#define CISTERN_ACQUIRED_BEFORE(...) CISTERN_THREAD_ANNOTATION(acquired_before(__VA_ARGS__))
/// Of a lock: taken after those named, where a thread takes both.
#define CISTERN_ACQUIRED_AFTER(...) CISTERN_THREAD_ANNOTATION(acquired_after(__VA_ARGS__))

// ---- of a function ----

/// The caller holds the locks named, before and after.
#define CISTERN_REQUIRES(...) CISTERN_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
/// The caller doesn't hold the locks named, as the function takes them itself.
#define CISTERN_EXCLUDES(...) CISTERN_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
/// Takes the locks named, or the object itself, and returns holding them.
#define CISTERN_ACQUIRE(...) CISTERN_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
/// Gives back the locks named, or the object itself.
#define CISTERN_RELEASE(...) CISTERN_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
/// Takes the locks behind the first argument, or the object itself, if it returns that first argument.
#define CISTERN_TRY_ACQUIRE(...) CISTERN_THREAD_ANNOTATION(try_acquire_capability(__VA_ARGS__))
/// From the call on, the analysis takes the lock `x` as held.
#define CISTERN_ASSERT_CAPABILITY(x) CISTERN_THREAD_ANNOTATION(assert_capability(x))
/// Returns a reference to the lock `x`.
#define CISTERN_RETURN_CAPABILITY(x) CISTERN_THREAD_ANNOTATION(lock_returned(x))
/// The body isn't looked at. A comment says why it is right nevertheless.
#define CISTERN_NO_THREAD_SAFETY_ANALYSIS CISTERN_THREAD_ANNOTATION(no_thread_safety_analysis)
