#!/usr/bin/env python3
"""Seeds faults into the library, one at a time, and shows that its tests notice each.

    mutation.py                  copies the tree to build/mutation, and for each fault of mutation_faults.txt builds
                                 and runs the tests that it names; exit code 1 if one survives
      --only WORDS...            faults whose file or description has these words; first those with the first ones
      --jobs N                   for builds and tests (default 1)
      --limit SECONDS            for one test (default 120): a fault that hangs is noticed
      --minutes M                begins no fault after so long; in random order, so that each has its turn
      --tests-pass               takes for granted that the tests pass without a fault, and runs none to see
      --results FILE             takes down there what became of each fault; one that was noticed isn't tried again
      --page FILE                only writes those results as a page, docs/mutation.md: what noticed each fault
      --work FOLDER              where the copy goes (default build/mutation)
    mutation.py --list           the faults
    mutation.py --check          every fault fits the tree: its old lines are found exactly once
    mutation.py --self-test      of this script

A fault, in mutation_faults.txt, reads like a piece of a diff ("  " context, "- " a line that goes, "+ " one that comes):

    @ src/pool/depot.cpp : depot trim : a magazine is lost
      } else {
    -   s.magazines.push(whole);

behind "@": the file, the tests that should notice, what is wrong. Indentation doesn't matter. A test is a program's name
without "_test"; "NAME_corpus", a fuzz body over its corpus; "TARGET=PATTERN", the tests that fit a pattern and the target
that they need; "layering", the script; "annotations", clang's analysis of locks in the changed file.
"""

import argparse
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
FLAGS = ["-std=c++20", "-fsyntax-only", "-Wthread-safety", "-Werror", "-Iinclude"]
FAILED_CHECK = re.compile(r": (?:fatal )?error: in \"([^\"]*)\"")  # as Boost.Test says it
# What a fault leaves unused is no error: it's the tests that should notice.
QUIET = "".join(f'#pragma GCC diagnostic ignored "-Wunused-{what}"\n'
                for what in ("parameter", "variable", "but-set-variable", "function"))


class Fault:
    def __init__(self, number, head):
        parts = [part.strip() for part in head.split(" : ", 2)]
        if len(parts) != 3 or not all(parts):
            raise ValueError(f"mutation_faults.txt:{number}: @ FILE : TESTS : WHAT")
        self.line, self.file, self.tests, self.what = number, parts[0], parts[1].split(), parts[2]
        self.piece = []  # (kind, text without indentation)

    def __str__(self):
        return f"{self.file}: {self.what}"

    def old(self):
        return [text for kind, text in self.piece if kind != "+"]

    def places_in(self, lines):
        stripped, old = [line.strip() for line in lines], self.old()
        return [at for at in range(len(lines) - len(old) + 1) if stripped[at:at + len(old)] == old]

    def problem_in(self, root):
        path = root / self.file
        if not path.is_file():
            return "there is no such file"
        if not any(kind != " " for kind, _ in self.piece):
            return "it changes nothing"
        places = self.places_in(path.read_text(encoding="utf-8").splitlines())
        return None if len(places) == 1 else f"its old lines are found {len(places)} times"

    def applied_to(self, text):
        lines = text.splitlines()
        at = self.places_in(lines)[0]
        new = []
        for kind, words in self.piece:
            new += [lines[at]] if kind == " " else [words] if kind == "+" else []
            at += kind != "+"
        lines[at - len(self.old()):at] = new
        return "\n".join(lines) + "\n"


def read_faults(text):
    faults = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("@ "):
            faults.append(Fault(number, line[2:]))
        elif line.strip() and not line.startswith("#"):
            if not faults or line[:2] not in ("  ", "- ", "+ "):
                raise ValueError(f"mutation_faults.txt:{number}: neither a fault nor a line of one")
            faults[-1].piece.append((line[0], line[2:].strip()))
    return faults


def check(faults, root):
    return [f"mutation_faults.txt:{one.line}: {one}: {one.problem_in(root)}" for one in faults if one.problem_in(root)]


