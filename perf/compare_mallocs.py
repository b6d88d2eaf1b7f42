#!/usr/bin/env python3
"""Compares mallocs on the field's benchmarks and on real programs, each by LD_PRELOAD, interleaved round by round.

Prints a Markdown report: median times, ratios taken within each round, peak resident memory, geometric means.
docs/benchmarking.md explains the rows. Exit status: 0; 1 when a program failed; 2 wrong usage.
"""

import argparse
import contextlib
import csv
import dataclasses
import json
import math
import os
import pathlib
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SHAPES = ("alloc-test", "cache-scratch", "cache-thrash", "glibc-simple", "glibc-thread", "larson", "mstress", "rptest",
          "xmalloc")
# Means of their own, so that those of the shapes can be compared with older reports.
PHASES = ("large-alone", "large-filled", "large-growth", "large-sparse", "large-zeroed", "sparse-survivors")
# Name, file. Debian's packages; glibc is preloaded too, since a program may be linked to another malloc (redis-server
# is, to jemalloc).
SYSTEM_LIBRARIES = {"glibc": "libc.so.6", "mimalloc": "libmimalloc.so.2", "jemalloc": "libjemalloc.so.2",
                    "tcmalloc": "libtcmalloc_minimal.so.4"}
ORDER = ("glibc", "cistern", "mimalloc", "jemalloc", "tcmalloc")
LIMIT_SECONDS = 120


class Failure(Exception):
    """What went wrong, for the user."""


@dataclasses.dataclass
class Sample:
    """One run. `seconds` is what is compared: a benchmark's own clock, a program's wall time."""

    row: str
    malloc: str
    round: int
    seconds: float
    user_seconds: float
    system_seconds: float
    peak_rss_bytes: int
    operations: int


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--malloc-bench", required=True, type=pathlib.Path, help="the built malloc_bench")
    parser.add_argument("--cistern", type=pathlib.Path, help="libcistern-malloc.so; left out if not given")
    parser.add_argument("--mallocs", default=",".join(ORDER), help="A,B,... of " + ", ".join(ORDER))
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=FILE",
                        help="another malloc's library, which takes part as NAME; may be given again")
    parser.add_argument("--filter", default="", help="A,B,...: only rows whose name contains one of these")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--threads", type=int, default=2, help="threads of the benchmarks (default 2)")
    parser.add_argument("--quick", action="store_true", help="two short rounds: a rough picture in less than a minute")
    parser.add_argument("--csv", type=pathlib.Path, help="write every round of every row")
    parser.add_argument("--markdown", type=pathlib.Path, help="write the report there too")
    parser.add_argument("--list", action="store_true", help="print the names of rows and mallocs")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.threads < 1:
        parser.error("--rounds and --threads are at least 1")
    for peer in arguments.peer:
        name, _, file = peer.partition("=")
        if not name or not file or name in ORDER:
            parser.error(f"--peer wants NAME=FILE with a new name, not {peer}")
    unknown = set(arguments.mallocs.split(",")) - set(ORDER)
    if unknown:
        parser.error(f"no malloc called {', '.join(sorted(unknown))}")
    return arguments


def system_library(file):
    """The path of a shared library as the loader would find it, or None."""
    ldconfig = shutil.which("ldconfig") or "/sbin/ldconfig"
    listing = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=False).stdout
    for line in listing.splitlines():
        name, _, path = line.strip().partition(" => ")
        if name.split(" ")[0] == file and path:
            return pathlib.Path(path)
    return None


def find_mallocs(arguments):
    """Name → file, in the order of the table; says which aren't there."""
    found = {}
    for name in ORDER:
        if name not in arguments.mallocs.split(","):
            continue
        path = arguments.cistern if name == "cistern" else system_library(SYSTEM_LIBRARIES[name])
        if path is None or not path.is_file():
            print(f"left out: {name} ({path or SYSTEM_LIBRARIES.get(name, '--cistern')} isn't there)", file=sys.stderr)
        else:
            found[name] = path.resolve()
    for peer in arguments.peer:
        name, _, file = peer.partition("=")
        if not pathlib.Path(file).is_file():
            raise Failure(f"--peer {peer}: there is no such file")
        found[name] = pathlib.Path(file).resolve()
    if not found:
        raise Failure("no malloc to measure")
    return found


