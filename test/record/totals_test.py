#!/usr/bin/env python3
"""What a trace adds up to is what others count of the same run, or of another one that does the same. totals_test.py
TOOL [MALLOC]

MALLOC: libcistern-malloc.so, whose CISTERN_MALLOC_STATS counts on its own, under the recorder. Where that, heaptrack, or
a program isn't installed, its part is skipped."""
import collections
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

TOOL, *LIBRARIES = map(os.path.realpath, sys.argv[1:])
del sys.argv[1:]
LIMIT_SECONDS = 120
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("CISTERN_", "LD_"))}
# Before the recorder finds the process's environment, and after the malloc's last words: a few calls of the loader, of
# constructors and of destructors.
EDGE_CALLS = 100
QUERY = """with recursive c(x) as (select 1 union all select x + 1 from c where x < 20000)
           select sum(length(h)) from (select hex(x) || 'x' h from c order by h)"""

GROWING_HASH = "my %h; $h{$_ % 3000} .= 'x' x ($_ % 50) for 1 .. 20000; print scalar(%h)"

Totals = collections.namedtuple("Totals", "allocate reallocate deallocate live")


def need(program):
    path = shutil.which(program)
    if path is None:
        raise unittest.SkipTest(f"there is no {program}")
    return path


def need_malloc():
    if not LIBRARIES:
        raise unittest.SkipTest("there is no libcistern-malloc.so")
    return LIBRARIES[0]


def totals_of(trace):
    """By the lines of print --summary."""
    done = subprocess.run([TOOL, "print", "--summary", trace], capture_output=True, check=True, text=True,
                          timeout=LIMIT_SECONDS)
    counts = collections.Counter()
    for kind, calls in re.findall(r"^(allocate|reallocate|deallocate) +([\d,]+) ", done.stdout, re.MULTILINE):
        counts[kind] = int(calls.replace(",", ""))
    made, freed = counts["allocate"], counts["deallocate"]
    return Totals(made, counts["reallocate"], freed, made - freed)


def counted_by_malloc(text, program):
    """The report of the process that was recorded: cistern-trace, in the same environment, writes one of its own."""
    reports = re.split(r"^(?=cistern malloc, process )", text, flags=re.MULTILINE)[1:]
    for report in reports:
        rows = [[int(each) for each in line.split()] for line in report.splitlines() if re.fullmatch(r"(?: +\d+){7}", line)]
        large = int(re.search(r"large blocks: (\d+)", report)[1])
        yield sum(row[3] + row[4] for row in rows), sum(row[1] for row in rows) + large
    if not reports:
        raise AssertionError(f"{program} wrote no report: {text}")


