// go_pools: Go's pools as contestants: a program in Go (perf/go) that does one run whenever it is asked to.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "object_pools/contestants.hpp"

namespace perf {

class go_pools {
 public:
  /// Starts `program`. Throws std::runtime_error if it doesn't answer.
  explicit go_pools(const std::string& program);
  go_pools(const go_pools&) = delete;
  go_pools& operator=(const go_pools&) = delete;
  ~go_pools();

  /// "go1.19.8".
  [[nodiscard]] const std::string& version() const noexcept { return version_; }
  /// Those that can do `what`; they refer to this.
  [[nodiscard]] std::vector<pool_contestant> contestants(const pool_workload& what);

 private:
  [[nodiscard]] std::string ask(const std::string& line);
  [[nodiscard]] pool_contestant contestant(const std::string& shape, const std::string& counterpart);

  int process_ = 0;
  int to_ = -1;
  int from_ = -1;
  std::string version_;
};

}  // namespace perf
