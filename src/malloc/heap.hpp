// heap: what malloc and operator new are made of: one pool for the whole process, and the size found from the
// address.
#pragma once

#include <cistern/detail/base/assert.hpp>
#include <cistern/detail/base/size_classes.hpp>
#include <cistern/pool_statistics.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "heap_pages.hpp"
#include "heap_threads.hpp"

namespace cistern::detail {

class guarded_slots;  // NOLINT(cppcoreguidelines-virtual-class-destructor): final

/// One `pool_engine`, made on first use and never destroyed, which takes its chunks from
/// `heap_pages`; `heap_map` tells the class of a block. What the pool doesn't serve is one of `large_blocks`.
/// What isn't the heap's at all goes to the allocator that was there before.
///
/// What is no block in use is found as it is freed or reallocated, as far as it costs next to nothing: an
/// address that no block of its size class begins at, by its low bits; a block that this thread has freed; a
/// large block that was freed; what was never allocated. One line on stderr says so, with the function
/// called, and the process aborts. A reallocation that leaves a block of 256 bytes or more in place doesn't
/// look whether it was freed: the free that follows does, and sees it unless the block's beginning was
/// written to, or the block handed out, in between. A checked build looks up every address. A hardened build
/// puts a guard behind what was asked for (`slack_guard`), which is looked at when the block is freed, and
/// clears it then; larger blocks have pages of their own between guards, and blocks of no bytes can't be
/// touched at all.
///
/// With `CISTERN_SAMPLE_GUARD=N` in the environment of the first request, one allocation in N is one of
/// `heap_guard`. The fast paths know nothing of it: those that would have to ask find no slots then
/// (`unwatched_slots`). Others find no class for a guarded block, since it is none of the heap's pages.
///
/// Works before the first constructor and after the last destructor, in thread exit and in forked children.
/// Nothing here throws: null, with `errno` set to `ENOMEM`, means that there is no memory, or that the size
/// is beyond `PTRDIFF_MAX`. All thread-safe. O(1) but for the system, and for clearing and copying.
class heap {
 public:
  /// What every block is aligned to at least, as the ABI has it.
  static constexpr std::size_t least_alignment = 16;

  /// A block for zero bytes is as unique as any other.
  [[nodiscard]] static void* allocate(std::size_t bytes) noexcept {
    if constexpr (hardened_build) {
      return allocate_slow(bytes, least_alignment, __builtin_return_address(0));
    }
    return pop_or(unwatched_slots, bytes,
                  [=] { return allocate_slow(bytes, least_alignment, __builtin_return_address(0)); });
  }

  /// `alignment`: any power of two.
  [[nodiscard]] static void* allocate(std::size_t bytes, std::size_t alignment) noexcept {
    return alignment <= least_alignment ? allocate(bytes)
                                        : allocate_slow(bytes, alignment, __builtin_return_address(0));
  }

  [[nodiscard]] static void* allocate_zeroed(std::size_t bytes) noexcept;

  /// Null is fine, as is what the allocator before us has allocated. `errno` stays as it was. `function`:
  /// whose name to give where the address can't be right.
  static void deallocate(void* block, const char* function = "free") noexcept {
    const unsigned index = heap_map.at(block) - 1U;  // no class for code 0
    if (index < cached_class_count) [[likely]] {
      return deallocate_cached(index, block, function);
    }
    deallocate_slow(block, function);
  }

  /// For a block that was asked for with this very size and alignment, and never reallocated: no look-up.
  static void deallocate(void* block, std::size_t bytes, std::size_t alignment) noexcept {
    if constexpr (hardened_build) {
      expect_asked(block, bytes);
      return deallocate(block, "operator delete");
    }
    const std::size_t last = last_byte(bytes, alignment < least_alignment ? least_alignment : alignment);
    if (last < small_limit_bytes && block != nullptr) [[likely]] {
      const unsigned index = small_class_of(last);
      if constexpr (checked_build) {
        expect_class(block, index);
      }
      cache_slots* const slots = unwatched_slots;
      if (may_be_in_use<small_mark_word>(index, block, slots) &&
          (*slots)[index].try_push(block, class_block_bytes(index))) [[likely]] {
        return mark<small_mark_word>(block, slots);
      }
    }
    deallocate(block, "operator delete");
  }

