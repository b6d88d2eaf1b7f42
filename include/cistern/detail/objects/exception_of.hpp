// exception_of: what a function of the user's throws, told from the end of the thread that runs it.
#pragma once

#include <exception>
#include <utility>
#include <version>

#if defined(__GLIBCXX__)
#include <cxxabi.h>
#endif

namespace cistern::detail {

/// Calls `call`; returns what it threw, or null. The unwinding of a thread that ends (`pthread_cancel`,
/// `pthread_exit`) is no exception and passes through: only destructors see it.
template <class Call>
[[nodiscard]] std::exception_ptr exception_of(Call&& call) {
  try {
    std::forward<Call>(call)();
#if defined(__GLIBCXX__)  // with other libraries no handler sees it
  } catch (const abi::__forced_unwind&) {
    throw;
#endif
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

}  // namespace cistern::detail
