#include <cistern/detail/base/give_back.hpp>
#include <cistern/detail/base/no_cancellation.hpp>

namespace cistern::detail {
namespace {

// By addresses: == reads the type_info of the resource, and in a program without RTTI that is null.
bool is_of_type(const std::pmr::memory_resource& resource, const std::type_info* const* type) noexcept {
  return type != nullptr && &typeid(resource) == *type;
}

bool holds_cancellation_off(const std::pmr::memory_resource& resource) noexcept {
  return &resource == std::pmr::new_delete_resource() || is_of_type(resource, &synchronized_pool_type) ||
         is_of_type(resource, &unsynchronized_pool_type);
}

}  // namespace

void give_back(std::pmr::memory_resource& resource, void* block, std::size_t bytes, std::size_t alignment) {
  if (holds_cancellation_off(resource)) {
    resource.deallocate(block, bytes, alignment);
  } else {
    const no_cancellation until_it_is_back;
    resource.deallocate(block, bytes, alignment);
  }
}

}  // namespace cistern::detail
