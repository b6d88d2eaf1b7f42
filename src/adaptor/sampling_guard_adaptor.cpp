#include <cistern/adaptor/sampling_guard_adaptor.hpp>
#include <cistern/detail/base/give_back.hpp>
#include <cistern/detail/base/possible_size.hpp>

namespace cistern {

sampling_guard_adaptor::sampling_guard_adaptor(sampling_guard_options options,
                                               std::pmr::memory_resource* upstream)
    : upstream_(resource_or_new_delete(upstream)),
      sampler_(options.one_in),
      slots_(options.one_in == 0 ? 0 : options.slots) {}

void* sampling_guard_adaptor::do_allocate(std::size_t bytes, std::size_t alignment) {
  detail::expect_possible_size(bytes);
  if (sampler_.picks()) [[unlikely]] {
    if (void* const block = slots_.allocate(bytes, alignment, __builtin_return_address(0));
        block != nullptr) {
      return block;
    }
  }
  return upstream_->allocate(bytes, alignment);
}

void sampling_guard_adaptor::do_deallocate(void* block, std::size_t bytes, std::size_t alignment) {
  if (slots_.contains(block)) [[unlikely]] {
    slots_.deallocate(block, bytes, alignment, __builtin_return_address(0));
    return;
  }
  detail::give_back(*upstream_, block, bytes, alignment);
}

}  // namespace cistern
