#!/usr/bin/env python3
"""What recording costs: the same programs plain, recorded in several ways, and under heaptrack, in interleaved rounds.

Prints a Markdown table: processor time over that of the plain run of the same round, the median of all rounds. Programs
that aren't installed, and heaptrack, are left out with a message. Exit status: 0; 1 when a program failed; 2 wrong usage.
"""

import argparse
import csv
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True  # nothing is left in the sources' folder
from programs import (CXX_PROGRAM, GIT_CONFIG, LIMIT_SECONDS, PERL_PROGRAM, PYTHON_PROGRAM, SQL_PROGRAM, Failure, environment_in,
                      make_repository)
from record_traces import compiler_proper

WAYS = {"plain": None, "record": [], "stacks": ["--stacks"], "paused": ["--paused"], "sample": ["--sample", "512K"],
        "sample-stacks": ["--sample", "512K", "--stacks"], "heaptrack": None}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tool", type=pathlib.Path, help="the built cistern-trace, of a release")
    parser.add_argument("--rounds", type=int, default=7, help="rounds (default 7)")
    parser.add_argument("--only", default="", help="A,B,...: only these programs (see --list)")
    parser.add_argument("--ways", default=",".join(WAYS), help="A,B,... of " + ", ".join(WAYS))
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, one round")
    parser.add_argument("--csv", type=pathlib.Path, help="write every run")
    parser.add_argument("--markdown", type=pathlib.Path, help="write the table there too")
    parser.add_argument("--list", action="store_true", help="print the names of programs and ways")
    arguments = parser.parse_args()
    if arguments.tool is None and not arguments.list:
        parser.error("--tool is needed, but for --list")
    if arguments.rounds < 1:
        parser.error("--rounds is at least 1")
    if unknown := set(arguments.ways.split(",")) - set(WAYS):
        parser.error(f"no way called {', '.join(sorted(unknown))}")
    if unknown := set(filter(None, arguments.only.split(","))) - set(programs(1)):
        parser.error(f"no program called {', '.join(sorted(unknown))}")
    return arguments


def programs(work):
    """Name → command, what its environment has more. Each is one process: what it starts isn't recorded."""
    git = ("git", "-C", "repository", *GIT_CONFIG)
    return {
        "git-grep": ([*git, "grep", "--threads=1", "-c", "[0-9]*7[a-f]"], {}),
        "git-log": ([*git, "log", "--stat", "-p"], {}),
        "g++": ([compiler_proper(), "-fpreprocessed", "-quiet", "-std=c++17", "-O1", "unit.ii", "-o", "unit.s"], {}),
        "perl": (["perl", "work.pl", str(max(1, work // 3))], {}),
        "python3": ([sys.executable, "work.py", str(max(1, work // 5))], {}),
        "python3-malloc": ([sys.executable, "work.py", str(max(1, work // 5))], {"PYTHONMALLOC": "malloc"}),
        "sqlite3": (["sqlite3", "-batch", ":memory:", ".read work.sql"], {}),
    }


def make_inputs(folder, work, environment):
    (folder / "work.py").write_text(PYTHON_PROGRAM)
    (folder / "work.pl").write_text(PERL_PROGRAM)
    (folder / "work.sql").write_text(SQL_PROGRAM.format(rows=4_000 * work))
    (folder / "unit.cpp").write_text(CXX_PROGRAM)
    if shutil.which("g++"):
        subprocess.run(["g++", "-std=c++17", "-E", "-o", "unit.ii", "unit.cpp"], cwd=folder, env=environment, check=True)
    if shutil.which("git"):
        make_repository(folder, environment)


def command_of(way, tool, command):
    if way == "plain":
        return command
    if way == "heaptrack":
        return ["heaptrack", "-o", "heap", *command]
    return [str(tool), "record", "--quiet", "-o", "cost.trace", *WAYS[way], "--", *command]


def run(way, tool, command, folder, environment):
    """Processor and wall seconds of the program and of all that it takes to record it."""
    for old in [*folder.glob("cost.trace*"), *folder.glob("heap*")]:
        old.unlink()
    before, began = os.times(), time.monotonic()
    done = subprocess.run(command_of(way, tool, command), cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, timeout=LIMIT_SECONDS)
    wall, after = time.monotonic() - began, os.times()
    if done.returncode != 0:
        raise Failure(f"{way}: {command[0]} ended with status {done.returncode}:\n{done.stderr.decode(errors='replace')[:1000]}")
    made = [*folder.glob("cost.trace*"), *folder.glob("heap*")]
    if way != "plain" and not made:
        raise Failure(f"{way}: {command[0]} left no recording")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"cpu_seconds": cpu, "wall_seconds": wall, "bytes": sum(each.stat().st_size for each in made)}


def measure(arguments, folder):
    """Every run: program, way, round, and what came of it."""
    environment = environment_in(folder)
    work, rounds = (1, 1) if arguments.quick else (10, arguments.rounds)
    make_inputs(folder, work, environment)
    ways = [way for way in WAYS if way in arguments.ways.split(",") or way == "plain"]
    if "heaptrack" in ways and shutil.which("heaptrack") is None:
        print("left out: heaptrack (not installed)", file=sys.stderr)
        ways.remove("heaptrack")
    chosen = {}
    for name, (command, more) in programs(work).items():
        if arguments.only and name not in arguments.only.split(","):
            continue
        if command[0] is None or shutil.which(command[0]) is None:
            print(f"left out: {name} (not installed)", file=sys.stderr)
        else:
            chosen[name] = (command, more)
    runs = []
    for number in range(1, rounds + 1):
        for name, (command, more) in chosen.items():
            for shift in range(len(ways)):  # none is always the first
                way = ways[(shift + number) % len(ways)]
                result = run(way, arguments.tool.resolve(), command, folder, {**environment, **more})
                runs.append({"program": name, "way": way, "round": number, **result})
        print(f"round {number} of {rounds}", file=sys.stderr)
    return runs


def ratios(runs, name, way):
    def seconds(of):
        return {each["round"]: each["cpu_seconds"] for each in runs if (each["program"], each["way"]) == (name, of)}
    plain = seconds("plain")
    return [value / max(plain[number], 0.001) for number, value in seconds(way).items()]


def table(runs):
    names, ways = (list(dict.fromkeys(each[key] for each in runs)) for key in ("program", "way"))
    ways = [way for way in WAYS if way in ways and way != "plain"]
    lines = ["| program | plain, s | " + " | ".join(ways) + " |", "| --- " * (2 + len(ways)) + "|"]
    for name in names:
        plain = statistics.median(each["cpu_seconds"] for each in runs if (each["program"], each["way"]) == (name, "plain"))
        cells = []
        for way in ways:
            of = ratios(runs, name, way)
            cells.append(f"{statistics.median(of):.2f} ({min(of):.2f} to {max(of):.2f})")
        lines.append(f"| {name} | {plain:.2f} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    arguments = parse_arguments()
    if arguments.list:
        print("\n".join([*programs(1), *WAYS]))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        runs = measure(arguments, pathlib.Path(folder))
    text = f"Processor time over that of the plain run; median (smallest to largest). {platform.platform()}\n\n{table(runs)}"
    print(text, end="")
    if arguments.markdown:
        arguments.markdown.write_text(text)
    if arguments.csv:
        with arguments.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(runs[0]))
            writer.writeheader()
            writer.writerows(runs)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, Failure, subprocess.SubprocessError) as error:
        print(f"recorder_cost.py: {error}", file=sys.stderr)
        sys.exit(1)