class Folder(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.trace = self.folder / "trace"

    def record(self, *command, **variables):
        """As it is recorded; it must do what it does without."""
        plain = subprocess.run(command, capture_output=True, check=True, timeout=LIMIT_SECONDS, cwd=self.folder,
                               env=ENVIRONMENT)
        done = subprocess.run([TOOL, "record", "--quiet", "-o", self.trace, "--", *command], capture_output=True,
                              check=True, timeout=LIMIT_SECONDS, cwd=self.folder, env={**ENVIRONMENT, **variables})
        self.assertEqual(done.stdout, plain.stdout)
        return plain, done

    def check_malloc_agrees(self, *command, **variables):
        _, done = self.record(*command, LD_PRELOAD=need_malloc(), CISTERN_MALLOC_STATS="1", **variables)
        totals = totals_of(self.trace)
        self.assertGreater(totals.allocate, 10 * EDGE_CALLS)
        # A block that realloc leaves where it is is none of the malloc's requests.
        agreeing = [(requests, live) for requests, live in counted_by_malloc(done.stderr.decode(), command[0])
                    if totals.allocate - EDGE_CALLS <= requests <= totals.allocate + totals.reallocate + EDGE_CALLS
                    and abs(live - totals.live) <= EDGE_CALLS]
        self.assertEqual(len(agreeing), 1, f"{totals}\n{done.stderr.decode()}")


class Malloc(Folder):
    def test_sqlite3(self):
        self.check_malloc_agrees(need("sqlite3"), ":memory:", QUERY)

    def test_perl(self):
        self.check_malloc_agrees(need("perl"), "-e", GROWING_HASH)

    def test_threads_of_python(self):
        code = ("import threading\n"
                "def work(): print(end=str(len([str(i) * 9 for i in range(5000)]))[:0])\n"
                "all = [threading.Thread(target=work) for _ in range(4)]\n"
                "for each in all: each.start()\n"
                "for each in all: each.join()\n")
        self.check_malloc_agrees(need("python3"), "-S", "-c", code, PYTHONMALLOC="malloc", PYTHONHASHSEED="1")


class Heaptrack(Folder):
    def check_heaptrack_agrees(self, *command):
        heaptrack, reader = need("heaptrack"), need("heaptrack_print")
        self.record(*command)
        subprocess.run([heaptrack, "-o", self.folder / "other", *command], capture_output=True, check=True,
                       timeout=LIMIT_SECONDS, env=ENVIRONMENT)
        other = next(self.folder.glob("other*"))
        report = subprocess.run([reader, "-f", other], capture_output=True, check=True, text=True, timeout=LIMIT_SECONDS)
        calls = int(re.search(r"^calls to allocation functions: (\d+)", report.stdout, re.MULTILINE)[1])
        totals = totals_of(self.trace)
        self.assertGreater(calls, 10 * EDGE_CALLS)
        self.assertLessEqual(abs(totals.allocate + totals.reallocate - calls), EDGE_CALLS, f"{totals}, {calls}")

    def test_sqlite3(self):
        self.check_heaptrack_agrees(need("sqlite3"), ":memory:", QUERY)

    def test_perl(self):
        self.check_heaptrack_agrees(need("perl"), "-e", GROWING_HASH)


class Redis(Folder):
    """A server under load, on a socket in a folder of its own, so that no port is anybody's."""

    def serve(self, *prefix, **variables):
        path = self.folder / "socket"
        server = subprocess.Popen([*prefix, need("redis-server"), "--port", "0", "--unixsocket", str(path), "--save", "",
                                   "--appendonly", "no", "--dir", str(self.folder), "--pidfile", str(self.folder / "pid"),
                                   "--daemonize", "no"],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                  env={**ENVIRONMENT, **variables})
        self.addCleanup(self.stop, server)
        for line in server.stdout:
            if b"ready to accept" in line:
                break
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(LIMIT_SECONDS)
            client.connect(str(path))
            replies = self.load(client)
            client.sendall(b"SHUTDOWN NOSAVE\r\n")
        _, errors = server.communicate(timeout=LIMIT_SECONDS)
        return replies, server.returncode, errors.decode(errors="replace")

    def stop(self, server):
        """If something failed: of a recorded server the process is another one, by the number that it wrote down."""
        if server.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((self.folder / "pid").read_text()), signal.SIGKILL)
            server.kill()
            server.communicate()

    def load(self, client):
        commands = [f"SET key{i % 500} {'v' * (i % 300)}" for i in range(10000)]
        commands += [f"RPUSH list{i % 50} item{i}" for i in range(5000)]
        commands += [f"DEL key{i}" for i in range(0, 500, 2)] + ["DBSIZE", "ECHO end"]
        replies = b""
        for begin in range(0, len(commands), 500):
            client.sendall("".join(f"{each}\r\n" for each in commands[begin:begin + 500]).encode())
            wanted = len(commands[:begin + 500])
            while replies.count(b"\n") < wanted + (b"$3\r\n" in replies):
                received = client.recv(1 << 16)
                self.assertTrue(received)
                replies += received
        return replies

    def test_it_answers_as_without(self):
        plain = self.serve()
        recorded = self.serve(TOOL, "record", "--quiet", "--stacks", "-o", self.trace, "--")
        self.assertEqual(recorded[:2], plain[:2], recorded[2])
        self.assertGreater(totals_of(self.trace).allocate, 5000)

    def test_the_malloc_agrees(self):
        replies, status, errors = self.serve(TOOL, "record", "--quiet", "-o", self.trace, "--", LD_PRELOAD=need_malloc(),
                                             CISTERN_MALLOC_STATS="1")
        self.assertEqual((status, replies.endswith(b"end\r\n")), (0, True), errors)
        totals = totals_of(self.trace)
        counts = [requests for requests, _ in counted_by_malloc(errors, "redis-server")]
        within = [each for each in counts
                  if totals.allocate - EDGE_CALLS <= each <= totals.allocate + totals.reallocate + EDGE_CALLS]
        self.assertEqual(len(within), 1, f"{totals}, {counts}")


class Java(Folder):
    def test_it_is_recorded_unmodified(self):
        plain, done = self.record(need("java"), "-Xmx64m", "-Xshare:auto", "-version")
        self.assertEqual(done.stderr, plain.stderr)  # Where it says its version.
        totals = totals_of(self.trace)
        self.assertGreater(totals.allocate, 1000)
        self.assertGreaterEqual(totals.live, 0)


if __name__ == "__main__":
    unittest.main()
