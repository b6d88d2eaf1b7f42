#!/usr/bin/env python3
"""Runs a real program with a malloc preloaded, and compares what it makes with what it makes without.

    programs.py --preload LIBRARY PROGRAM    one of: python3 python3-malloc perl sort git g++ sqlite3 redis-server
    programs.py --list
    programs.py --self-test

A program must end with status 0, write nothing to stderr, give byte for byte what it gives without the library,
and the library must have been loaded into every process that it started.

Exit status: 0 all that is so; 1 something isn't; 2 wrong usage; 77 the program isn't installed.
"""

import argparse
import contextlib
import hashlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
LIMIT_SECONDS = 60


class Failure(Exception):
    """What a program did that it shouldn't."""


class Skip(Exception):
    """Why a program can't be run here."""


class Runner:
    """Runs commands in a folder of their own, with a library preloaded or without."""

    def __init__(self, folder, preload):
        self.folder = pathlib.Path(folder)
        self.work = self.folder / "work"
        self.work.mkdir(parents=True)
        self.preload = preload
        # What belongs to the caller must not make a difference between two runs.
        self.environment = {k: v for k, v in os.environ.items()
                            if not k.startswith(("LD_", "GIT_", "PYTHON", "CISTERN_", "MALLOC_"))}
        self.environment.update(LC_ALL="C", HOME=str(self.work), TMPDIR=str(self.work), GIT_CONFIG_NOSYSTEM="1",
                                GIT_AUTHOR_DATE="2020-01-01T00:00:00Z", GIT_COMMITTER_DATE="2020-01-01T00:00:00Z")
        if preload:
            # The loader then writes down, in a file for each process, what it loaded.
            self.environment.update(LD_PRELOAD=str(preload), LD_DEBUG="libs",
                                    LD_DEBUG_OUTPUT=str(self.folder / "loaded"))

    def run(self, *command, text=None, environment=None):
        """Returns the command's output; fails on another status than 0 and on anything on stderr."""
        done = subprocess.run([str(part) for part in command], input=text, capture_output=True, cwd=self.work,
                              env={**self.environment, **(environment or {})}, check=False, timeout=LIMIT_SECONDS)
        shown = " ".join(str(part) for part in command)[:200]
        if done.returncode != 0 or done.stderr:
            raise Failure(f"{shown}\nstatus {done.returncode}, stderr:\n{done.stderr.decode(errors='replace')[:4000]}")
        return done.stdout

    def check_loaded(self):
        """Every process that the loader started has the library."""
        if not self.preload:
            return
        reports = list(self.folder.glob("loaded.*"))
        if not reports:
            raise Failure("the loader wrote no report: was the library loaded?")
        for report in reports:
            if str(self.preload) not in report.read_text(errors="replace"):
                raise Failure(f"a process ran without {self.preload}: {report.read_text(errors='replace')[:2000]}")


def need(program):
    path = shutil.which(program)
    if path is None:
        raise Skip(f"{program} is not installed")
    return path


PYTHON_PROGRAM = r"""
import collections, hashlib, json, queue, random, re, threading, zlib

def work(seed, results):
    random.seed(seed)
    rng = random.Random(seed)
    words = ["".join(rng.choice("abcdefghij") for _ in range(rng.randint(1, 12))) for _ in range(15000)]
    index = collections.defaultdict(list)
    for place, word in enumerate(words):
        index[word].append(place)
    text = json.dumps({word: index[word] for word in sorted(index)})
    back = json.loads(text)
    packed = zlib.compress(text.encode(), 6)
    found = len(re.findall(r"ab+c|d(e|f)+", " ".join(words)))
    big = 3 ** 5000 * seed
    results.put((seed, hashlib.sha256(packed).hexdigest(), len(back), found, hashlib.sha256(str(big % 10**1000).encode()).hexdigest()))

results = queue.Queue()
threads = [threading.Thread(target=work, args=(seed, results)) for seed in range(1, 5)]
for thread in threads: thread.start()
for thread in threads: thread.join()
for line in sorted(results.get() for _ in threads): print(*line)
buffers = [bytearray(size) for size in range(0, 300000, 1000)]
print(sum(len(b) for b in buffers), all(not any(b[:100]) for b in buffers))
"""


def python3(runner):
    return runner.run(sys.executable, "-I", "-c", PYTHON_PROGRAM)


def python3_malloc(runner):
    """Every object of Python's from malloc, not from Python's own pools."""
    # -I would ignore PYTHONMALLOC.
    return runner.run(sys.executable, "-s", "-c", PYTHON_PROGRAM, environment={"PYTHONMALLOC": "malloc"})


