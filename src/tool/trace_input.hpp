// trace_input: where a command's trace comes from, and what there is to say about it.
#pragma once

#include <cistern/adaptor/trace_reader.hpp>

#include <string>

namespace cistern::tool {

/// The file, or standard input for "-"; decompressed.
[[nodiscard]] trace_source source_named(const std::string& name);

/// What to call a trace of that name: "standard input" for "-".
[[nodiscard]] std::string called(const std::string& name);

/// What is wrong with the trace of that name, with the name in front.
[[nodiscard]] std::string fault_in(const std::string& name, const trace_error& error);

/// A path under which a trace can be read several times, also by processes that this one starts: `name`, or
/// for "-" what standard input has, copied to memory.
[[nodiscard]] std::string rereadable(const std::string& name);

/// Makes `event` the next one, as `trace_reader::next`; but false, too, where the trace was cut off. When it
/// is false, standard error was told why the trace ended before the program did, and if it has samples alone.
[[nodiscard]] bool next_up_to_cut(trace_reader& trace, trace_event& event);

/// Says on standard error, behind what was printed, why a trace ended before the program did. Nothing if it
/// didn't.
void say_how_it_ended(const trace_reader& trace);

}  // namespace cistern::tool
