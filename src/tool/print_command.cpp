#include "print_command.hpp"

#include <cistern/adaptor/trace_reader.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "../base/statistics_text.hpp"
#include "command_options.hpp"
#include "frame_names.hpp"
#include "print_stacks.hpp"
#include "reading_progress.hpp"
#include "trace_filter.hpp"
#include "trace_input.hpp"
#include "usage_error.hpp"

namespace cistern::tool {
namespace {

struct print_options {
  std::string file;
  trace_filter filter;
  std::uint64_t first = std::numeric_limits<std::uint64_t>::max();
  bool summary = false;
};

/// Calls of one kind.
struct call_summary {
  std::uint64_t calls = 0;
  std::uint64_t bytes = 0;
  std::uint64_t smallest_bytes = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t largest_bytes = 0;

  void add(std::uint64_t more_bytes) {
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    ++calls;
    bytes = more_bytes > most - bytes ? most : bytes + more_bytes;
    smallest_bytes = std::min(smallest_bytes, more_bytes);
    largest_bytes = std::max(largest_bytes, more_bytes);
  }
};

constexpr std::array every_call = {trace_call::allocate, trace_call::reallocate, trace_call::deallocate,
                                   trace_call::failed_allocate};

/// What came through the filter, in few words.
class event_summary {
 public:
  void add(const trace_event& event) {
    kinds_[static_cast<std::size_t>(event.call)].add(event.bytes);
    threads_.insert(event.thread);
    if (!first_) first_ = event.time;
    last_ = event.time;
  }
  void print() const {
    detail::text_table table(detail::text_table::first_column::left);
    table.add_row({"", "calls", "bytes", "smallest", "largest"});
    table.add_rule();
    for (const trace_call call : every_call) {
      const call_summary& of = kinds_[static_cast<std::size_t>(call)];
      if (of.calls == 0) continue;
      table.add_row({to_string(call), detail::with_thousands(of.calls), detail::in_binary_units(of.bytes),
                     detail::with_thousands(of.smallest_bytes), detail::with_thousands(of.largest_bytes)});
    }
    std::cout << table.text();
    if (!first_) return;
    std::cout << "\nby " << detail::with_thousands(threads_.size())
              << (threads_.size() == 1 ? " thread" : " threads") << ", from "
              << detail::in_seconds(*first_, 6) << " s to " << detail::in_seconds(last_, 6) << " s\n";
  }

 private:
  std::array<call_summary, every_call.size()> kinds_{};
  std::set<std::uint64_t> threads_;
  std::optional<std::chrono::nanoseconds> first_;
  std::chrono::nanoseconds last_{};
};

void print_event(const trace_event& event, bool has_stacks) {
  std::cout << event.time.count() << ' ' << event.thread << ' ' << to_string(event.call) << ' ' << event.bytes
            << ' ' << event.alignment << ' ';
  if (event.call == trace_call::failed_allocate) {
    std::cout << "- -";
  } else {
    std::cout << "0x" << in_hexadecimal(event.address) << ' ' << event.block;
    if (event.call == trace_call::reallocate) std::cout << " from " << event.old_block;
  }
  if (has_stacks) std::cout << " at " << event.stack;
  std::cout << '\n';
}

/// Calls `see(event)` for the events that pass. Later ones than the filter asks for aren't read.
template <class See>
void see_filtered(trace_reader& trace, frame_names& names, const print_options& options, See see) {
  std::uint64_t left = options.first;
  for (trace_event event; left != 0 && trace.next(event);) {
    if (event.time > options.filter.to) return;
    if (!options.filter.passes(event, names)) continue;
    see(event);
    --left;
  }
  if (left != 0) say_how_it_ended(trace);
}

void print_events(trace_reader& trace, const print_options& options) {
  std::cout << "nanoseconds thread call bytes alignment address block\n";
  frame_names names(trace.stacks());
  stack_printer stacks(trace, names, std::cout);
  see_filtered(trace, names, options, [&](const trace_event& event) {
    stacks.print_if_new(event.stack);
    print_event(event, trace.has_stacks());
  });
}

void print_summary(trace_reader& trace, const print_options& options) {
  event_summary summary;
  std::exception_ptr damage;
  try {
    reading_progress progress(options.file, "reading " + options.file);
    frame_names names(trace.stacks());
    see_filtered(trace, names, options, [&](const trace_event& event) {
      summary.add(event);
      progress.at(trace);
    });
  } catch (const trace_error&) {
    damage = std::current_exception();  // To be told behind what there is of the trace.
  }
  summary.print();
  if (damage) std::rethrow_exception(damage);
}

[[nodiscard]] int print(const print_options& options) {
  if (options.filter.min_bytes > options.filter.max_bytes) {
    throw usage_error("--min-size is more than --max-size");
  }
  if (options.filter.from > options.filter.to) throw usage_error("--from is later than --to");
  trace_reader trace(source_named(options.file));
  if (options.summary) {
    print_summary(trace, options);
  } else {
    print_events(trace, options);
  }
  if (!options.filter.at.empty() && !trace.has_stacks()) {
    throw std::runtime_error(called(options.file) +
                             " has no stacks to look for --at in: record with --stacks");
  }
  return 0;
}

[[nodiscard]] std::uint64_t count_from(const std::string& option, const std::string& text) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [last, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || last != end) throw usage_error(option + " takes a number: " + text);
  return number;
}

[[nodiscard]] std::chrono::nanoseconds time_option(const std::string& option, const std::string& text) {
  const auto time = time_from_text(text);
  if (!time) throw usage_error(option + " takes a time, as 1500 (nanoseconds), 1.5us, 20ms or 3s: " + text);
  return *time;
}

/// Calls `add` for each of the names between commas.
template <class Add>
void for_each_in(const std::string& list, Add add) {
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    add(list.substr(begin, end - begin));
    begin = end + 1;
  }
}

