// Fuzz body: any program of bytes must leave a synchronized_pool_resource in agreement with its model.
#include <cistern/synchronized_pool_resource.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

#include "../support/pool_program.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  cistern::test_support::run_pool_program<cistern::synchronized_pool_resource>(std::span(data, size_bytes));
  return 0;
}