class Measurer:
    """Runs commands through malloc_bench, a small process: Linux counts what a process held before exec as its peak."""

    def __init__(self, malloc_bench, folder):
        self.malloc_bench = malloc_bench.resolve()
        self.folder = pathlib.Path(folder)
        self.environment = {k: v for k, v in os.environ.items()
                            if not k.startswith(("LD_", "GIT_", "PYTHON", "CISTERN_", "MALLOC_", "MIMALLOC_"))}
        # The disk is nobody's malloc: git doesn't wait for it.
        self.environment.update(LC_ALL="C", HOME=str(folder), TMPDIR=str(folder), GIT_CONFIG_NOSYSTEM="1",
                                GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="core.fsync", GIT_CONFIG_VALUE_0="none")

    def run(self, library, *command, environment=None):
        """Returns (what the command printed, its cost)."""
        full = [str(self.malloc_bench), "run", "--preload", str(library), "--", *map(str, command)]
        done = subprocess.run(full, capture_output=True, cwd=self.folder, env={**self.environment, **(environment or {})},
                              check=False, timeout=LIMIT_SECONDS)
        if done.returncode != 0:
            raise Failure(f"{' '.join(full)[:300]}\nstatus {done.returncode}:\n{done.stderr.decode(errors='replace')[:2000]}")
        output, _, cost = done.stdout.rstrip(b"\n").rpartition(b"\n")
        return output, json.loads(cost)

    def shape(self, library, name, threads, scale):
        output, cost = self.run(library, self.malloc_bench, name, "--threads", threads, "--scale", scale)
        result = json.loads(output)
        if pathlib.Path(result["malloc"]).resolve() != library:
            raise Failure(f"{name} ran on {result['malloc']} instead of {library}")
        return {**cost, "seconds": result["seconds"], "operations": result["operations"]}

    def program(self, library, *command, environment=None):
        _, cost = self.run(library, *command, environment=environment)
        return {**cost, "seconds": cost["wall_seconds"], "operations": 0}


def pseudo_random_lines(count):
    state = 1
    lines = []
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        lines.append(f"{state >> 8:x}"[: 1 + (state >> 60)])
    return "\n".join(lines) + "\n"


