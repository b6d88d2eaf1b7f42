#!/usr/bin/env python3
"""Counts the instructions of the pools' fast paths with callgrind, and compares them with the recorded counts.

A count is what one call through std::pmr::memory_resource* executes from the first instruction of
do_allocate or do_deallocate to its return, everything it calls included, averaged over 800 calls
that all take the fast path. The counts are exact and repeatable for one compiler.

Exit status: 0 no count grew; 1 one did, or something failed; 2 wrong usage; 77 can't count here.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

RESOURCES = ("floor", "unsynchronized", "synchronized")
OPERATIONS = ("allocate", "deallocate")
SKIPPED = 77


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True, type=pathlib.Path, help="the built instruction_count")
    parser.add_argument("--counts", required=True, type=pathlib.Path, help="instruction_counts.json")
    parser.add_argument("--compiler", required=True, help='key of the recorded counts, such as "GNU-12-x86_64"')
    parser.add_argument("--update", action="store_true", help="record the counts instead of comparing")
    return parser.parse_args()


def run_callgrind(valgrind, program, resource):
    """Returns callgrind's output for one run of the program."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CISTERN_")}
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder, "callgrind.out")
        command = [valgrind, "--tool=callgrind", "--compress-strings=no", "--compress-pos=no",
                   f"--callgrind-out-file={output}", str(program), resource]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
        return output.read_text(encoding="utf-8", errors="replace")


def cost_of_calls(profile, function):
    """Returns (calls, instructions in them) of all the calls that `function` makes."""
    calls = instructions = 0
    inside = call_cost_follows = False
    for line in profile.splitlines():
        if line.startswith("fn="):
            inside = re.sub(r"^\(\d+\) ", "", line[3:]).strip() == function
        elif line.startswith("calls=") and inside:
            calls += int(line[6:].split()[0])
            call_cost_follows = True
        elif call_cost_follows:
            instructions += int(line.split()[-1])
            call_cost_follows = False
    return calls, instructions


def count_all(valgrind, program):
    counts = {}
    for resource in RESOURCES:
        profile = run_callgrind(valgrind, program, resource)
        for operation in OPERATIONS:
            calls, instructions = cost_of_calls(profile, "measured_" + operation)
            if calls != 800:
                raise RuntimeError(f"callgrind saw {calls} calls of {resource} {operation} instead of 800")
            average = instructions / calls
            counts[f"{resource} {operation}"] = int(average) if average == int(average) else average
    return counts


def compare(counts, recorded):
    """Prints both; returns whether nothing grew."""
    good = True
    for path, count in counts.items():
        before = recorded.get(path)
        verdict = "as recorded" if count == before else "not recorded"
        if before is not None and count != before:
            verdict = f"{'GREW' if count > before else 'fell'}, recorded {before}"
        good = good and before is not None and count <= before
        print(f"{path:26} {count:6} instructions  {verdict}")
    return good


def main():
    arguments = parse_arguments()
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        print("skipped: counting instructions needs valgrind, which isn't installed")
        return SKIPPED
    recorded = json.loads(arguments.counts.read_text(encoding="utf-8")) if arguments.counts.exists() else {}
    if not arguments.update and arguments.compiler not in recorded:
        print(f"skipped: {arguments.counts} has no counts for {arguments.compiler}; record them with --update")
        return SKIPPED
    counts = count_all(valgrind, arguments.program)
    good = compare(counts, recorded.get(arguments.compiler, {}))
    if arguments.update:
        recorded[arguments.compiler] = counts
        arguments.counts.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        print(f"recorded in {arguments.counts}")
        return 0
    if not good:
        print("A fast path has grown (or is new). If that is meant, record it: build the target "
              "update_instruction_counts, and say why in the commit.")
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, RuntimeError, ValueError) as error:
        print(f"count_instructions.py: {error}", file=sys.stderr)
        sys.exit(1)
