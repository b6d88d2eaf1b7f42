#!/usr/bin/env python3
"""Counts which of mimalloc-bench's security programs a malloc stops: each makes one mistake, and says NOT_CAUGHT.

    security_tests.py FOLDER NAME=LIBRARY... [--csv FILE]

FOLDER is bench/security of a copy of https://github.com/daanx/mimalloc-bench; each LIBRARY is preloaded. Programs are
compiled as there, with -O3. Prints how many each malloc stops, one line for each; --csv has every program.
Exit status: 0; 1 when a program can't be compiled; 2 wrong usage.
"""

import argparse
import csv
import os
import pathlib
import subprocess
import sys
import tempfile

SIZES = {"small": "8", "medium": "4096", "large": "256*1024"}
C = ["gcc", "-O3", "-DNDEBUG", "-w", "-fno-inline", "-fno-builtin-inline", "-fno-inline-small-functions",
     "-fno-ipa-pure-const"]
CXX = ["g++", "-O3", "-DNDEBUG", "-w", "-std=c++17", "-fsized-deallocation", "-DALLOCATION_SIZE=4096"]
LIMIT_SECONDS = 30


def builds(folder):
    """(program, command without its output) for each."""
    for source in sorted(folder.glob("*.c")):
        for name, size in SIZES.items():
            yield f"{source.stem}_{name}", [*C, f"-DALLOCATION_SIZE={size}", source]
    for source in sorted(folder.glob("*.cc")):
        yield source.stem, [*CXX, source]


def is_stopped(program, library):
    """Programs that hang have not said it either."""
    try:
        output = subprocess.run([program], env={**os.environ, "LD_PRELOAD": str(library)}, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=LIMIT_SECONDS,
                                check=False).stdout
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
    return b"NOT_CAUGHT" not in output


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("mallocs", nargs="+", metavar="NAME=LIBRARY")
    parser.add_argument("--csv", type=pathlib.Path)
    arguments = parser.parse_args()
    mallocs = dict(each.split("=", 1) if "=" in each else (each, "") for each in arguments.mallocs)
    commands = list(builds(arguments.folder))
    if not commands:
        parser.error(f"{arguments.folder} holds no programs")
    for library in mallocs.values():
        if not pathlib.Path(library).is_file():
            parser.error(f"there is no library '{library}'")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, command in commands:
            program = pathlib.Path(scratch) / name
            if subprocess.run([*command, "-o", program], check=False).returncode != 0:
                return f"{name} can't be compiled"
            rows.append([name, *("stopped" if is_stopped(program, library) else "passed" for library in mallocs.values())])
            print(f"\r{len(rows)} of {len(commands)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for column, name in enumerate(mallocs, 1):
        print(f"{name}: {sum(row[column] == 'stopped' for row in rows)} of {len(rows)} stopped")
    if arguments.csv:
        with open(arguments.csv, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([["program", *mallocs], *rows])
    return 0


if __name__ == "__main__":
    sys.exit(main())
