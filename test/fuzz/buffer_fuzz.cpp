// Fuzz body: any program of bytes must leave cistern::buffer equal to its model, with every block given back.
#include <cistern/testing/checking_resource.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

#include "../support/buffer_model.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  cistern::testing::checking_resource first;
  cistern::testing::checking_resource second;
  cistern::test_support::model_run(std::span(data, size_bytes), &first, &second).run();
  return 0;
}
