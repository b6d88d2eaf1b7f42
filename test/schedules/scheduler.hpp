// run_scheduled: runs threads one at a time; a seed says who goes on at each atomic operation.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace cistern::test_support {

/// Runs each body on a thread of its own, and returns when all threads have ended, what the library does at
/// their ends included. Only one of them runs at any time. Before each atomic operation of the sources (and
/// so where locks are taken and given back) the seed decides whether another one goes on, and which: the same
/// seed gives the same order. What memory orders do isn't seen: each thread sees all that came before.
///
/// The library's key for the end of threads must be there already: a pool was made.
void run_scheduled(std::uint64_t seed, const std::vector<std::function<void()>>& bodies);

/// Another thread of `run_scheduled` may go on now; in other threads, and in the child of a fork, nothing
/// happens.
void schedule_point() noexcept;
/// The same where this one has nothing to do until another has gone on. False if there is none that could.
bool schedule_others() noexcept;
/// True once in so many times, as the seed says; always where nothing is scheduled.
[[nodiscard]] bool schedule_chance(unsigned one_in) noexcept;
/// Whether waits without an end may return for nothing in this run, which would hide a lost wake-up.
[[nodiscard]] bool waits_may_be_spurious() noexcept;

/// What a seed has come across.
[[nodiscard]] std::uint64_t switches() noexcept;

}  // namespace cistern::test_support
