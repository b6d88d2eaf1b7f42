#include <utility>

#include "support/workload.hpp"

namespace perf {

std::vector<workload> all_workloads(effort how_much) {
  std::vector<workload> all;
  for (auto&& some : {block_workloads(), container_workloads(), threaded_workloads(),
                      large_workloads(how_much), phase_workloads(how_much), life_workloads()}) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

}  // namespace perf
