#include <cistern/detail/base/misuse.hpp>
#include <cistern/misuse_handler.hpp>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include <unistd.h>

#if defined(cistern)
// The copy of these sources under `malloc` (see src/malloc): for the one in libcistern, and for programs that
// don't link that.
extern "C" __attribute__((visibility("default"))) cistern::misuse_handler cistern_heap_set_misuse_handler(
    cistern::misuse_handler handler) noexcept {
  return cistern::set_misuse_handler(handler);
}
#else
extern "C" {
[[gnu::weak]] cistern::misuse_handler cistern_heap_set_misuse_handler(
    cistern::misuse_handler handler) noexcept;
}
#endif

namespace cistern {
namespace {

constinit std::atomic<misuse_handler> set_handler{nullptr};

void write_line(const char* text) noexcept {
  for (const char* rest : {text, "\n"}) {
    for (std::size_t left = std::strlen(rest); left != 0;) {
      const ::ssize_t written = ::write(STDERR_FILENO, rest, left);
      if (written <= 0) {
        return;  // there is nobody to tell
      }
      rest += written;
      left -= static_cast<std::size_t>(written);
    }
  }
}

}  // namespace

misuse_handler set_misuse_handler(misuse_handler handler) noexcept {
#if !defined(cistern)
  if (cistern_heap_set_misuse_handler != nullptr) {
    cistern_heap_set_misuse_handler(handler);
  }
#endif
  return set_handler.exchange(handler);
}

void detail::misuse_found(const char* text) noexcept {
  if (const misuse_handler handler = set_handler.load(); handler != nullptr) {
    handler(text);
  } else {
    write_line(text);
  }
  std::abort();
}

}  // namespace cistern
