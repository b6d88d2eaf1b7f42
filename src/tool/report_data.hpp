// report_data: a trace as the report's page wants it: one JSON object, whose size doesn't grow with the
// trace.
#pragma once

#include <string>

namespace cistern::tool {

/// What goes into a report.
struct report_input {
  std::string trace;             ///< A path that can be read several times.
  std::string name;              ///< What to call it.
  std::string replay_json = {};  ///< That of `cistern-trace replay --json`, or empty.
  std::string advice_json = {};  ///< That of `cistern-trace advise --json`, or empty.
};

struct report_data {
  std::string json;  ///< Valid UTF-8, without '<': it can stand in a page.
  bool is_cut_off = false;
};

/// Reads the trace three times. Throws what trace readers throw, but for one that was cut off.
[[nodiscard]] report_data data_of(const report_input& input);

}  // namespace cistern::tool