PYTHON_PROGRAM = """
import collections, json, random, re, sys, threading
def work(seed):
    rng = random.Random(seed)
    for _ in range(int(sys.argv[1])):
        words = ["".join(rng.choice("abcdefghij") for _ in range(rng.randint(1, 12))) for _ in range(8000)]
        index = collections.defaultdict(list)
        for place, word in enumerate(words): index[word].append((place, word * 3))
        back = json.loads(json.dumps({word: index[word] for word in sorted(index)}))
        re.findall(r"ab+c|d(e|f)+", " ".join(words))
        [bytearray(size) for size in range(0, 100000, 500)]
threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""

PERL_PROGRAM = """
my $seed = 1;
for my $round (1 .. $ARGV[0]) {
  my %index;
  for my $i (1 .. 30000) {
    $seed = ($seed * 1103515245 + 12345) % 2147483648;
    my $word = join '', map { chr(97 + ($seed >> $_) % 26) } 3 .. (4 + $seed % 12);
    push @{$index{$word}}, "$i-$word";
  }
  my $text = join ' ', map { @{$index{$_}} } sort keys %index;
  $text =~ s/([aeiou])/<$1>/g;
}
"""

CXX_PROGRAM = """
#include <algorithm>
#include <map>
#include <string>
#include <vector>
std::map<std::string, std::vector<int>> index_of(const std::vector<std::string>& words) {
  std::map<std::string, std::vector<int>> index;
  for (std::size_t i = 0; i < words.size(); ++i) index[words[i]].push_back(static_cast<int>(i));
  for (auto& [word, places] : index) std::sort(places.begin(), places.end());
  return index;
}
"""

SQL_PROGRAM = """
CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, amount INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
INSERT INTO t SELECT i, hex(i * 7919 % 10007) || substr('abcdefghijklmnopqrstuvwxyz', i % 20 + 1), i * 31 % 977 FROM n;
CREATE INDEX by_name ON t(name);
SELECT count(*), sum(amount), min(name), max(name) FROM t;
SELECT amount % 10 AS digit, length(group_concat(name)) FROM t GROUP BY digit;
UPDATE t SET name = name || upper(name) WHERE id % 5 = 0;
SELECT a.name, b.amount FROM t a JOIN t b ON a.name = b.name AND a.id < b.id ORDER BY 1, 2 LIMIT 50;
"""


class Programs:
    """Real programs on work that takes them some tenths of a second; their input is made once, before any clock."""

    def __init__(self, measurer, quick):
        self.measurer = measurer
        self.folder = measurer.folder
        self.work = 1 if quick else 2
        self.rows = {"python3": ("python3", self.python3), "python3-malloc": ("python3", self.python3_malloc),
                     "perl": ("perl", self.perl), "sort": ("sort", self.sort), "git": ("git", self.git),
                     "g++": ("g++", self.gxx), "sqlite3": ("sqlite3", self.sqlite3),
                     "redis-server": ("redis-benchmark", self.redis)}

    def prepare(self):
        (self.folder / "lines").write_text(pseudo_random_lines(300_000 * self.work))
        (self.folder / "unit.cpp").write_text(CXX_PROGRAM)
        (self.folder / "work.py").write_text(PYTHON_PROGRAM)
        (self.folder / "work.pl").write_text(PERL_PROGRAM)
        (self.folder / "work.sql").write_text(SQL_PROGRAM.format(rows=60_000 * self.work))
        if shutil.which("git"):
            self.make_repository()

    def make_repository(self):
        repository = self.folder / "repository"
        for commit in range(4 * self.work):
            for number in range(100):
                path = repository / f"folder{number % 10}" / f"file{number}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(pseudo_random_lines(50 + number * (commit + 1) // 2))
            # Packed at the end, so that the first run has no more to do than the others.
            for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", str(commit)], ["gc", "--quiet"]):
                subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=repository,
                               env=self.measurer.environment, check=True)

    def python3(self, library):
        return self.measurer.program(library, sys.executable, "work.py", self.work)

    def python3_malloc(self, library):
        return self.measurer.program(library, sys.executable, "work.py", self.work, environment={"PYTHONMALLOC": "malloc"})

    def perl(self, library):
        return self.measurer.program(library, "perl", "work.pl", 2 * self.work)

    def sort(self, library):
        return self.measurer.program(library, "sort", "--parallel=2", "-o", "sorted", "lines")

    def git(self, library):
        commands = ("git log --stat -p >/dev/null && git blame folder9/file99 >/dev/null && "
                    "git -c pack.threads=2 repack -a -d -f --depth=30 --window=30 --quiet && git fsck --full --no-progress")
        return self.measurer.program(library, "sh", "-c", f"cd repository && {commands}")

    def gxx(self, library):
        return self.measurer.program(library, "g++", "-std=c++17", "-O1", "-c", "-o", "unit.o", "unit.cpp")

    def sqlite3(self, library):
        return self.measurer.program(library, "sqlite3", "-batch", ":memory:", ".read work.sql")

    def redis(self, library):
        """The server has the malloc; the clock runs while redis-benchmark, which hasn't, drives it."""
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        server = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir",
                                   str(self.folder)], env={**self.measurer.environment, "LD_PRELOAD": str(library)},
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            give_up = time.monotonic() + LIMIT_SECONDS
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                    break
                if server.poll() is not None or time.monotonic() > give_up:
                    raise Failure("redis-server doesn't answer")
                time.sleep(0.01)
            if str(library) not in pathlib.Path(f"/proc/{server.pid}/maps").read_text():
                raise Failure(f"redis-server runs without {library}")
            client = ["redis-benchmark", "-p", str(port), "-q", "-n", str(20_000 * self.work), "-c", "20", "-P", "16", "-r",
                      "20000", "-d", "300", "-t", "set,get,lpush,lpop,sadd,hset,zadd,lrange_100"]
            start = time.monotonic()
            subprocess.run(client, env=self.measurer.environment, stdout=subprocess.DEVNULL, check=True, timeout=LIMIT_SECONDS)
            seconds = time.monotonic() - start
            status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
            peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
            user, system = pathlib.Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=LIMIT_SECONDS)
        ticks = os.sysconf("SC_CLK_TCK")
        return {"seconds": seconds, "user_seconds": int(user) / ticks, "system_seconds": int(system) / ticks,
                "peak_rss_bytes": peak, "operations": 0}


