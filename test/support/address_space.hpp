// leave_address_space: makes memory run out soon, in a child process that is about to end.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include <sys/resource.h>
#include <unistd.h>

namespace cistern::test_support {

/// The first two numbers of /proc/self/statm, in bytes.
struct memory_use {
  std::size_t virtual_bytes = 0;
  std::size_t resident_bytes = 0;
};

[[nodiscard]] inline memory_use current_memory_use() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  unsigned long total = 0;
  unsigned long resident = 0;
  if (file == nullptr || std::fscanf(file, "%lu %lu", &total, &resident) != 2) std::abort();
  std::fclose(file);
  const auto page = static_cast<std::size_t>(::getpagesize());
  return {total * page, resident * page};
}

/// From now on this process can map so many bytes more.
inline void leave_address_space(std::size_t bytes) {
  const rlimit limit{current_memory_use().virtual_bytes + bytes, RLIM_INFINITY};
  if (::setrlimit(RLIMIT_AS, &limit) != 0) std::abort();
}

}  // namespace cistern::test_support
