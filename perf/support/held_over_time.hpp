// held_over_time: what a resource holds while the program's need rises, falls, and stays small.
#pragma once

#include <iosfwd>
#include <string>

#include "support/contestant.hpp"
#include "support/workload.hpp"

namespace perf {

/// Whether there is such a scene, and `who` can play it. "burst": blocks of 1 to 256 KiB rise to 240 MiB,
/// fall to 1 MiB, and some of them are replaced for a while. "survivors": a map of 500,000 strings, of which
/// 95 % expire, and a few are replaced for a while.
[[nodiscard]] bool plays(const contestant& who, const std::string& scene);

/// Plays a scene and writes CSV with a header line: seconds since the beginning; bytes that are live,
/// as asked for; bytes that the resource holds from upstream, or, of a heap, which doesn't say, those that
/// are resident; what the scene has added to the resident set. Only meaningful in a process that has done
/// nothing else. A quick scene is a tenth of the size, and quiet for a moment only.
void play_scene(std::ostream& out, const std::string& scene, const contestant& who, effort how_much);

}  // namespace perf
