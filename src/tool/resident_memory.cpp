#include "resident_memory.hpp"

#include <fstream>
#include <stdexcept>
#include <string>

#include <malloc.h>
#include <unistd.h>

namespace cistern::tool {
namespace {

/// The figure, given in KiB, on the line of `file` that starts with `key`.
[[nodiscard]] std::uint64_t bytes_in(const char* file, const std::string& key) {
  std::ifstream input(file);
  for (std::string line; std::getline(input, line);) {
    if (line.starts_with(key)) return std::stoull(line.substr(key.size())) * 1024;
  }
  throw std::runtime_error(std::string(file) + " has no line " + key);
}

struct page_counts {
  std::uint64_t all = 0;
  std::uint64_t of_files = 0;
};

[[nodiscard]] page_counts resident_pages() {
  page_counts pages;
  std::uint64_t addresses = 0;
  std::ifstream("/proc/self/statm") >> addresses >> pages.all >> pages.of_files;
  return pages;
}

[[nodiscard]] std::uint64_t page_size_bytes() {
  return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

std::uint64_t resident_bytes() {
  return bytes_in("/proc/self/smaps_rollup", "Anonymous:");
}

std::uint64_t roughly_resident_bytes() {
  const page_counts pages = resident_pages();
  return (pages.all - pages.of_files) * page_size_bytes();
}

std::uint64_t peak_resident_bytes() {
  return bytes_in("/proc/self/status", "VmHWM:") - resident_pages().of_files * page_size_bytes();
}

bool forget_peak_resident() {
  std::ofstream("/proc/self/clear_refs") << "5" << std::flush;
  // Where the write was refused, or did nothing, the mark may be far above.
  return peak_resident_bytes() <= resident_bytes() + (std::uint64_t{4} << 20);
}

void trim_c_library() noexcept {
#if defined(__GLIBC__)
  ::malloc_trim(0);
#endif
}

std::uint64_t available_bytes() {
  return bytes_in("/proc/meminfo", "MemAvailable:");
}

}  // namespace cistern::tool
