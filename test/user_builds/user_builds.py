#!/usr/bin/env python3
"""Shows that whatever a user's build looks like, it works or one line says what is wrong.

    user_builds.py COMMAND --library FILE [--include DIR] -- COMPILER FLAGS...

COMPILER FLAGS compile a program as the library was compiled. The commands:

    refusals     an older standard, 32 bits, no exceptions, libc++ without a stop token: one #error in any header
    warnings     a program that uses every template compiles without a warning and runs, without optimisation, and
                 with it but without RTTI
    mismatches   a program that was compiled in another way than the library, or with the headers of another version,
                 is refused by the linker, which names the reason; whatever the linker drops
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
# Public headers all of which is inline: the library need not be linked for them.
INLINE = {"object_lifecycle", "object_pool_policy", "pool_options", "resource_or_new_delete", "sized_block",
          "source_location"}
STOP_TOKEN_HEADERS = ["cistern/async_acquire.hpp", "cistern/object_pool.hpp"]


class Build:
    """A way to compile, and a folder to do it in."""

    def __init__(self, arguments, work):
        self.compiler, self.library, self.include, self.work = (arguments.compiler, arguments.library,
                                                                arguments.include, pathlib.Path(work))
        self.faults = []

    def run(self, *command, compiler=None):
        command = [*(self.compiler if compiler is None else compiler), *map(str, command)]
        return subprocess.run(command, cwd=self.work, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def is_clang(self):
        return "clang" in self.run("--version").stdout

    def fault(self, text, output=""):
        self.faults.append(text)
        print(f"FAULT: {text}\n{output}")

    def source(self, name, text):
        path = self.work / name
        path.write_text(text, encoding="utf-8")
        return path

    def headers(self):
        """The public headers that this compiler can use, as they are included."""
        all_headers = [path.relative_to(self.include) for path in sorted((self.include / "cistern").rglob("*.hpp"))]
        return [path for path in all_headers if "detail" not in path.parts and path.stem != "buffer_fmt"]


# --- one line says that it can't be ----------------------------------------------------------------------------------


def refuses(build, headers, flags, message):
    """Each of the headers, alone, is refused by exactly one #error, and the compiler stops there."""
    for header in headers:
        result = build.run(f"-I{build.include}", *flags, "-fsyntax-only",
                           build.source("one.cpp", f"#include <{header}>\nint main() {{}}\n"))
        errors = [line for line in result.stdout.splitlines() if "error:" in line]
        if len(errors) != 2 or message not in errors[0] or "see_the_error_above" not in errors[1]:
            build.fault(f"{header} with {' '.join(flags)} does not say just '{message}'", result.stdout[:2000])


def refusals(build):
    headers = build.headers()
    if not build.is_clang():  # It takes long to start.
        refuses(build, headers, ["-std=c++17"], "cistern needs C++20")
    for flag, message in (("-std=c++17", "cistern needs C++20"), ("-std=c++11", "cistern needs C++20"),
                          ("-m32", "cistern needs a 64-bit target"),
                          ("-fno-exceptions", "cistern reports failures by exceptions")):
        refuses(build, headers[::8], [flag], message)
    if "-fexperimental-library" in build.compiler:
        build.compiler.remove("-fexperimental-library")
        refuses(build, STOP_TOKEN_HEADERS, [], "cistern's object pools need std::stop_token")
        rest = "".join(f"#include <{header}>\n" for header in headers if str(header) not in STOP_TOKEN_HEADERS)
        result = build.run(f"-I{build.include}", "-fsyntax-only", build.source("rest.cpp", rest))
        if result.returncode != 0:
            build.fault("what needs no stop token does not compile without it", result.stdout[:2000])


# --- no warning ------------------------------------------------------------------------------------------------------


def warnings(build):
    for flags in (["-O0"], ["-O2", "-fno-rtti"]):
        program = build.work / "every_template"
        steps = ([*build.compiler, *WARNINGS, *flags, f"-I{build.include}", "-c", HERE / "every_template.cpp", "-o", "e.o"],
                 [*build.compiler, "e.o", build.library, "-pthread", "-o", program], [program])
        for step in steps:
            result = build.run(*step, compiler=[])
            if result.returncode != 0:
                build.fault(" ".join(map(str, step)), result.stdout[:4000])
                break


# --- programs and libraries that don't fit -----------------------------------------------------------------------------