PERL_PROGRAM = r"""
use strict; use warnings;
my %index; my $seed = 1;
for my $i (1 .. 60000) {
  $seed = ($seed * 1103515245 + 12345) % 2147483648;
  my $word = join '', map { chr(97 + ($seed >> $_) % 26) } 3 .. (4 + $seed % 12);
  push @{$index{$word}}, $i;
}
my @words = sort { @{$index{$b}} <=> @{$index{$a}} || $a cmp $b } keys %index;
my $text = join ' ', @words;
my $count = () = $text =~ /a[b-m]+z?/g;
$text =~ s/([aeiou])/<$1>/g;
print scalar(@words), " $count ", length($text), " $words[0] $words[-1]\n";
my @kept; push @kept, 'x' x ($_ * 37) for 1 .. 2000; print length(join '', @kept), "\n";
"""


def perl(runner):
    return runner.run(need("perl"), "-e", PERL_PROGRAM)


def pseudo_random_lines(count):
    state = 1
    lines = []
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        lines.append(f"{state >> 20:x}"[: 1 + (state >> 60)])
    return ("\n".join(lines) + "\n").encode()


def sort(runner):
    program = need("sort")
    lines = pseudo_random_lines(150_000)
    # Once in memory with threads, once through temporary files.
    return runner.run(program, "--parallel=4", text=lines) + runner.run(program, "-u", "-S", "1M", text=lines)


def git(runner):
    program = need("git")
    repository = runner.work / "repository"

    def call(*arguments):
        return runner.run(program, "-C", repository, "-c", "user.name=a", "-c", "user.email=a@b", "-c", "pack.threads=2",
                          "-c", "gc.auto=0", *arguments)

    repository.mkdir()
    output = call("init", "--quiet", "--initial-branch=main")
    for commit in range(4):
        for number in range(60):
            (repository / f"file{number}").write_bytes(pseudo_random_lines(20 + number * (commit + 1)))
        output += call("add", ".") + call("commit", "--quiet", "-m", f"commit {commit}")
    output += call("log", "--stat", "-p") + call("gc", "--quiet", "--aggressive") + call("fsck", "--full", "--no-progress")
    return output + call("log", "--format=%H") + call("grep", "-c", "ab") + call("diff", "--stat", "HEAD~3")


