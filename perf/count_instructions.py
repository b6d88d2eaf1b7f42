#!/usr/bin/env python3
"""Counts the instructions of the pools' paths with callgrind, and compares them with the recorded counts.

A count is what one call through std::pmr::memory_resource* executes from the first instruction of
do_allocate or do_deallocate to its return, everything it calls included, averaged over 800 calls
that all take the fast path; or, where it is called a rise, over 10,000 allocations after as many blocks were
freed in random order, slow paths included. An inlined count is what pool_allocator makes of it in a function that does
nothing else, its return included; that of a life is a pool's whole one over new/delete, over 100 of them. The counts are
exact and repeatable for one compiler. Of the standard's pools the lives are counted as well, but not recorded.

With --guarded the pools have a sampled guard for one allocation in 1,000, and the average is over 500,000 calls, what
guarding takes included. As chance says which ones are guarded, these counts differ by some per mille, and aren't recorded.

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

POOLS = ("unsynchronized", "synchronized")
STANDARD_POOLS = tuple(f"standard_{pool}" for pool in POOLS)
# What the program is told after the resource's name → the functions whose calls are counted, how many each makes.
SCENES = {"": (("allocate", "deallocate"), 800), "-rise": (("rise",), 10_000)}
INLINED_SCENES = {"-inlined": (("inlined_allocate", "inlined_deallocate"), 800)}
LIFE_SCENES = {"-life": (("life_of_nothing", "life_of_one_block", "life_of_ten_sizes"), 100)}
GUARDED_SCENES = {"-guarded": (("allocate", "deallocate"), 500_000)}
RECORDED = ((("floor",), SCENES), (POOLS, SCENES | LIFE_SCENES), (("unsynchronized",), INLINED_SCENES))
SKIPPED = 77
# A rise and a life have the upstream's instructions in them, of which another C library takes some more or fewer.
UPSTREAM_TOLERANCE = 1.02


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True, type=pathlib.Path, help="the built instruction_count")
    parser.add_argument("--counts", type=pathlib.Path, help="instruction_counts.json; without it counts are only printed")
    parser.add_argument("--compiler", help='key of the recorded counts, such as "GNU-12-x86_64"')
    parser.add_argument("--update", action="store_true", help="record the counts instead of comparing")
    parser.add_argument("--guarded", action="store_true", help="count pools with a sampled guard; only printed")
    arguments = parser.parse_args()
    if (arguments.counts is None) != (arguments.compiler is None) or (arguments.update and arguments.counts is None):
        parser.error("--counts and --compiler go together, and --update needs them")
    if arguments.guarded and arguments.counts is not None:
        parser.error("counts of guarded pools are not recorded")
    return arguments


def run_callgrind(valgrind, program, scene):
    """Returns callgrind's output for one run of the program."""
    environment = {"PATH": os.defpath}  # always the same, as a pool looks through it when it begins
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder, "callgrind.out")
        command = [valgrind, "--tool=callgrind", "--compress-strings=no", "--compress-pos=no",
                   f"--callgrind-out-file={output}", str(program), scene]
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


def count_all(valgrind, program, counted):
    counts = {}
    for resource, suffix, (operations, expected_calls) in (
            (resource, *scene) for resources, scenes in counted for resource in resources for scene in scenes.items()):
        profile = run_callgrind(valgrind, program, resource + suffix)
        for operation in operations:
            calls, instructions = cost_of_calls(profile, "measured_" + operation)
            if calls != expected_calls:
                raise RuntimeError(f"callgrind saw {calls} calls of {resource} {operation} instead of {expected_calls}")
            average = round(instructions / calls, 2 if instructions < 1_000 * calls else None)
            counts[f"{resource} {operation}".replace("_", " ")] = int(average) if average == int(average) else average
    return counts


def has_upstream(path):
    return path.endswith(" rise") or " life " in path


def compare(counts, recorded):
    """Prints both; returns whether nothing grew."""
    good = True
    for path, count in counts.items():
        before = recorded.get(path)
        most = None if before is None else before * (UPSTREAM_TOLERANCE if has_upstream(path) else 1)
        verdict = "as recorded" if count == before else "not recorded"
        if before is not None and count != before:
            verdict = f"{'GREW' if count > most else 'within bounds' if count > before else 'fell'}, recorded {before}"
        good = good and before is not None and count <= most
        print(f"{path:44} {count:8} instructions  {verdict}")
    return good


def main():
    arguments = parse_arguments()
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        print("skipped: counting instructions needs valgrind, which isn't installed")
        return SKIPPED
    if arguments.counts is None:
        counted = ((POOLS, GUARDED_SCENES),) if arguments.guarded else (*RECORDED, (STANDARD_POOLS, LIFE_SCENES))
        for path, count in count_all(valgrind, arguments.program, counted).items():
            print(f"{path:44} {count:8} instructions")
        return 0
    recorded = json.loads(arguments.counts.read_text(encoding="utf-8")) if arguments.counts.exists() else {}
    if not arguments.update and arguments.compiler not in recorded:
        print(f"skipped: {arguments.counts} has no counts for {arguments.compiler}; record them with --update")
        return SKIPPED
    counts = count_all(valgrind, arguments.program, RECORDED)
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
