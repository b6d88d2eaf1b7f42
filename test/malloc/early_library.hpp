// early_library: a library that the test is linked to, whose constructor runs before the preloaded library's.
#pragma once

extern "C" {

/// Whether its fork handlers, which its constructor registered, allocate.
extern bool early_library_allocate_in_fork_handlers;
/// How often those of this process were called.
unsigned early_library_fork_handler_calls();
/// A block of 1000 bytes that its constructor allocated after it registered the handlers.
void* early_library_block();
}
