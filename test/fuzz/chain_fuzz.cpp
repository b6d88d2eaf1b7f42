// Fuzz body: any program of bytes must leave two cistern::chains equal to their models, with every block
// given back.
#include <cistern/testing/checking_resource.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

#include "../support/chain_model.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  cistern::testing::checking_resource first;
  cistern::testing::checking_resource second;
  cistern::test_support::chain_model_run(std::span(data, size_bytes), &first, &second).run();
  return 0;
}
