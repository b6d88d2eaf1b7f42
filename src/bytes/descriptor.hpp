// descriptor: a POSIX file descriptor for one input or output, without signals and safe from cancellation.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "../base/signal_hold.hpp"
#include <sys/types.h>
#include <sys/uio.h>

namespace cistern::detail {

/// Reads from or writes to a descriptor, as often as it takes, as `read` and `writev` do: blocking unless the
/// descriptor says otherwise; -1 is an error, in `errno`. Interrupted calls are repeated.
///
/// Cancellation: a C library may end a thread within `read` or `write` when bytes have gone over already, and
/// then nobody knows how many. So what moves bytes can't be cancelled here and doesn't wait, and what waits
/// moves none and can be cancelled. The first try of a socket is the call itself: who never has to wait pays
/// nothing. Files, terminals that are written to, and pipes that are written to on kernels that can't be
/// asked not to wait (before Linux 6.5) aren't left before the call is done.
class descriptor {
 public:
  explicit descriptor(int number) noexcept : number_(number) {}

  [[nodiscard]] ssize_t read(std::span<std::byte> room);
  [[nodiscard]] ssize_t write(std::span<const iovec> pieces);
  /// Whether the input has ended, as far as that shows without taking a byte: it does for sockets and files.
  [[nodiscard]] bool has_ended();

 private:
  enum class kind {
    socket,  // until a call says that it is none
    pipe,    // can be tried without waiting
    device,  // can only be asked whether it is ready: terminals to read from, and pipes on older kernels
    plain,   // is called as it is: files, and devices that are written to
  };

  [[nodiscard]] ssize_t try_read(std::span<std::byte> room) const noexcept;
  [[nodiscard]] ssize_t try_write(std::span<const iovec> pieces) noexcept;
  template <class Try>
  ssize_t complete(short event, const Try& attempt);
  [[nodiscard]] ssize_t try_file(std::span<const iovec> pieces) noexcept;
  [[nodiscard]] ssize_t try_pipe(std::span<const iovec> pieces) noexcept;
  [[nodiscard]] bool learns_kind(int error, short event);
  [[nodiscard]] bool waits();
  [[nodiscard]] bool wait_for(short event);

  int number_;
  kind kind_ = kind::socket;
  std::optional<bool> waits_;  // whether the descriptor is blocking, once asked
  // Where no flag does it: SIGPIPE while writing to a pipe, SIGXFSZ to a file where their sizes are limited.
  std::optional<signal_hold> no_signal_;
};

}  // namespace cistern::detail
