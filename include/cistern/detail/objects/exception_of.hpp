// exception_of: what a function of the user's throws, told from the end of the thread that runs it.
#pragma once

#include <exception>
#include <utility>

namespace cistern::detail {

/// Calls `call`; returns what it threw, or null. The unwinding of a thread that ends (`pthread_cancel`,
/// `pthread_exit`) is no exception of C++ and passes through: only destructors see it.
template <class Call>
[[nodiscard]] std::exception_ptr exception_of(Call&& call) {
  try {
    std::forward<Call>(call)();
  } catch (...) {
    std::exception_ptr thrown = std::current_exception();
    if (thrown == nullptr) {
      throw;
    }
    return thrown;
  }
  return nullptr;
}

}  // namespace cistern::detail
