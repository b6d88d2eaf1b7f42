#include <cistern/detail/base/give_back.hpp>
#include <cistern/detail/base/no_cancellation.hpp>

namespace cistern::detail {
namespace {

// Until it is initialised new/delete is one resource among others.
const std::pmr::memory_resource* const new_and_delete = std::pmr::new_delete_resource();

// By addresses: == reads the type_info of the resource, and in a program without RTTI that is null.
bool is_of_type(const std::pmr::memory_resource& resource, const std::type_info* const* type) noexcept {
  return type != nullptr && &typeid(resource) == *type;
}

bool holds_cancellation_off(const std::pmr::memory_resource& resource) noexcept {
  return &resource == new_and_delete || is_of_type(resource, &synchronized_pool_type) ||
         is_of_type(resource, &unsynchronized_pool_type);
}

// A function of its own, so that the other way needs no room on the stack.
[[gnu::noinline]] void give_back_uncancelled(std::pmr::memory_resource& resource, void* block,
                                             std::size_t bytes, std::size_t alignment) {
  const no_cancellation until_it_is_back;
  resource.deallocate(block, bytes, alignment);
}

}  // namespace

void give_back(std::pmr::memory_resource& resource, void* block, std::size_t bytes, std::size_t alignment) {
  if (holds_cancellation_off(resource)) {
    resource.deallocate(block, bytes, alignment);
  } else {
    give_back_uncancelled(resource, block, bytes, alignment);
  }
}

}  // namespace cistern::detail