class Tree:
    """A copy of the sources, in which a fault may be."""

    def __init__(self, root, work, jobs, limit):
        self.commit = commit_of(root)
        # Built where the tree itself is built, so that ccache knows what hasn't changed.
        self.copy, self.build, self.jobs, self.limit = work, work / "build/dev", jobs, limit
        self.seconds = {}  # by test, without a fault
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root,
                                check=True, capture_output=True).stdout.decode().split("\0")
        wanted = {name for name in listed if name and (root / name).is_file()}
        for folder in ("src", "include", "test"):
            for there in [path for path in (self.copy / folder).rglob("*") if path.is_file()]:
                if str(there.relative_to(self.copy)) not in wanted:
                    there.unlink()
        for name in sorted(wanted):
            target = self.copy / name
            if not target.is_file() or target.read_bytes() != (root / name).read_bytes():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / name, target)

    def run(self, *command, check=False, limit=None):
        """The exit code of a command, and what it said."""
        try:
            done = subprocess.run([str(word) for word in command], cwd=self.copy, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, errors="replace", timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            return 124, "it took too long"
        if check and done.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}")
        return done.returncode, done.stdout

    def build_target(self, target, check=False):
        if not (self.build / "build.ninja").is_file():  # else a build configures anew where it must
            self.run("cmake", "-S", self.copy, "-B", self.build, "--preset", "dev", "-DCISTERN_BUILD_BENCHMARKS=OFF",
                     check=True)
        return self.run("cmake", "--build", self.build, "-t", target, "--", f"-j{self.jobs}", check=check)

    def failure_of_looks(self, tests, file):
        """The first that failed of what only looks at the sources, or ""."""
        if "layering" in tests and self.run(sys.executable, "test/layering.py", ".")[0] != 0:
            return "layering"
        if "annotations" in tests and self.run("clang++", *FLAGS, file)[0] != 0:
            return "annotations"
        return ""

    def first_failure(self, tests, file):
        """The test that noticed, or "" if all passed; or None where the library doesn't build."""
        seen = self.failure_of_looks(tests, file)
        if seen:
            return seen
        for one in sorted(programs_of(tests), key=lambda one: self.seconds.get(one, 0)):
            code, said = self.build_target(target_of(one))
            if code != 0:
                return "a warning of the compiler" if "[-Werror=" in said else None
            failed = self.failure_of(one)
            if failed:
                return failed
        return ""

    def failure_of(self, test):
        """The first that failed of a test that is built, or "". What it says of the first failure is enough."""
        command = ["ctest", "--test-dir", str(self.build), "-R", f"^({pattern_of(test)})$", f"-j{self.jobs}", "-V",
                   "--stop-on-failure", "--no-tests=error", "--timeout", str(self.limit)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              start_new_session=True) as running:
            said = []
            for line in running.stdout:
                said.append(line)
                if check := FAILED_CHECK.search(line):
                    os.killpg(running.pid, signal.SIGKILL)
                    return f"{pattern_of(test)} ({check.group(1)})"
        failed = re.findall(r"\d+ - (\S+) (\(Timeout\))?", "".join(said).split("The following tests FAILED:")[-1])
        name, is_late = failed[0] if failed else ("ctest", "")
        return "" if running.returncode == 0 else f"{name} (it never ends)" if is_late else name

    def measure(self, tests, file):
        """How long each test takes where no fault is; one that fails even then would notice every fault."""
        seen = self.failure_of_looks(tests, file)
        if seen:
            sys.exit(f"{seen} fails without any fault")
        for one in [one for one in programs_of(tests) if one not in self.seconds]:
            self.build_target(target_of(one), check=True)
            begun = time.monotonic()
            if self.failure_of(one):
                sys.exit(f"{one} fails without any fault")
            self.seconds[one] = time.monotonic() - begun


def commit_of(root):
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=root, check=False,
                          capture_output=True, text=True).stdout.strip()


def programs_of(tests):
    return [one for one in tests if one not in ("layering", "annotations")]


def target_of(test):
    return test.split("=")[0] if "=" in test else test if test.endswith("_corpus") else f"{test}_test"


def pattern_of(test):
    return test.split("=")[1] if "=" in test else test


def run(faults, tree, minutes, results, trusts):
    survivors, broken, noticed, started = [], [], 0, time.monotonic()
    for number, one in enumerate(faults, 1):
        if minutes and time.monotonic() - started > minutes * 60:
            print(f"out of time: {len(faults) - number + 1} faults were not tried")
            break
        if not trusts:
            tree.measure(one.tests, one.file)
        path, begun = tree.copy / one.file, time.monotonic()
        original = path.read_text(encoding="utf-8")
        quiet = QUIET if programs_of(one.tests) and path.suffix == ".cpp" else ""
        path.write_text(quiet + one.applied_to(original), encoding="utf-8")
        try:
            failed = tree.first_failure(one.tests, one.file)
        finally:
            path.write_text(original, encoding="utf-8")
        verdict = "DOES NOT BUILD" if failed is None else f"noticed by {failed}" if failed else "SURVIVED"
        (broken if failed is None else survivors).extend([] if failed else [one])
        noticed += bool(failed)
        print(f"[{number}/{len(faults)}] {one}: {verdict} ({time.monotonic() - begun:.0f} s)", flush=True)
        if results:
            with results.open("a", encoding="utf-8") as file:
                file.write(f"{one}\t{verdict}\t{tree.commit}\n")
    print(f"{noticed} noticed, {len(survivors)} survived, {len(broken)} don't build")
    for one in survivors + broken:
        print(f"  {one} (tests: {' '.join(one.tests)})")
    return 1 if survivors or broken else 0


