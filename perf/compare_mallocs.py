#!/usr/bin/env python3
"""Compares mallocs on the field's benchmarks and on real programs, each by LD_PRELOAD, in turns.

Each row is a process of its own. Options and results are those of a Google Benchmark program: malloc/ROW/MALLOC, with the
time of an allocation and its free for the benchmarks and of the whole run for programs, and the counter peak_bytes, the
peak of the resident set. With --recorder it compares ways of recording: recording/PROGRAM/WAY, whose processor time counts.
docs/benchmarking.md explains the rows. Exit status: 0; 1 when a program failed; 2 wrong usage.
"""

import argparse
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True  # nothing is left in the sources' folder
from programs import LIMIT_SECONDS, Failure, drive_server, end_with, environment_in, free_port, make_inputs, single_processes

# Debian's packages; glibc is preloaded too, since a program may be linked to another malloc (redis-server is, to jemalloc).
SYSTEM_LIBRARIES = {"glibc": "libc.so.6", "mimalloc": "libmimalloc.so.2", "jemalloc": "libjemalloc.so.2",
                    "tcmalloc": "libtcmalloc_minimal.so.4"}
# What builds of these in CISTERN_PERF_PEERS are called; others as their libraries are.
PEERS = {"mimalloc": "mimalloc-newest", "jemalloc": "jemalloc-newest", "tcmalloc": "tcmalloc-google"}
SERVER = "redis-server"
# Of cistern-trace record.
WAYS = {"record": [], "stacks": ["--stacks"], "paused": ["--paused"], "sample": ["--sample", "512K"],
        "sample-stacks": ["--sample", "512K", "--stacks"]}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--malloc-bench", required=True, type=pathlib.Path, help="the built malloc_bench")
    parser.add_argument("--cistern", type=pathlib.Path, help="libcistern-malloc.so; left out if not given")
    parser.add_argument("--recorder", type=pathlib.Path, metavar="FILE", help="cistern-trace: compare ways of recording")
    parser.add_argument("--threads", type=int, default=2, help="threads of the benchmarks (default 2)")
    parser.add_argument("--quick", action="store_true", help="a third of the work")
    parser.add_argument("--benchmark_filter", default="", type=re.compile, help="a regular expression: only these")
    parser.add_argument("--benchmark_repetitions", type=int, default=5, help="default 5")
    parser.add_argument("--benchmark_list_tests", nargs="?", const="true", default="false", choices=["true", "false"])
    parser.add_argument("--benchmark_out", type=pathlib.Path, help="write every run")
    parser.add_argument("--benchmark_out_format", choices=["json"])
    arguments = parser.parse_args()
    if arguments.threads < 1 or arguments.benchmark_repetitions < 1:
        parser.error("--threads and --benchmark_repetitions are at least 1")
    return arguments