CXX_PROGRAM = r"""
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


def gxx(runner):
    program = need("g++")
    # In the same folder both times: its name goes into the object.
    runner.run(program, "-std=c++17", "-O1", "-g", "-x", "c++", "-c", "-o", "unit.o", "-", text=CXX_PROGRAM.encode())
    return (runner.work / "unit.o").read_bytes()


SQL_PROGRAM = """
CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, amount INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
INSERT INTO t SELECT i, hex(i * 7919 % 10007) || substr('abcdefghijklmnopqrstuvwxyz', i % 20 + 1), i * 31 % 977 FROM n;
CREATE INDEX by_name ON t(name);
SELECT count(*), sum(amount), min(name), max(name) FROM t;
SELECT amount % 10 AS digit, count(*), group_concat(substr(name, 1, 2)) FROM t WHERE id % 97 = 0 GROUP BY digit;
DELETE FROM t WHERE id % 3 = 0;
UPDATE t SET name = name || name WHERE id % 5 = 0;
SELECT a.name, b.amount FROM t a JOIN t b ON a.name = b.name AND a.id < b.id ORDER BY 1, 2 LIMIT 50;
VACUUM;
PRAGMA integrity_check;
"""


def sqlite3(runner):
    program = need("sqlite3")
    output = runner.run(program, "-batch", ":memory:", text=SQL_PROGRAM.encode())
    output += runner.run(program, "-batch", "file.db", text=SQL_PROGRAM.encode())
    return output + runner.run(program, "-batch", "file.db", ".dump")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def redis(runner, program, port):
    """A server that is stopped by its process id; it must end with status 0 and silent stderr."""
    with open(runner.work / "stderr", "wb") as errors, open(runner.work / "stdout", "wb") as output:
        server = subprocess.Popen([program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                                   "--dir", str(runner.work)],
                                  cwd=runner.work, env=runner.environment, stdout=output, stderr=errors)
    try:
        give_up = time.monotonic() + LIMIT_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                break
            if server.poll() is not None or time.monotonic() > give_up:
                raise Failure(f"redis-server doesn't answer:\n{(runner.work / 'stdout').read_text(errors='replace')}")
            time.sleep(0.01)
        if runner.preload and str(runner.preload) not in pathlib.Path(f"/proc/{server.pid}/maps").read_text():
            raise Failure(f"{runner.preload} is not mapped into redis-server")
        yield server
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    errors = (runner.work / "stderr").read_text(errors="replace")
    if server.returncode != 0 or errors:
        raise Failure(f"redis-server: status {server.returncode}, stderr:\n{errors}")


def redis_server(runner):
    program, benchmark, client = need("redis-server"), need("redis-benchmark"), need("redis-cli")
    port = free_port()
    commands = "".join(f"SET key:{i} {'v' * (i * 7 % 3000)}\nRPUSH list {i}\nHSET hash f{i % 500} {i}\nZADD set {i * 7919 % 1009} m{i}\n"
                       for i in range(1500))
    commands += "DEL key:3 key:5\nLRANGE list 0 -1\nHGETALL hash\nZRANGE set 0 -1 WITHSCORES\nGET key:7\nDBSIZE\n"
    with redis(runner, program, port):
        output = runner.run(client, "-p", port, text=commands.encode())
        runner.run(benchmark, "-p", port, "-q", "-n", "8000", "-c", "20", "-P", "4", "-r", "1000", "-d", "200", "-t",
                   "set,get,incr,lpush,lpop,sadd,hset,zadd,lrange_100")
        output += runner.run(client, "-p", port, "GET", "key:8") + runner.run(client, "-p", port, "FLUSHALL")
    return output


PROGRAMS = {"python3": python3, "python3-malloc": python3_malloc, "perl": perl, "sort": sort, "git": git, "g++": gxx,
            "sqlite3": sqlite3, "redis-server": redis_server}


def judge(program, preload):
    """Runs the program without and with the library, in a folder of the same name, and compares."""
    outputs = []
    with tempfile.TemporaryDirectory() as folder:
        for library in (None, preload):
            # The same path both times, for programs that write it into their output.
            path = pathlib.Path(folder, "run")
            runner = Runner(path, library)
            outputs.append(program(runner))
            runner.check_loaded()
            shutil.rmtree(path)
    without, with_it = outputs
    if not without:
        raise Failure("the program made nothing that could be compared")
    if without != with_it:
        raise Failure(f"other output than without the library: {hashlib.sha256(without).hexdigest()} ({len(without)} bytes), "
                      f"now {hashlib.sha256(with_it).hexdigest()} ({len(with_it)} bytes)")


def self_test():
    """Each thing that a test must notice is noticed."""
    libc = next(line.split()[-1] for line in pathlib.Path("/proc/self/maps").read_text().splitlines()
                if pathlib.Path(line.split()[-1]).name.startswith("libc.so"))

    def fails(program, preload, reason):
        try:
            judge(program, preload)
        except Failure as failure:
            if reason in str(failure):
                return
            raise
        raise AssertionError(f"nothing was noticed of: {reason}")

    judge(lambda runner: runner.run("/bin/echo", "same"), libc)
    fails(lambda runner: runner.run("/bin/sh", "-c", "echo $LD_PRELOAD x"), libc, "other output")
    fails(lambda runner: runner.run("/bin/sh", "-c", "echo oops >&2"), libc, "oops")
    fails(lambda runner: runner.run("/bin/sh", "-c", "echo x; exit 3"), libc, "status 3")
    fails(lambda runner: runner.run("/bin/true"), libc, "nothing that could be compared")
    fails(lambda runner: runner.run("/bin/echo", "same", environment={"LD_DEBUG": ""}), libc, "no report")
    fails(lambda runner: runner.run("/bin/echo", "same", environment={"LD_PRELOAD": ""}), "/no/such/libpreload.so", "ran without")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preload", type=pathlib.Path, help="the library to preload")
    parser.add_argument("--list", action="store_true", help="print the programs' names")
    parser.add_argument("--self-test", action="store_true", help="show that what must be noticed is noticed")
    parser.add_argument("program", nargs="?", choices=PROGRAMS)
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(PROGRAMS))
        return 0
    try:
        if arguments.self_test:
            self_test()
            return 0
        if arguments.program is None or arguments.preload is None:
            parser.error("name a program and --preload")
        if not arguments.preload.is_file():
            parser.error(f"no file {arguments.preload}")
        judge(PROGRAMS[arguments.program], arguments.preload.resolve())
    except Skip as reason:
        print(f"skipped: {reason}")
        return SKIPPED
    except (Failure, subprocess.TimeoutExpired) as failure:
        print(f"{arguments.program or 'self-test'}: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
