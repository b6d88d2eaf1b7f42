#include "report.hpp"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <system_error>

#include "file_beside.hpp"
#include "json_input.hpp"
#include "output_check.hpp"
#include "report_data.hpp"
#include "report_page.hpp"
#include "trace_input.hpp"

namespace cistern::tool {
namespace {

/// A whole file; the next step on failure is in the caller's hands.
[[nodiscard]] std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file) throw std::system_error(errno, std::generic_category(), "cannot read " + path);
  return text;
}

/// What a command wrote with --json, if a file was given.
[[nodiscard]] std::string json_of(const std::string& path, const std::string& list,
                                  const std::string& command) {
  if (path.empty()) return {};
  std::string text = text_of(path);
  expect_json(text, list, command, path);
  return text;
}

void write_to(const std::filesystem::path& path, const std::string& page) {
  errno = 0;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(page.data(), static_cast<std::streamsize>(page.size()));
  file.close();
  if (!file) throw std::system_error(errno, std::generic_category(), "cannot write " + path.string());
}

void write_page(const std::filesystem::path& path, const std::string& page) {
  if (std::filesystem::exists(path) && !std::filesystem::is_regular_file(path)) return write_to(path, page);
  file_beside part(path);
  write_to(part.path(), page);
  part.take_place();
}

}  // namespace

int write_report(const report_options& options) {
  const std::string_view page = report_template();
  if (page.empty()) {
    throw std::runtime_error(
        "report isn't in this build: its page is made of packages from npm. Install nodejs and npm, see that "
        "npm can "
        "fetch packages (or run .ci/setup), configure with -DCISTERN_REPORT_PAGE=ON, and build again");
  }
  report_input input;
  input.name = std::filesystem::path(called(options.trace)).filename().string();
  const std::string path =
      !options.output.empty() ? options.output : (options.trace == "-" ? "report" : input.name) + ".html";
  if (path != "-") {
    check_outputs({{"FILE", options.trace}, {"--replay", options.replay}, {"--advice", options.advice}},
                  {{"--output", path}});
  }
  input.trace = rereadable(options.trace);
  input.replay_json = json_of(options.replay, "resources", "replay");
  input.advice_json = json_of(options.advice, "advices", "advise");
  const report_data data = data_of(input);
  const std::string whole = page_with(page, data.json);
  if (path == "-") {
    std::cout << whole;
  } else {
    write_page(path, whole);
    std::cout << path << '\n';
  }
  if (data.is_cut_off) {
    std::cout.flush();
    std::cerr << "cistern-trace: the trace was cut off: the report is about what is there\n";
  }
  return 0;
}

}  // namespace cistern::tool
