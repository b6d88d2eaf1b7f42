#!/usr/bin/env python3
"""Takes the advice that cistern-trace gives on programs whose right advice is known, and looks whether that gains what
it said, within a third. check_advice.py TOOL PROGRAMS [ROUNDS [RUNS]]

TOOL: cistern-trace of a release build; PROGRAMS: advice_programs of the same. RUNS: how often all of it is done. Times
are of the processor, but for "messages", whose threads wait for each other: on a machine that does nothing else."""
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

FIRST = {
    "temporaries": ("small_buffer",),
    "growing_vectors": ("reserve",),
    "cache": ("pool_for_sites", "pool"),
    "messages": ("pool_for_sites", "pool"),
    "one_shot": ("monotonic_for_sites", "monotonic"),
    "free_of_allocations": ("no_pool_needed",),
}


def advice_on(tool, programs, name, folder):
    trace, figures = folder / "trace", folder / "advice.json"
    subprocess.run([tool, "record", "--quiet", "--stacks", "-o", trace, programs, name], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([tool, "advise", "--json", figures, trace], check=True, stdout=subprocess.DEVNULL)
    return json.loads(figures.read_text())


def seconds(programs, *arguments):
    return int(subprocess.run([programs, *arguments], check=True, capture_output=True).stdout) / 1e9


def gain_of(programs, name, rounds):
    """The median over rounds that have each a run before the change and one after."""
    return statistics.median(seconds(programs, name) - seconds(programs, name, "changed") for _ in range(rounds))


def check(tool, programs, name, rounds):
    """Whether all is as it should be, and a line that says so."""
    with tempfile.TemporaryDirectory() as folder:
        advice = advice_on(tool, programs, name, pathlib.Path(folder))
    verdict = advice["verdict"]
    is_right, said, gained = verdict in FIRST[name], "", ""
    if is_right and advice["advices"]:
        expected = advice["advices"][0]["gain_nanoseconds"]["median"] / 1e9
        found = gain_of(programs, name, rounds)
        said, gained = f"{expected * 1e3:.1f} ms", f"{found * 1e3:.1f} ms"
        is_right = abs(found - expected) <= max(expected, found) / 3
    return is_right, f"{name:<20} {verdict:<20} {said:>13} {gained:>10}{'' if is_right else '  wrong'}"


def main():
    tool, programs = sys.argv[1:3]
    rounds, runs = (int(each) for each in (sys.argv[3:] + ["9", "1"][len(sys.argv) - 3:]))
    wrong = 0
    for _ in range(runs):
        print(f"{'program':<20} {'first advice':<20} {'said to gain':>13} {'gains':>10}")
        for name in FIRST:
            is_right, line = check(tool, programs, name, rounds)
            wrong += not is_right
            print(line, flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
