// block: memory from malloc that carries a mark, so that a broken malloc isn't taken for a fast one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace malloc_bench {

/// The smallest block that can carry a mark.
inline constexpr std::size_t min_block_bytes = sizeof(std::uintptr_t);

/// Says what is wrong and ends the program with status 1.
[[noreturn]] inline void fail(const char* what) noexcept {
  std::fputs("malloc_bench: ", stderr);
  std::fputs(what, stderr);
  std::fputc('\n', stderr);
  std::_Exit(1);
}

/// Marks a block of at least `min_block_bytes` with its own address; fails if there is none.
inline void* marked(void* block) noexcept {
  if (block == nullptr) fail("out of memory");
  const std::uintptr_t mark = ~reinterpret_cast<std::uintptr_t>(block);
  std::memcpy(block, &mark, sizeof mark);
  return block;
}

/// malloc for at least `min_block_bytes`, marked.
inline void* obtain(std::size_t bytes) noexcept {
  return marked(std::malloc(bytes));
}

/// The same, all of it written.
inline void* filled(std::size_t bytes) noexcept {
  void* const block = std::malloc(bytes);
  if (block != nullptr) std::memset(block, 1, bytes);
  return marked(block);
}

/// Frees a block of `obtain`; fails if someone has written over its mark. nullptr is let pass.
inline void give_back(void* block) noexcept {
  if (block == nullptr) return;
  std::uintptr_t mark = 0;
  std::memcpy(&mark, block, sizeof mark);
  if (mark != ~reinterpret_cast<std::uintptr_t>(block)) fail("a block was overwritten while it was in use");
  std::free(block);
}

}  // namespace malloc_bench