def wanted(name, filters):
    return not filters or any(part in name for part in filters.split(","))


def rows_of(arguments, measurer, programs):
    """Row → a function of the library that makes one run."""
    scale = 0.3 if arguments.quick else 1
    rows = {}
    for name in SHAPES + PHASES:
        rows[name] = lambda library, name=name: measurer.shape(library, name, arguments.threads, scale)
    for name, (program, run) in programs.rows.items():
        if shutil.which(program):
            rows[name] = run
        else:
            print(f"left out: {name} ({program} isn't installed)", file=sys.stderr)
    return {name: run for name, run in rows.items() if wanted(name, arguments.filter)}


def measure(arguments, mallocs, rows):
    """All rounds; the mallocs take turns in every row, and the first one changes from round to round."""
    samples = []
    rounds = 2 if arguments.quick else arguments.rounds
    started = time.monotonic()
    for number in range(rounds):
        for row, run in rows.items():
            print(f"\r[{time.monotonic() - started:4.0f} s] round {number + 1} of {rounds}: {row:<16}", end="",
                  file=sys.stderr, flush=True)
            order = list(mallocs.items())
            turn = number % len(order)
            order = order[turn:] + order[:turn]
            for name, library in order if number % 2 == 0 else reversed(order):
                cost = run(library)
                samples.append(Sample(row, name, number, cost["seconds"], cost["user_seconds"], cost["system_seconds"],
                                      cost["peak_rss_bytes"], cost["operations"]))
    print(f"\r[{time.monotonic() - started:4.0f} s] done{' ' * 40}", file=sys.stderr)
    return samples


def median_ratio(samples, row, malloc, reference, figure):
    """The median over the rounds of malloc's figure by the reference's of the same round."""
    of = {name: {s.round: figure(s) for s in samples if s.row == row and s.malloc == name} for name in (malloc, reference)}
    return statistics.median(value / of[reference][number] for number, value in of[malloc].items())


def geometric_mean(values):
    values = list(values)
    return math.exp(sum(math.log(value) for value in values) / len(values)) if values else math.nan


def table(samples, rows, mallocs, reference, figure, show):
    """Markdown: for each row and malloc the median and, in brackets, the ratio to the reference's."""
    lines = ["| row | " + " | ".join(mallocs) + " |", "| --- |" + " ---: |" * len(mallocs)]
    ratios = {name: [] for name in mallocs}
    for row in rows:
        cells = []
        for name in mallocs:
            ratio = median_ratio(samples, row, name, reference, figure)
            ratios[name].append(ratio)
            median = statistics.median(figure(s) for s in samples if s.row == row and s.malloc == name)
            operations = next(s.operations for s in samples if s.row == row)
            cells.append(f"{show(median, operations)} ({ratio:.2f})")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    means = (f"**{geometric_mean(ratios[name]):.2f}**" for name in mallocs)
    return lines + ["| geometric mean of the ratios | " + " | ".join(means) + " |", ""]


