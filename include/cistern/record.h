// record.h: how a program says which part of it `cistern-trace record` records; for C and C++, nothing to
// link.
#pragma once

// What libcistern-record.so has; null where a program runs without it. So that the address is looked up when
// the program is loaded, it comes from the global offset table: else linkers take 0 for it in a program of a
// fixed address.
#if defined(__ELF__) && defined(__GNUC__)
#ifdef __cplusplus
extern "C" {
#endif
__attribute__((weak)) int cistern_record_start(void);
__attribute__((weak)) int cistern_record_stop(void);
#ifdef __cplusplus
}
#endif
#if defined(__x86_64__) && !defined(__ILP32__)
#define CISTERN_RECORD_LOOK_UP_(to, name) \
  __asm__(".weak " #name "\n\tmovq " #name "@GOTPCREL(%%rip), %0" : "=r"(to))
#else
#define CISTERN_RECORD_LOOK_UP_(to, name) ((to) = name)
#endif
#else
#define CISTERN_RECORD_LOOK_UP_(to, name) ((void)0)
#endif

/// From now on allocations are recorded. Returns 0; or -1, and does nothing, where the program isn't
/// recorded, or can't be paused: `cistern-trace record` was given none of `--paused`, `--pausable` and
/// `--toggle-signal`.
///
/// For all threads of the process. Takes some nanoseconds and no lock; may be called in a signal handler.
static inline int cistern_start_recording(void) {
  int (*found)(void) = 0;  // NOLINT(modernize-use-nullptr): also in C
  CISTERN_RECORD_LOOK_UP_(found, cistern_record_start);
  return found ? found() : -1;
}

/// From now on allocations aren't recorded. What becomes of blocks that were recorded still is: so the trace
/// has the whole life of each. Otherwise as `cistern_start_recording`.
static inline int cistern_stop_recording(void) {
  int (*found)(void) = 0;  // NOLINT(modernize-use-nullptr): also in C
  CISTERN_RECORD_LOOK_UP_(found, cistern_record_stop);
  return found ? found() : -1;
}

#undef CISTERN_RECORD_LOOK_UP_
