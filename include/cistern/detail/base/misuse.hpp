// misuse: the one end of a process that used the library wrongly.
#pragma once

namespace cistern::detail {

/// Hands the line to the program's handler (`misuse_handler`), or to stderr, and aborts. Allocates nothing;
/// async-signal-safe where the handler is.
[[noreturn, gnu::cold]] void misuse_found(const char* text) noexcept;

}  // namespace cistern::detail
