#!/usr/bin/env python3
"""Runs the standard libraries' own tests of their pool resources with Cistern's pools in their place.

standard_suites.py --library FILE CHECKOUT... [-- COMPILER [FLAG...]]

A CHECKOUT is a folder with the sources of GCC (libstdc++-v3/testsuite) or LLVM (libcxx/test): all of them, or only those
folders. Each test is compiled as it is, behind a header that lets the names of std::pmr's two pools mean ours (which
the standard doesn't allow, but compilers do), and must exit with 0. It is compiled without that header as well: a test that
the standard library's own pools fail here says nothing about ours. COMPILER is `c++ -std=c++20 -pthread` if none is given;
FILE is a libcistern.a that was built for it (of a build that isn't checked, or with -DCISTERN_CHECKED=1 among the flags).

Prints a table; what goes wrong with ours comes behind it. Exit status: 0 ours passes all; 1 it doesn't; 2 wrong usage.
"""
import argparse
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TIME_LIMIT_SECONDS = 120
# A suite's folder in a checkout → where its tests are, what they are called, and where its own headers are.
SUITES = {
    "libstdc++-v3/testsuite": ("20_util/*synchronized_pool_resource", "*.cc", "util"),
    "libcxx/test": ("std/utilities/utility/mem.res/mem.res.pool/*", "*.pass.cpp", "support"),
}
SUBSTITUTE = """\
#define synchronized_pool_resource standard_synchronized_pool_resource
#define unsynchronized_pool_resource standard_unsynchronized_pool_resource
#include <memory_resource>
#undef synchronized_pool_resource
#undef unsynchronized_pool_resource

#include <cistern/synchronized_pool_resource.hpp>
#include <cistern/unsynchronized_pool_resource.hpp>

namespace std::pmr {
using cistern::synchronized_pool_resource;
using cistern::unsynchronized_pool_resource;
}  // namespace std::pmr
"""


def tests_in(checkout):
    """(the test's name, its file, the folder of its suite's headers) of all suites in a checkout."""
    for folder, (places, pattern, headers) in SUITES.items():
        for file in sorted((checkout / folder).glob(f"{places}/{pattern}")):
            yield str(file.relative_to(checkout / folder)), file, checkout / folder / headers


def fault(file, headers, substitute, program, arguments):
    """An empty string, or what is wrong: the test is compiled and run, with our pools if `substitute` names a header."""
    ours = ["-include", str(substitute), "-I", str(ROOT / "include")] if substitute else []
    library = [str(arguments.library)] if substitute else []
    command = [*arguments.compiler, "-w", *ours, "-I", str(headers), str(file), *library, "-o", str(program)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CISTERN_")}
    for step, what in ((command, "doesn't compile"), ([str(program)], "fails")):
        try:
            done = subprocess.run(step, capture_output=True, text=True, env=environment, errors="replace",
                                  timeout=TIME_LIMIT_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return f"{what}: takes more than {TIME_LIMIT_SECONDS} seconds"
        if done.returncode != 0:
            return f"{what} ({done.returncode})\n{done.stdout}{done.stderr}".rstrip()
    return ""


def run_all(tests, work, arguments):
    substitute = work / "our_pools.hpp"
    substitute.write_text(SUBSTITUTE, encoding="utf-8")
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        jobs = [[workers.submit(fault, file, headers, header, work / f"test_{number}_{side}", arguments)
                 for side, header in enumerate((substitute, None))]
                for number, (_, file, headers) in enumerate(tests)]
        return [[job.result() for job in pair] for pair in jobs]


def parse_arguments():
    own, compiler = sys.argv[1:], ["c++", "-std=c++20", "-pthread"]
    if "--" in own:
        own, compiler = own[:own.index("--")], own[own.index("--") + 1:]
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("checkouts", nargs="+", type=pathlib.Path)
    parser.add_argument("--library", required=True, type=pathlib.Path)
    arguments = parser.parse_args(own)
    arguments.compiler = compiler
    return parser, arguments


def main():
    parser, arguments = parse_arguments()
    tests = [test for checkout in arguments.checkouts for test in tests_in(checkout.resolve())]
    if not tests:
        parser.error("no test of pool resources in any of these folders")
    with tempfile.TemporaryDirectory() as work:
        faults = run_all(tests, pathlib.Path(work), arguments)
    width = max(len(name) for name, _, _ in tests)
    print(f"{'':{width}}  ours  the standard library's")
    for (name, _, _), (ours, standards) in zip(tests, faults):
        print(f"{name:{width}}  {'FAIL' if ours else 'pass'}  {'FAIL' if standards else 'pass'}")
    for (name, _, _), (ours, _) in zip(tests, faults):
        if ours:
            print(f"\n{name} {ours}")
    failed = [sum(bool(pair[side]) for pair in faults) for side in (0, 1)]
    print(f"\n{len(tests)} tests: ours passes {len(tests) - failed[0]}, the standard library's {len(tests) - failed[1]}")
    return 1 if failed[0] else 0


if __name__ == "__main__":
    sys.exit(main())