def system_library(file):
    """The path of a shared library as the loader would find it, or None."""
    listing = subprocess.run([shutil.which("ldconfig") or "/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False)
    found = re.search(rf"^\s*{re.escape(file)} .*=> (.*)$", listing.stdout, re.MULTILINE)
    return pathlib.Path(found[1]) if found else None


def peers():
    """Name → file of the libraries in the folder CISTERN_PERF_PEERS that are a malloc."""
    found = {}
    folder = os.environ.get("CISTERN_PERF_PEERS")
    for path in sorted(pathlib.Path(folder).glob("lib*.so")) if folder else ():
        symbols = subprocess.run(["nm", "-D", "--defined-only", path], capture_output=True, text=True, check=False).stdout
        if re.search(r" [TW] malloc$", symbols, re.MULTILINE):
            name = re.match(r"lib([a-z]*)", path.name)[1]
            found[PEERS.get(name, name)] = path
    return found


def recorders(tool):
    """Name → what a command begins with."""
    ways = {"plain": (), **{name: (tool.resolve(), "record", "--quiet", "-o", "recording", *options, "--")
                            for name, options in WAYS.items()}}
    if shutil.which("heaptrack"):
        return {**ways, "heaptrack": ("heaptrack", "-o", "recording")}
    print("left out: heaptrack, which isn't installed", file=sys.stderr)
    return ways


def find_mallocs(cistern):
    """Name → file; says which aren't there."""
    wanted = {"glibc": system_library(SYSTEM_LIBRARIES["glibc"]), "cistern": cistern,
              **{name: system_library(file) for name, file in SYSTEM_LIBRARIES.items()}, **peers()}
    for name in [name for name, path in wanted.items() if path is None or not path.is_file()]:
        print(f"left out: {name}, as {wanted.pop(name) or 'its library'} isn't there", file=sys.stderr)
    return {name: path.resolve() for name, path in wanted.items()}


class Measurer:
    """Runs commands through malloc_bench, a small process: Linux counts what a process held before exec as its peak."""

    def __init__(self, malloc_bench, folder):
        self.malloc_bench = malloc_bench.resolve()
        self.folder = folder
        # The disk is nobody's malloc: git doesn't wait for it.
        self.environment = {**environment_in(folder), "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fsync",
                            "GIT_CONFIG_VALUE_0": "none"}

    def start(self, library, command, more):
        full = [str(self.malloc_bench), "run", "--preload", str(library), "--", *map(str, command)]
        return subprocess.Popen(full, cwd=self.folder, env={**self.environment, **more}, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def finish(self, process):
        """(what the command printed, what it cost)."""
        output, errors = process.communicate(timeout=LIMIT_SECONDS)
        if process.returncode != 0 or b"cannot be preloaded" in errors:
            raise Failure(f"{' '.join(process.args)[:300]}\nstatus {process.returncode}:\n{errors.decode(errors='replace')[:2000]}")
        printed, _, cost = output.rstrip(b"\n").rpartition(b"\n")
        return printed, json.loads(cost)

    def program(self, library, *command, **more):
        """A program's run takes its wall time."""
        cost = self.finish(self.start(library, command, more))[1]
        return result(cost["wall_seconds"] * 1e3, 1e3, "ms", cost)

    def recorded(self, way, command, more):
        """A program's run, with all that it takes to record it."""
        for old in self.folder.glob("recording*"):
            old.unlink()
        taken = self.program("", *way, *command, **more)
        if way and not any(self.folder.glob("recording*")):
            raise Failure(f"{way[0]} {command[0]} left no recording")
        return taken

    def shape(self, library, name, threads, scale):
        """A benchmark has a clock of its own; what it takes is that of an allocation and its free."""
        command = (self.malloc_bench, name, "--threads", threads, "--scale", scale)
        printed, cost = self.finish(self.start(library, command, {}))
        told = json.loads(printed)
        if pathlib.Path(told["malloc"]).resolve() != library:
            raise Failure(f"{name} ran on {told['malloc']} instead of {library}")
        return result(told["ns_per_operation"], 1e9 / told["operations"], "ns", cost)

    def server(self, library, work):
        """The server has the malloc; the clock runs while redis-benchmark, which hasn't, drives it."""
        port = free_port()
        server = self.start(library, (SERVER, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", "."), {})
        seconds = drive_server(server, port, ("-n", str(20_000 * work), "-c", "20", "-P", "16", "-r", "20000", "-d", "300", "-t",
                                              "set,get,lpush,lpop,sadd,hset,zadd,lrange_100"))
        return result(seconds * 1e3, 1e3, "ms", self.finish(server)[1])


def result(real_time, units_per_second, unit, cost):
    """As Google Benchmark writes it; cpu_time is the user's and the system's, of all threads."""
    return {"real_time": real_time, "cpu_time": (cost["user_seconds"] + cost["system_seconds"]) * units_per_second,
            "time_unit": unit, "peak_bytes": cost["peak_rss_bytes"]}


def shapes(malloc_bench):
    listing = subprocess.run([malloc_bench, "--list"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listing.splitlines()]


def rows_of(arguments, measurer):
    """Row → a function of the library that makes one run. Programs run for some tenths of a second."""
    scale, work = (0.3, 1) if arguments.quick else (1, 2)
    rows = {name: lambda library, name=name: measurer.shape(library, name, arguments.threads, scale)
            for name in shapes(measurer.malloc_bench)}
    git = ("git log --stat -p >/dev/null && git blame folder9/file99 >/dev/null && "
           "git -c pack.threads=2 repack -a -d -f --depth=30 --window=30 --quiet && git fsck --full --no-progress")
    commands = {"python3": (sys.executable, "work.py", work), "perl": ("perl", "work.pl", 2 * work),
                "sort": ("sort", "--parallel=2", "-o", "sorted", "lines"), "git": ("sh", "-c", f"cd repository && {git}"),
                "g++": ("g++", "-std=c++17", "-O1", "-c", "-o", "unit.o", "unit.cpp"),
                "sqlite3": ("sqlite3", "-batch", ":memory:", ".read work.sql")}
    for name, command in commands.items():
        rows[name] = lambda library, command=command: measurer.program(library, *command)
    rows["python3-malloc"] = lambda library: measurer.program(library, *commands["python3"], PYTHONMALLOC="malloc")
    rows[SERVER] = lambda library: measurer.server(library, work)
    missing = [name for name in (*commands, SERVER) if not shutil.which("redis-benchmark" if name == SERVER else name)]
    for name in missing:
        print(f"left out: {name}, which isn't installed", file=sys.stderr)
    return {name: run for name, run in rows.items() if name not in missing}


def recorded_rows(measurer, quick):
    """As `rows_of`, of programs under a way of recording."""
    commands = single_processes(1 if quick else 2, 1 if quick else 3)
    return {name: lambda way, command=command, more=more: measurer.recorded(way, command, more)
            for name, (command, more) in commands.items() if command[0] and shutil.which(command[0])}


def measure(area, chosen, contestants, rows, repetitions):
    """A dictionary for each run. In every row the contestants take turns, in another order each time."""
    runs = []
    for repetition in range(repetitions):
        for row, names in chosen.items():
            if sys.stderr.isatty():
                print(f"\rrepetition {repetition + 1} of {repetitions}: {row:<16}", end="", file=sys.stderr, flush=True)
            for name in random.sample(names, len(names)):
                runs.append({"name": f"{area}/{row}/{name}", "run_type": "iteration", "repetitions": repetitions,
                             "repetition_index": repetition, "iterations": 1, **rows[row](contestants[name])})
    return runs


def print_ratios(runs, reference, time_name):
    """Medians of the ratios within each repetition; perf/report.py says more."""
    try:
        import pandas
    except ImportError:
        print("no table, as pandas isn't installed")
        return
    frame = pandas.DataFrame(runs)
    frame[["row", "malloc"]] = frame["name"].str.split("/", expand=True)[[1, 2]]
    for measure_name, title in ((time_name, "Time"), ("peak_bytes", "Peak memory")):
        wide = frame.pivot(index=["row", "repetition_index"], columns="malloc", values=measure_name)
        ratios = wide.div(wide[reference], axis=0).groupby(level="row").median()
        print(f"\n{title}, {reference}'s being 1:\n{ratios.round(2).to_string()}")


def run(arguments, folder):
    measurer = Measurer(arguments.malloc_bench, folder)
    area, time_name = ("recording", "cpu_time") if arguments.recorder else ("malloc", "real_time")
    contestants = recorders(arguments.recorder) if arguments.recorder else find_mallocs(arguments.cistern)
    rows = recorded_rows(measurer, arguments.quick) if arguments.recorder else rows_of(arguments, measurer)
    chosen = {row: [name for name in contestants if arguments.benchmark_filter.search(f"{area}/{row}/{name}")] for row in rows}
    chosen = {row: names for row, names in chosen.items() if names}
    if arguments.benchmark_list_tests == "true":
        print("\n".join(f"{area}/{row}/{name}" for row, names in chosen.items() for name in names))
        return
    if not chosen:
        raise Failure("the filter leaves no row; --benchmark_list_tests names them")
    work = 1 if arguments.quick else 2
    make_inputs(measurer.folder, measurer.environment, lines=300_000 * work, rows=(10_000 if arguments.recorder else 60_000) * work,
                files=100 if any(row.startswith("git") for row in chosen) else 0)
    runs = measure(area, chosen, contestants, rows, arguments.benchmark_repetitions)
    context = {"date": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "num_cpus": os.cpu_count(),
               **{f"library_{name}": str(path) for name, path in contestants.items() if not arguments.recorder}}
    if arguments.benchmark_out:
        arguments.benchmark_out.write_text(json.dumps({"context": context, "benchmarks": runs}, indent=1))
    print_ratios(runs, next(iter(chosen.values()))[0], time_name)


def main():
    arguments = parse_arguments()
    # Without a folder that goes away afterwards git and the others would leave their work behind.
    with tempfile.TemporaryDirectory() as folder:
        run(arguments, pathlib.Path(folder))


if __name__ == "__main__":
    end_with(main)