  /// The content moves to a block of `bytes`, in place if that holds it and isn't far too large for it. Null,
  /// and nothing changed, where there is no memory. `block` may be null; `bytes` may be zero.
  [[nodiscard]] static void* reallocate(void* block, std::size_t bytes) noexcept;

  /// What `reallocate` has copied so far.
  [[nodiscard]] static std::size_t copied_bytes() noexcept;

  /// All of it may be used. 0 for null.
  [[nodiscard]] static std::size_t usable_bytes(void* block) noexcept;

  /// Gives idle memory back to the system until at most `keep_bytes` are idle. Whether anything was given
  /// back.
  static bool trim(std::size_t keep_bytes) noexcept;

  /// The pool's account, without `large_blocks`. Takes memory of the heap itself. Nothing where it passes
  /// through.
  [[nodiscard]] static pool_statistics statistics();

 private:
  /// A block of this thread's cache, or what `otherwise` says where there is none at hand. `slots` is the
  /// thread-local pointer itself: read before it is needed, it would cost `operator new` a place on the
  /// stack.
  template <class Otherwise>
  [[nodiscard]] static void* pop_or(cache_slots* const& slots, std::size_t bytes,
                                    Otherwise otherwise) noexcept {
    const std::size_t last = last_byte(bytes, least_alignment);
    if (last < small_limit_bytes) [[likely]] {
      if (cache_slot& slot = slots->at(small_place_of(last)); slot.head != nullptr) [[likely]] {
        return unmarked<small_mark_word>(slot.pop());
      }
    } else if (last < medium_limit_bytes) {
      if (void* const block = slots->try_pop_large(large_class_of(last)); block != nullptr) [[likely]] {
        return unmarked<large_mark_word>(block);
      }
    }
    return otherwise();
  }

  static void deallocate_cached(unsigned index, void* block, const char* function) noexcept {
    cache_slots* const slots = heap_slots;
    bool is_pushed = false;
    if (index < small_class_count) [[likely]] {
      if (!may_be_in_use<small_mark_word>(index, block, slots)) [[unlikely]] {
        return report_misuse(index, block, function);
      }
      wipe(index, block, function);
      mark<small_mark_word>(block, slots);
      is_pushed = (*slots)[index].try_push(block, class_block_bytes(index));
    } else {
      if (!may_be_in_use<large_mark_word>(index, block, slots)) [[unlikely]] {
        return report_misuse(index, block, function);
      }
      wipe(index, block, function);
      mark<large_mark_word>(block, slots);
      is_pushed = slots->try_push_large(index, block);
    }
    if (!is_pushed) [[unlikely]] {
      deallocate_pooled(index, block);
    }
  }

  template <std::size_t Word>
  [[nodiscard]] static bool may_be_in_use(unsigned index, const void* block,
                                          const cache_slots* slots) noexcept {
    return may_begin_block(index, block) && !is_marked<Word>(block, slots) &&
           (!checked_build || may_be_out(index, block));
  }

  /// All blocks of a class begin at multiples of the largest power of two in their size, up to a page.
  [[nodiscard]] static bool may_begin_block(unsigned index, const void* block) noexcept {
    static constexpr auto low_bits = [] {
      std::array<std::uint16_t, class_count> bits{};
      for (unsigned each = 0; each < class_count; ++each) {
        const unsigned zeros = static_cast<unsigned>(std::countr_zero(class_block_bytes(each) | page_bytes));
        bits[each] = static_cast<std::uint16_t>((1U << zeros) - 1);
      }
      return bits;
    }();
    return (reinterpret_cast<std::uintptr_t>(block) & low_bits[index]) == 0;
  }

  // A word of a free block tells in whose cache it was freed; in a block that is handed out it is cleared.
  // The smallest have two words. The depot uses the second one of the first two blocks of a magazine, which
  // are few of the small ones, and may be all of the large ones. In a hardened build that second word has a
  // mark of the pool's own, whichever thread freed the block.
  static constexpr std::size_t small_mark_word = 1;
  static constexpr std::size_t large_mark_word = 2;
  template <std::size_t Word>
  [[nodiscard]] static bool is_marked(const void* block, const cache_slots* slots) noexcept {
    if (hardened_build && free_block::is_marked(block)) {
      return true;
    }
    const cache_slots* mark = nullptr;
    std::memcpy(&mark, static_cast<const std::byte*>(block) + Word * sizeof(void*), sizeof mark);
    return mark == slots;
  }
  template <std::size_t Word>
  static void mark(void* block, const cache_slots* slots) noexcept {
    if constexpr (hardened_build && Word == small_mark_word) {
      return;
    }
    static_cast<const cache_slots**>(block)[Word] = slots;
  }
  template <std::size_t Word>
  [[nodiscard]] static void* unmarked(void* block) noexcept {
    mark<Word>(block, nullptr);
    return block;
  }
  [[nodiscard]] static void* unmarked(unsigned index, void* block) noexcept {
    return index < small_class_count ? unmarked<small_mark_word>(block) : unmarked<large_mark_word>(block);
  }

