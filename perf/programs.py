"""Programs of the machine that are run under a malloc or a recorder: what they work on, and where."""

import os
import shutil
import socket
import subprocess
import sys
import time

LIMIT_SECONDS = 120
GIT_CONFIG = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.fsync=none", "-c", "core.pager=cat")


class Failure(Exception):
    """What went wrong, for the user."""


def end_with(main):
    """Ends the program as `main` says; what it throws for the user goes to stderr."""
    try:
        sys.exit(main())
    except (OSError, ValueError, Failure, subprocess.SubprocessError) as failure:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {failure}")


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


def make_inputs(folder, environment, lines, rows, files):
    """What several of them work on; made once, before any clock. So many lines, rows of a table, files of a repository."""
    (folder / "lines").write_text(pseudo_random_lines(lines))
    (folder / "unit.cpp").write_text(CXX_PROGRAM)
    (folder / "work.py").write_text(PYTHON_PROGRAM)
    (folder / "work.pl").write_text(PERL_PROGRAM)
    (folder / "work.sql").write_text(SQL_PROGRAM.format(rows=rows))
    if shutil.which("g++"):  # the compiler proper, alone, doesn't know where the headers are
        subprocess.run(["g++", "-std=c++17", "-E", "-o", "unit.ii", "unit.cpp"], cwd=folder, env=environment, check=True)
    if files and shutil.which("git"):
        make_repository(folder, environment, files)


def compiler_proper():
    """The program behind g++ that compiles, or None."""
    if shutil.which("g++") is None:
        return None
    path = subprocess.run(["g++", "-print-prog-name=cc1plus"], capture_output=True, text=True, check=True).stdout.strip()
    return shutil.which(path)


def single_processes(python_work, perl_work):
    """Name → (command, what its environment has more) of those that are one process: what is recorded is all they do."""
    git, python = ("git", "-C", "repository", *GIT_CONFIG), (sys.executable, "work.py", str(python_work))
    return {
        "cc1plus": ((compiler_proper(), "-fpreprocessed", "-quiet", "-std=c++17", "-O1", "unit.ii", "-o", "unit.s"), {}),
        "git-fsck": ((*git, "fsck", "--full", "--no-progress"), {}),
        "git-log": ((*git, "log", "--stat", "-p"), {}),
        "perl": (("perl", "work.pl", str(perl_work)), {}),
        "python3": (python, {}),
        "python3-malloc": (python, {"PYTHONMALLOC": "malloc"}),
        "sqlite3": (("sqlite3", "-batch", ":memory:", ".read work.sql"), {}),
    }


def make_repository(folder, environment, files):
    """folder/repository, of eight commits, packed, so that the first run has no more to do than the others."""
    repository = folder / "repository"
    repository.mkdir()
    for commit in range(8):
        for number in range(files):
            path = repository / f"folder{number % 10}" / f"file{number}"
            path.parent.mkdir(exist_ok=True)
            path.write_text(pseudo_random_lines(50 + number * (commit + 1) // 2))
        commands = [*([["init", "--quiet"]] if commit == 0 else []), ["add", "."], ["commit", "--quiet", "-m", str(commit)]]
        for command in commands:
            subprocess.run(["git", *GIT_CONFIG, *command], cwd=repository, env=environment, check=True)
    subprocess.run(["git", *GIT_CONFIG, "gc", "--quiet"], cwd=repository, env=environment, check=True)


def environment_in(folder):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LD_", "GIT_", "PYTHON", "CISTERN_", "MALLOC_", "MIMALLOC_"))}
    return {**kept, "LC_ALL": "C", "HOME": str(folder), "TMPDIR": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def ask_server(port, *words):
    return subprocess.run(["redis-cli", "-p", port, *words], capture_output=True, check=False, timeout=LIMIT_SECONDS).stdout


def drive_server(server, port, *loads):
    """Waits until a redis-server answers, gives it what redis-benchmark is told, and ends it. The seconds that the loads took."""
    try:
        give_up = time.monotonic() + LIMIT_SECONDS
        while not ask_server(port, "ping").startswith(b"PONG"):
            if server.poll() is not None or time.monotonic() > give_up:
                raise Failure("redis-server doesn't answer")
        start = time.monotonic()
        for load in loads:
            subprocess.run(["redis-benchmark", "-p", port, "-q", *load], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           check=True, timeout=LIMIT_SECONDS)
        return time.monotonic() - start
    finally:
        ask_server(port, "shutdown", "nosave")
