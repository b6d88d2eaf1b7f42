#!/usr/bin/env python3
"""Runs the tests of a build with clang's coverage (preset coverage), and prints what they reach of include and src.

    coverage.py BUILD [--tests PATTERN] [--least PERCENT] [--uncovered]

      --tests PATTERN    of the tests that are built, those that fit (default: all)
      --least PERCENT    exit code 1 if fewer lines are reached
      --uncovered        names the lines that aren't

What a process runs that ends by a signal or by _exit isn't seen: the children of tests that see a program die.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def tool(name, version):
    """llvm's tools read the profiles of their own version."""
    for each in (f"{name}-{version}", name):
        if shutil.which(each):
            return each
    sys.exit(f"{name} is missing (Debian package llvm)")


def compiler_version(build):
    cache = (build / "CMakeCache.txt").read_text(encoding="utf-8")
    compiler = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache, re.MULTILINE).group(1)
    said = subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True).stdout
    return re.search(r"clang version (\d+)", said).group(1)


def run_tests(build, profiles, pattern):
    shutil.rmtree(profiles, ignore_errors=True)
    profiles.mkdir(parents=True)
    environment = {**os.environ, "LLVM_PROFILE_FILE": str(profiles / "%4m.profraw")}
    return subprocess.run(["ctest", "--test-dir", build, "-R", pattern, "--output-on-failure", "--no-tests=error"],
                          env=environment, check=False).returncode


def built_programs(build):
    """What the tests may have run, with the library in it."""
    found = [path for folder in ("test", "src") for path in (build / folder).rglob("*")
             if path.is_file() and os.access(path, os.X_OK) and path.suffix in ("", ".so")]
    return [path for path in found if path.read_bytes().find(b"__llvm_covmap") >= 0]


def reached(build, profiles, version):
    """llvm's account of each file: [{filename, summary, segments}]."""
    merged = profiles / "merged.profdata"
    subprocess.run([tool("llvm-profdata", version), "merge", "-sparse", "-o", merged, *sorted(profiles.glob("*.profraw"))],
                   check=True)
    programs = built_programs(build)
    objects = [word for path in programs[1:] for word in ("-object", path)]
    said = subprocess.run([tool("llvm-cov", version), "export", "-instr-profile", merged, programs[0], *objects,
                           ROOT / "include", ROOT / "src"], check=True, capture_output=True, text=True).stdout
    return json.loads(said)["data"][0]["files"]


def unreached_lines(one):
    """From llvm's segments (line, column, count, has count, ...): the lines that begin inside a count of zero."""
    lines = set()
    for here, after in zip(one["segments"], one["segments"][1:]):
        if here[3] and here[2] == 0 and not (len(here) > 5 and here[5]):
            lines |= set(range(here[0], after[0] + (1 if after[0] == here[0] else 0)))
    return sorted(lines)


def in_ranges(lines):
    parts = []
    for line in lines:
        if parts and parts[-1][1] == line - 1:
            parts[-1][1] = line
        else:
            parts.append([line, line])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


class Sum:
    def __init__(self):
        self.counts = collections.Counter()

    def add(self, summary):
        for what in ("lines", "branches"):
            self.counts[what] += summary[what]["count"]
            self.counts[what, "covered"] += summary[what]["covered"]

    def percent(self, what):
        return 100 * self.counts[what, "covered"] / self.counts[what] if self.counts[what] else 100

    def row(self, name):
        cells = [f"{self.percent(what):6.1f} % of {self.counts[what]:6}" for what in ("lines", "branches")]
        return f"{name:52} {cells[0]}   {cells[1]}"


def report(files, with_lines):
    total, folders, rows = Sum(), {}, {}
    for one in files:
        path = pathlib.Path(one["filename"]).resolve()
        if not path.is_relative_to(ROOT):
            continue
        name = path.relative_to(ROOT)
        rows[name] = Sum()
        for each in (rows[name], folders.setdefault(name.parent, Sum()), total):
            each.add(one["summary"])
        if with_lines and unreached_lines(one):
            print(f"{name}: {in_ranges(unreached_lines(one))}")
    print(f"\n{'':52} {'lines':19}   branches")
    for name in sorted(rows):
        print(rows[name].row(str(name)))
    print()
    for name in sorted(folders):
        print(folders[name].row(str(name)))
    print(total.row("all"))
    return total.percent("lines")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--tests", default=".")
    parser.add_argument("--least", type=float, default=0)
    parser.add_argument("--uncovered", action="store_true")
    arguments = parser.parse_args()
    arguments.build = arguments.build.resolve()
    profiles = arguments.build / "profiles"
    failed = run_tests(arguments.build, profiles, arguments.tests)
    percent = report(reached(arguments.build, profiles, compiler_version(arguments.build)), arguments.uncovered)
    if percent < arguments.least:
        print(f"fewer than {arguments.least} % of lines are reached")
    return 1 if failed or percent < arguments.least else 0


if __name__ == "__main__":
    sys.exit(main())
