"""Runs the measuring programs, a row at a time, keeps what each row gave, and says how far it has come."""

import csv
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import time

from .results import NotMeasured, read_benchmarks, split_name

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
JOB_LIMIT_SECONDS = 900
# jemalloc keeps its data in the room that the loader has left for libraries that are loaded later.
LOADER = "glibc.rtld.optional_static_tls=16384"


class Failure(Exception):
    """What went wrong, and what to do next, for the user."""


def add_areas(parser, areas):
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release", help="the build (build/release)")
    parser.add_argument("--only", metavar="AREA,...", help="some of: " + ", ".join(areas))


def parse_areas(parser, areas):
    """The arguments; `only` is a list."""
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",") if arguments.only else list(areas)
    if unknown := set(arguments.only) - set(areas):
        parser.error(f"no area is called {', '.join(sorted(unknown))}; there are {', '.join(areas)}")
    return arguments


def end_with(main, when_broken_off=""):
    """Ends the program as `main` says; what it throws for the user goes to stderr."""
    name = pathlib.Path(sys.argv[0]).name
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(f"\n{name}: broken off. {when_broken_off}".rstrip())
    except (OSError, ValueError, Failure, NotMeasured) as error:
        sys.exit(f"{name}: {error}")


@dataclasses.dataclass
class Job:
    """One row: a process of its own, which has all the row's contestants; or one curve over time."""

    area: str
    name: str
    command: list
    is_curve: bool = False  # CSV on stdout, instead of Google Benchmark's JSON in a file


class Progress:
    """A line that is written over on a terminal, with the time that is left; in a pipe nothing but the areas' ends."""

    def __init__(self, jobs, stream=sys.stderr):
        self.stream = stream
        self.is_terminal = stream.isatty()
        self.total = len(jobs)
        self.done = 0
        self.measured = 0
        self.seconds = 0.0

    def show(self, job):
        if self.is_terminal:
            left = ""
            if self.measured:
                seconds = self.seconds / self.measured * (self.total - self.done)
                left = f", {seconds // 60:.0f}:{seconds % 60:02.0f} left"
            self.stream.write(f"\r\033[K[{self.done + 1}/{self.total}{left}] {job.name}"[:100])
            self.stream.flush()

    def finish(self, seconds):
        self.done += 1
        if seconds is not None:
            self.measured += 1
            self.seconds += seconds

    def say(self, text):
        self.stream.write(f"\r\033[K{text}\n" if self.is_terminal else f"{text}\n")
        self.stream.flush()


def environment():
    tunables = ":".join(filter(None, (os.environ.get("GLIBC_TUNABLES"), LOADER)))
    return {**os.environ, "GLIBC_TUNABLES": tunables, "LC_ALL": "C"}


def run(command, limit_seconds=JOB_LIMIT_SECONDS, errors=subprocess.PIPE):
    """What it printed on stdout. Throws a Failure that says how to go on. `errors`: None shows what it says on stderr."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment(), check=False,
                              timeout=limit_seconds, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        told = ((done.stderr or "").strip() or done.stdout.strip())[-1500:]
        raise Failure(f"status {done.returncode}: {told}\nRun it alone to see more:\n  {' '.join(command)[:600]}")
    return done.stdout


def benchmark_jobs(area, program, options, run_options, rows=""):
    """A job for each row that the program has, of those that match the regular expression `rows`."""
    listing = [program, *options, "--benchmark_list_tests=true", *([f"--benchmark_filter={rows}"] if rows else [])]
    names = run(listing, 60, errors=None).split()  # who is left out, and why
    rows = {}
    for name in names:
        rows.setdefault(split_name(name)[0], []).append(name)
    return [Job(area, row, [program, *options, "--benchmark_filter=^(" + "|".join(map(regular, of_row)) + ")$", *run_options])
            for row, of_row in rows.items()]


def regular(name):
    return re.sub(r"([.+*?()\[\]{}|^$\\])", r"\\\1", name)


def fingerprint(job):
    """Changes when the job's result may: its program, its options, its peers."""
    digest = hashlib.sha256(json.dumps([list(map(str, job.command)), os.environ.get("CISTERN_PERF_PEERS")]).encode())
    for part in map(pathlib.Path, job.command):
        if part.is_file():
            digest.update(part.read_bytes())
    return digest.hexdigest()


def kept(path, key):
    """What a job gave before, if it is still that job."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return before if before.get("key") == key else None


def read_curve(text):
    """CSV → {column: [value]}, with at most a few hundred points."""
    lines = [line for line in csv.DictReader(io.StringIO(text))]
    if not lines:
        raise Failure("it printed no curve")
    step = max(1, len(lines) // 300)
    return {column: [float(line[column]) for line in lines[::step]] for column in lines[0]}


def measure(job, folder):
    """The job's result, measured now."""
    if job.is_curve:
        return {"curve": read_curve(run(job.command))}
    written = folder / "running.json"
    written.unlink(missing_ok=True)
    run([*job.command, f"--benchmark_out={written}", "--benchmark_out_format=json"])
    try:
        document = json.loads(written.read_text(encoding="utf-8"))
        return {"rows": read_benchmarks(document), "context": document.get("context", {})}
    except (OSError, KeyError, ValueError) as error:
        raise Failure(f"what it wrote can't be read: {error}") from error


class Load:
    """How many cores were busy with what we don't run, as the kernel counts it."""

    def __init__(self):
        self.began = self.now()

    @staticmethod
    def now():
        ticks = [int(value) for value in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        ours = os.times()
        return (time.monotonic(), (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK"), sum(ours[:4]))

    def cores_of_others(self):
        wall, busy, ours = (end - begin for begin, end in zip(self.began, self.now()))
        return round(max(0.0, busy - ours) / max(wall, 1e-9), 2)


def measure_all(jobs, folder, again=False, progress=None):
    """[(job, result)] of all. What was measured before, by the same program in the same way, stays. A job that fails
    doesn't keep the others from being measured; then a Failure is thrown at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    progress = progress or Progress(jobs)
    results, failures = [], []
    for number, job in enumerate(jobs):
        progress.show(job)
        path = folder / (re.sub(r"[^\w.+-]+", "_", f"{job.area}_{job.name}") + ".json")
        key = fingerprint(job)
        result = None if again else kept(path, key)
        seconds = None
        if result is None:
            began, load = time.monotonic(), Load()
            try:
                result = {"key": key, **measure(job, folder)}
                seconds = time.monotonic() - began
                result.update(seconds=round(seconds, 1), cores_of_others=load.cores_of_others(),
                              date=time.strftime("%Y-%m-%d", time.gmtime()))
                unfinished = path.with_suffix(".new")
                unfinished.write_text(json.dumps(result), encoding="utf-8")
                unfinished.replace(path)
            except Failure as failure:
                progress.say(f"{job.name}: {failure}")
                failures.append(job.name)
        if result is not None:
            results.append((job, result))
        progress.finish(seconds)
        if number + 1 == len(jobs) or jobs[number + 1].area != job.area:
            progress.say(f"{job.area}: done, {progress.done} of {progress.total} rows")
    if failures:
        raise Failure(f"{len(failures)} of {len(jobs)} rows could not be measured: {', '.join(failures[:5])}. "
                      "What is measured stays; when the cause is gone, run this again.")
    return results