void add_calls(trace_filter& filter, const std::string& list) {
  for_each_in(list, [&](const std::string& name) {
    const auto call = call_from_text(name);
    if (!call) {
      throw usage_error(
          "--call takes allocate, deallocate, reallocate, failed_allocate, with commas between them: " +
          name);
    }
    filter.calls.insert(*call);
  });
}

void add_print_options(CLI::App& command, print_options& options) {
  trace_filter& filter = options.filter;
  const auto option = [&command](const char* name, const char* value, const char* description, auto set) {
    return command.add_option_function<std::string>(name, set, description)->type_name(value);
  };
  option("--call", "LIST",
         "calls of these kinds: allocate, deallocate,\n"
         "reallocate, failed_allocate, with commas between them",
         [&filter](const std::string& list) { add_calls(filter, list); })
      ->join(',');
  add_size_option(command, "--min-size", filter.min_bytes,
                  "blocks of so many bytes or more (K, M and G stand for\n"
                  "powers of 1024)",
                  0);
  add_size_option(command, "--max-size", filter.max_bytes, "blocks of so many bytes or fewer", 0);
  option("--thread", "LIST", "calls of these threads, by their numbers", [&filter](const std::string& list) {
    for_each_in(list, [&](const std::string& each) { filter.threads.insert(count_from("--thread", each)); });
  })->join(',');
  option("--from", "TIME",
         "calls from that time of the trace on: 1500\n"
         "(nanoseconds), 1.5us, 20ms, 3s",
         [&filter](const std::string& text) { filter.from = time_option("--from", text); });
  option("--to", "TIME", "calls up to that time",
         [&filter](const std::string& text) { filter.to = time_option("--to", text); });
  command
      .add_option("--at", filter.at,
                  "calls whose stack has that text in the name of a\n"
                  "function, or in the path of a program's or library's\n"
                  "file; needs a trace with stacks (record --stacks)")
      ->type_name("TEXT");
  option("-n,--first", "N", "the first N of these",
         [&options](const std::string& text) { options.first = count_from("--first", text); });
  command.add_flag("--summary", options.summary, "how many they are and how large, and no line for each");
}

}  // namespace

void add_print_command(CLI::App& app, invocation& run) {
  const auto options = std::make_shared<print_options>();
  CLI::App& command = *app.add_subcommand(
      "print", "every call of a trace, one line each, and the stacks that it was made from; or some of them");
  add_print_options(command, *options);
  add_trace_argument(command, options->file);
  command.callback([options, &run] { run.status = print(*options); });
}

}  // namespace cistern::tool