PROGRAM = """#include <cistern/unsynchronized_pool_resource.hpp>
int main() {
  cistern::unsynchronized_pool_resource pool;
  pool.deallocate(pool.allocate(100), 100);
  return pool.statistics().in_use_bytes == 0 ? 0 : 1;
}
"""
VERSION = "cistern_headers_0_1_need_library_0_1"
OTHER_VERSION = "cistern_headers_0_2_need_library_0_2"
LINKS = (["-O0"], ["-O2", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"], ["-O2", "-flto"])


def mismatches(build):
    program = build.source("program.cpp", PROGRAM)
    unused = build.source("unused.cpp", "#include <cistern/bad_allocation.hpp>\nint main() {}\n")
    cases = []
    for mode in ("CISTERN_CHECKED", "CISTERN_HARDENED"):
        is_on = f"-D{mode}=1" in build.compiler
        cases.append(([f"-U{mode}"] if is_on else [f"-D{mode}=1"],
                      f"cistern_program_{'without' if is_on else 'with'}_{mode}_needs"))
    if "-stdlib=libc++" not in build.compiler:
        debug = "-D_GLIBCXX_DEBUG" in build.compiler
        cases.append((["-U_GLIBCXX_DEBUG"] if debug else ["-D_GLIBCXX_DEBUG"],
                      f"cistern_program_{'without' if debug else 'with'}_GLIBCXX_DEBUG_needs"))
    for link in LINKS:
        if "-flto" in link and build.run(*link, build.source("empty.cpp", "int main() {}\n")).returncode != 0:
            continue
        expect_link(build, program, link, None)
        for flags, name in cases:
            expect_link(build, unused, link + flags, name)
    for flags, name in cases:
        expect_link(build, program, LINKS[0] + flags, name)

    other = build.work / "other_version"
    shutil.copytree(build.include, other)
    abi = other / "cistern/detail/base/abi.hpp"
    abi.write_text(abi.read_text(encoding="utf-8").replace(VERSION, OTHER_VERSION), encoding="utf-8")
    expect_link(build, program, LINKS[0], OTHER_VERSION, include=other)
    two_libraries(build, other)
    every_header_refers(build)


def expect_link(build, program, flags, missing, include=None):
    """The program links if nothing is `missing`, or else the linker names that and nothing of another name."""
    result = build.run(f"-I{include or build.include}", program, *flags, build.library, "-pthread", "-o", "program")
    named = set(re.findall(r"undefined (?:reference to|symbol:?) [`']?(cistern\w+)", result.stdout))
    if missing is None:
        if result.returncode != 0:
            build.fault(f"{program.name} with {' '.join(flags)} does not link", result.stdout[:2000])
    elif result.returncode == 0 or len(named) != 1 or not named.pop().startswith(missing):
        build.fault(f"{program.name} with {' '.join(flags)} is not refused for {missing}", result.stdout[:2000])


def two_libraries(build, other):
    """Static libraries of two versions in one program, whose parts include the headers of one each."""
    source = HERE.parent.parent / "src/base/abi.cpp"
    parts = []
    for number, include in enumerate((build.include, other)):
        for name, text in (("library", source.read_text(encoding="utf-8")),
                           ("part", f"#include <cistern/bad_allocation.hpp>\nvoid part{number}() {{}}\n")):
            made = build.source(f"{name}{number}.cpp", text)
            flags = ["-DCISTERN_LIBRARY_SOURCE=1"] if name == "library" else []
            build.run("-c", f"-I{include}", *flags, made, "-o", made.with_suffix(".o"))
            parts.append(made.with_suffix(".o"))
    result = build.run(build.source("main.cpp", "int main() {}\n"), *parts, "-o", "program")
    if "cistern_only_one_version_of_the_library_fits_into_a_program" not in result.stdout:
        build.fault("two versions of the library are linked into one program", result.stdout[:2000])


def every_header_refers(build):
    """Who includes a header with a compiled part refers to the symbols, whatever else he does."""
    for header in build.headers():
        if header.stem in INLINE or "testing" in header.parts:
            continue
        result = build.run(f"-I{build.include}", "-M", build.source("one.cpp", f"#include <{header}>\n"))
        if "cistern/detail/base/abi.hpp" not in result.stdout:
            build.fault(f"{header} does not include cistern/detail/base/abi.hpp", result.stdout[-2000:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("refusals", "warnings", "mismatches"))
    parser.add_argument("--library", required=True, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--include", type=lambda text: pathlib.Path(text).resolve(),
                        default=HERE.parent.parent / "include")
    parser.add_argument("compiler", nargs="+")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        build = Build(arguments, work)
        globals()[arguments.command](build)
    print(f"{arguments.command}: {len(build.faults)} faults")
    return 1 if build.faults else 0


if __name__ == "__main__":
    sys.exit(main())