PAGE = """# Seeded faults, and what noticed them

Written by `test/mutation.py --page`, not by hand: it seeded these faults of
[mutation_faults.txt](../test/mutation_faults.txt) into the library, one at a time, built the tests that a fault names and
ran them ([how](../CONTRIBUTING.md#seed-faults)). Of {all} faults {tried} were tried, and {noticed} noticed.
In brackets stands the test case, where the program said one; then the commit that the fault was seeded into.

| where | what is wrong | noticed by | at |
| --- | --- | --- | --- |
{rows}
"""


def page(faults, results):
    """A row for each fault that was tried, with what became of it the last time."""
    became = {}
    for line in results.splitlines():
        fault, verdict, commit = (line.split("\t") + [""])[:3]
        became[fault] = (verdict, commit)
    tried = [(one, *became[str(one)]) for one in faults if str(one) in became]
    noticed = [one for one, verdict, _ in tried if verdict.startswith("noticed by ")]
    rows = [f"| `{one.file}` | {one.what} | {verdict.removeprefix('noticed by ')} | {commit} |"
            for one, verdict, commit in tried]
    return PAGE.format(all=len(faults), tried=len(tried), noticed=len(noticed), rows="\n".join(rows))


def self_test():
    text = "int a;\n{\n  b();\n  c();\n}\n{\n  b();\n}\n"
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "f.cpp").write_text(text)
        head = "@ f.cpp : x : w\n"
        cases = [  # (piece, the problem or the text it makes)
            ("- int a;\n+ int b;\n", "int b;\n{\n  b();\n  c();\n}\n{\n  b();\n}\n"),
            ("- b();\n", "its old lines are found 2 times"),
            ("- b();\n  c();\n", "int a;\n{\n  c();\n}\n{\n  b();\n}\n"),
            ("  b();\n- }\n+ }}\n", "int a;\n{\n  b();\n  c();\n}\n{\n  b();\n}}\n"),
            ("  int a;\n+ d();\n", "int a;\nd();\n{\n  b();\n  c();\n}\n{\n  b();\n}\n"),
            ("- d();\n", "its old lines are found 0 times"),
            ("  int a;\n", "it changes nothing"),
        ]
        failures = []
        for piece, expected in cases:
            one = read_faults(head + piece)[0]
            made = one.problem_in(root) or one.applied_to(text)
            if made != expected:
                failures.append(f"{piece!r}: expected {expected!r}, got {made!r}")
        if read_faults("@ g.cpp : x : w\n- a\n")[0].problem_in(root) != "there is no such file":
            failures.append("a missing file isn't seen")
        for bad in ("@ f.cpp : x\n", "words\n", head + "* a\n"):
            try:
                read_faults(bad)
                failures.append(f"{bad!r} is taken for a fault")
            except ValueError:
                pass
    three = read_faults("".join(f"@ {name} : x : w\n- a\n" for name in ("f.cpp", "g.cpp", "h.cpp")))
    made = page(three, "f.cpp: w\tSURVIVED\tabc\nf.cpp: w\tnoticed by x (c)\tdef\n"
                       "g.cpp: w\tSURVIVED\tabc\ngone.cpp: w\tSURVIVED\tabc\n")
    rows = ["| `f.cpp` | w | x (c) | def |", "| `g.cpp` | w | SURVIVED | abc |"]
    if "Of 3 faults 2 were tried, and 1 noticed." not in made or made.splitlines()[-2:] != rows:
        failures.append(f"the page reads\n{made}")
    for failure in failures:
        print(failure)
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag in ("--list", "--check", "--self-test", "--tests-pass"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--only", nargs="+", default=[""])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--limit", type=int, default=120)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--results", type=pathlib.Path)
    parser.add_argument("--page", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    root = HERE.parent
    faults = read_faults((HERE / "mutation_faults.txt").read_text(encoding="utf-8"))
    problems = check(faults, root)
    chosen = list(dict.fromkeys(one for words in arguments.only for one in faults if words in str(one)))
    if arguments.list:
        print("\n".join(f"{one}  [{' '.join(one.tests)}]" for one in chosen))
    print("\n".join(problems) or f"{len(faults)} faults fit the tree")
    if problems or not chosen:
        return 1
    if arguments.list or arguments.check:
        return 0
    if arguments.page:
        arguments.page.write_text(page(faults, arguments.results.read_text(encoding="utf-8")), encoding="utf-8")
        return 0
    if arguments.results and arguments.results.exists():
        known = arguments.results.read_text(encoding="utf-8").splitlines()
        chosen = [one for one in chosen if not any(line.startswith(f"{one}\tnoticed") for line in known)]
    if arguments.minutes:
        random.shuffle(chosen)
    tree = Tree(root, (arguments.work or root / "build/mutation").resolve(), arguments.jobs, arguments.limit)
    return run(chosen, tree, arguments.minutes, arguments.results, arguments.tests_pass)


if __name__ == "__main__":
    sys.exit(main())
