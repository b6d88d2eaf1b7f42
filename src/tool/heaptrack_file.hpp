// heaptrack_file: a trace as heaptrack's programs read it.
#pragma once

#include <cistern/adaptor/trace_reader.hpp>

#include <iosfwd>
#include <string>

namespace cistern::tool {

/// Reads a trace, which is at `path`, or -, and writes it event by event: the text that heaptrack_print and
/// heaptrack_gui read, of the format's version 1. Says on standard error why the trace ended, and shows how
/// far it is. Holds a few words for each live block and each place. Throws `trace_error`.
void write_heaptrack(trace_reader& trace, const std::string& path, std::ostream& out);

}  // namespace cistern::tool
