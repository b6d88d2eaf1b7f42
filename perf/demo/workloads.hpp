// workloads: the demo's two jobs, for cistern-compare.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <vector>

#include "support/contestant.hpp"
#include "support/workload.hpp"

namespace demo {

/// The word index over the text files of `folder`, up to 8 MiB of them, as rows demo/index/THREADS: on one
/// thread, and on all hardware threads. A run whose index isn't new/delete's throws. Throws
/// `std::runtime_error` if the folder holds no text.
[[nodiscard]] std::vector<perf::workload> index_workloads(const std::filesystem::path& folder);

/// The message traffic under `who`, which must be thread-safe, in this process, which has done nothing else
/// so far. Prints a line with processor seconds, checksum, number of messages, and the bytes held after all
/// was given back that can be; then one for each sample, with live and held bytes.
void print_traffic(std::ostream& out, const perf::contestant& who);

}  // namespace demo