def show_time(seconds, operations):
    return f"{seconds * 1e9 / operations:.3g} ns" if operations else f"{seconds * 1e3:.0f} ms"


def show_memory(peak, _operations):
    return f"{peak / 2**20:.1f} MiB"


def processor():
    with contextlib.suppress(OSError, StopIteration):
        text = pathlib.Path("/proc/cpuinfo").read_text()
        return next(line.partition(": ")[2] for line in text.splitlines() if line.startswith("model name"))
    return platform.machine()


def report(arguments, mallocs, samples):
    shapes = [row for row in SHAPES if any(s.row == row for s in samples)]
    phases = [row for row in PHASES if any(s.row == row for s in samples)]
    programs = list(dict.fromkeys(s.row for s in samples if s.row not in SHAPES + PHASES))
    rounds = 1 + max(s.round for s in samples)
    kernel = ".".join(platform.release().split(".")[:2])
    lines = [f"{processor()}, {os.cpu_count()} hardware threads, Linux {kernel}; {rounds} rounds, "
             f"{arguments.threads} threads in the benchmarks. Medians; in brackets the median of the ratios within each round.", ""]
    reference = "mimalloc" if "mimalloc" in mallocs else next(iter(mallocs))
    for title, group in (("Benchmarks", shapes), ("Large blocks and survivors", phases)):
        if group:
            lines += [f"{title}: time of one allocation and its free, relative to {reference}'s.", ""]
            lines += table(samples, group, mallocs, reference, lambda s: s.seconds, show_time)
            lines += [f"{title}: peak resident memory, relative to {reference}'s.", ""]
            lines += table(samples, group, mallocs, reference, lambda s: s.peak_rss_bytes, show_memory)
    reference = "glibc" if "glibc" in mallocs else reference
    if programs:
        lines += [f"Programs: wall time, relative to {reference}'s.", ""]
        lines += table(samples, programs, mallocs, reference, lambda s: s.seconds, show_time)
        lines += [f"Programs: user and system time, relative to {reference}'s.", ""]
        lines += table(samples, programs, mallocs, reference, lambda s: s.user_seconds + s.system_seconds, show_time)
        lines += [f"Programs: peak resident memory, relative to {reference}'s.", ""]
        lines += table(samples, programs, mallocs, reference, lambda s: s.peak_rss_bytes, show_memory)
    return "\n".join(lines)


def write_csv(path, samples):
    fields = [field.name for field in dataclasses.fields(Sample)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(fields)
        for sample in samples:
            writer.writerow([f"{value:.6f}" if isinstance(value, float) else value for value in dataclasses.astuple(sample)])


def main():
    arguments = parse_arguments()
    # Without a folder that goes away afterwards git and the others would leave their work behind.
    with tempfile.TemporaryDirectory() as folder:
        try:
            measurer = Measurer(arguments.malloc_bench, folder)
            programs = Programs(measurer, arguments.quick)
            if arguments.list:
                print("\n".join((*SHAPES, *PHASES, *programs.rows)), *ORDER, sep="\n")
                return 0
            mallocs = find_mallocs(arguments)
            rows = rows_of(arguments, measurer, programs)
            if not rows:
                raise Failure(f"no row is called like {arguments.filter}; --list names them")
            if set(rows) - set(SHAPES + PHASES):
                programs.prepare()
            samples = measure(arguments, mallocs, rows)
        except (Failure, OSError, subprocess.SubprocessError) as failure:
            print(f"\ncompare_mallocs: {failure}", file=sys.stderr)
            return 1
    text = report(arguments, mallocs, samples)
    print(text)
    if arguments.csv:
        write_csv(arguments.csv, samples)
    if arguments.markdown:
        arguments.markdown.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