  /// Who serves a request: `begin` says so for the first, and for those made while the pool is being made.
  enum class phase : std::uint8_t { unborn, being_made, working, passing_through };
  [[nodiscard]] static bool has_begun(phase seen) noexcept;
  [[nodiscard]] static phase current_phase() noexcept;
  [[nodiscard]] static phase begin() noexcept;
  [[nodiscard]] static bool make_pool() noexcept;

  static void follow_cache() noexcept;
  static void expect_class(const void* block, unsigned index) noexcept;
  // What a hardened build does otherwise.
  [[nodiscard]] static void* allocate_guarded(std::size_t bytes, std::size_t alignment) noexcept;
  [[nodiscard]] static void* allocate_empty() noexcept;
  [[nodiscard]] static void* try_take(unsigned index) noexcept;
  [[nodiscard]] static void* guarded(unsigned index, void* block, std::size_t bytes) noexcept;
  static void expect_asked(void* block, std::size_t bytes) noexcept;
  static void expect_empty(const void* block, const char* function) noexcept;
  static void deallocate_empty(const void* block, const char* function) noexcept;
  static void expect_whole(unsigned index, const void* block, const char* function) noexcept;
  static void wipe_guarded(unsigned index, void* block, const char* function) noexcept;
  [[nodiscard]] static bool resize_guarded(unsigned index, void* block, std::size_t bytes) noexcept;
  /// What a user wrote is gone, and nothing was written behind it.
  static void wipe(unsigned index, void* block, const char* function) noexcept {
    if constexpr (hardened_build) {
      wipe_guarded(index, block, function);
    }
  }
  [[nodiscard]] static std::size_t bytes_of(page_map::code code, const void* block) noexcept;
  [[nodiscard]] static std::size_t pooled_bytes(unsigned index, const void* block) noexcept;

  static void* allocate_slow(std::size_t bytes, std::size_t alignment, const void* caller) noexcept;
  [[gnu::noinline]] static void* allocate_due(std::size_t bytes, std::size_t alignment,
                                              const void* caller) noexcept;
  [[gnu::noinline]] static void* allocate_unsampled(std::size_t bytes, std::size_t alignment) noexcept;
  static void* allocate_uncached(std::size_t bytes, std::size_t alignment) noexcept;
  static void* allocate_within(std::size_t room_bytes, std::size_t alignment) noexcept;
  static void* handed_out(unsigned index, void* block) noexcept;
  static void* allocate_large(std::size_t bytes, std::size_t alignment) noexcept;
  static void deallocate_slow(void* block, const char* function) noexcept;
  static void deallocate_pooled(unsigned index, void* block) noexcept;
  static void expect_block(page_map::code code, void* block, const char* function) noexcept;
  [[nodiscard]] static bool is_block(unsigned index, const void* block) noexcept;
  [[nodiscard]] static bool may_be_out(unsigned index, const void* block) noexcept;
  /// Never returns. Said so, it would cost callers that end with it a place on the stack.
  static void report_misuse(unsigned index, void* block, const char* function) noexcept;
  [[nodiscard]] static bool is_kept_unseen(page_map::code code, const void* block,
                                           std::size_t bytes) noexcept;
  static bool resize_in_place(unsigned from, void* block, std::size_t bytes) noexcept;
  [[nodiscard]] static void* reallocate_sampled(guarded_slots& blocks, void* block, std::size_t bytes,
                                                const void* caller) noexcept;
  static void* move(void* block, std::size_t old_bytes, std::size_t bytes, bool to_mapping) noexcept;

  static std::atomic<phase> now;
};

}  // namespace cistern::detail
