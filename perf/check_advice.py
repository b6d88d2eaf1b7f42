#!/usr/bin/env python3
"""Takes the advice that cistern-trace gives on programs whose right advice is known, and looks whether that gains what
it said, within a third in the median turn. check_advice.py TOOL PROGRAMS [TURNS [RUNS]]

TOOL: cistern-trace of a release build; PROGRAMS: advice_programs of the same. RUNS: how often all of it is done. Times
are of the processor, but for "messages", whose threads wait for each other: on a machine that does nothing else."""
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile

# So many short runs, each of one of so many parts. A lock of malloc's is contended only after a while: whole runs.
PARTS, PAIRS = 5, 25
WHOLE = {"messages"}
FIRST = {
    "temporaries": ("small_buffer",),
    "growing_vectors": ("reserve",),
    "cache": ("pool_for_sites", "pool"),
    "messages": ("pool_for_sites", "pool"),
    "one_shot": ("monotonic_for_sites", "monotonic"),
    "free_of_allocations": ("no_pool_needed",),
}


def record(tool, programs, name, trace):
    subprocess.run([tool, "record", "--quiet", "--stacks", "-o", trace, programs, name], check=True, stdout=subprocess.DEVNULL)


def advice_on(tool, trace):
    figures = trace.with_suffix(".json")
    subprocess.run([tool, "advise", "--json", figures, trace], check=True, stdout=subprocess.DEVNULL)
    return json.loads(figures.read_text())


def seconds(programs, *arguments):
    return int(subprocess.run([programs, *arguments], check=True, capture_output=True).stdout) / 1e9


def gain_of(programs, name):
    """Of short runs before the change and after it, in turns, as machines have two speeds, each for some seconds."""
    parts = 1 if name in WHOLE else PARTS
    pairs = ([seconds(programs, name, form, str(parts)) for form in ("as-it-is", "changed")] for _ in range(PAIRS))
    return statistics.median(before - after for before, after in pairs) * parts


def turn_of(tool, programs, name, trace):
    """What the advice says is gained, and what is, one right after the other."""
    said = [each["gain_nanoseconds"]["median"] / 1e9 for each in advice_on(tool, trace)["advices"] if each["kind"] in FIRST[name]]
    return said[0] if said else math.inf, gain_of(programs, name)


def check(tool, programs, name, turns):
    """Whether all is as it should be, and a line that says so."""
    with tempfile.TemporaryDirectory() as folder:
        trace = pathlib.Path(folder) / "trace"
        record(tool, programs, name, trace)
        advice = advice_on(tool, trace)
        verdict, said, gained = advice["verdict"], "", ""
        is_right = verdict in FIRST[name]
        if is_right and advice["advices"]:
            pairs = [turn_of(tool, programs, name, trace) for _ in range(turns)]
            said, gained = (f"{statistics.median(each) * 1e3:.1f} ms" for each in zip(*pairs))
            part = statistics.median(found / expected for expected, found in pairs)
            gained += f" {part:>12.2f}"
            is_right = 2 / 3 <= part <= 3 / 2
    return is_right, f"{name:<20} {verdict:<20} {said:>13} {gained:>23}{'' if is_right else '  wrong'}"


def main():
    tool, programs = sys.argv[1:3]
    turns, runs = (int(each) for each in (sys.argv[3:] + ["5", "1"][len(sys.argv) - 3:]))
    wrong = 0
    for _ in range(runs):
        print(f"{'program':<20} {'first advice':<20} {'said to gain':>13} {'gains':>10} {'of what said':>12}")
        for name in FIRST:
            is_right, line = check(tool, programs, name, turns)
            wrong += not is_right
            print(line, flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
