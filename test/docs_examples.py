#!/usr/bin/env python3
"""Compiles and runs the programs in the documentation, and compares what they print with what it says.

docs_examples.py --library FILE --include DIR [--run-only] [--self-test] [ROOT] -- COMPILER [FLAG...]

A program is a ```cpp block with an `int main` in README.md, docs/*.md or docs/decisions/*.md. It must compile
without warnings and exit with 0. Where the comment `<!-- output -->` stands above a ```text block, the last
program before it must print exactly that text on stdout; `<!-- output NAME=VALUE -->` sets a variable in its
environment. A marked block without a program, or a marker without a block, is an error. With --run-only what
is printed doesn't matter: figures that are written down follow from one standard library's objects.
"""
import argparse
import concurrent.futures
import dataclasses
import difflib
import os
import pathlib
import re
import subprocess
import sys
import tempfile

FENCE = re.compile(r"^```(\w*)\s*$")
MARKER = re.compile(r"^<!-- output((?: \w+=\S+)*) -->\s*$")
TIME_LIMIT_SECONDS = 120


@dataclasses.dataclass
class Output:
    environment: dict
    text: str
    line: int


@dataclasses.dataclass
class Program:
    file: pathlib.Path
    line: int
    source: str
    outputs: list = dataclasses.field(default_factory=list)

    @property
    def place(self):
        return f"{self.file}:{self.line}"


class BadDocument(Exception):
    pass


def programs_of(path, text):
    """The programs of one document, each with the outputs it must have."""
    programs = []
    marker = None  # (environment, line) of a marker whose block is still to come
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        found = MARKER.match(lines[at])
        if found:
            marker = (dict(pair.split("=", 1) for pair in found[1].split()), at + 1)
        fence = FENCE.match(lines[at])
        if fence:
            start = at + 1
            at = next((i for i in range(start, len(lines)) if lines[i].rstrip() == "```"), None)
            if at is None:
                raise BadDocument(f"{path}:{start}: the block is never closed")
            block = "\n".join(lines[start:at]) + "\n"
            if fence[1] == "cpp" and "int main" in block:
                programs.append(Program(path, start + 1, block))
            elif fence[1] == "text" and marker:
                if not programs:
                    raise BadDocument(f"{path}:{marker[1]}: no program before this output")
                programs[-1].outputs.append(Output(marker[0], block, start + 1))
                marker = None
        at += 1
    if marker:
        raise BadDocument(f"{path}:{marker[1]}: no ```text block after this marker")
    return programs


def run(command, **more):
    return subprocess.run(command, text=True, capture_output=True, timeout=TIME_LIMIT_SECONDS, **more)


def check(program, number, arguments):
    """An empty string, or what is wrong with the program."""
    source = pathlib.Path(arguments.work) / f"example_{number}.cpp"
    object_file, executable = source.with_suffix(".o"), source.with_suffix("")
    source.write_text(program.source)
    # In two steps, so that a compiler cache can help.
    steps = [
        [*arguments.compiler, "-I", arguments.include, "-c", str(source), "-o", str(object_file)],
        [*arguments.compiler, str(object_file), arguments.library, "-pthread",
         f"-Wl,-rpath,{pathlib.Path(arguments.library).parent}", "-o", str(executable)],
    ]
    for step in steps:
        built = run(step)
        if built.returncode != 0:
            return f"{program.place}: does not build\n{built.stderr}"
    for output in program.outputs or [Output({}, None, program.line)]:
        environment = {k: v for k, v in os.environ.items() if k != "CISTERN_PASS_THROUGH"}
        ran = run([str(executable)], env=environment | output.environment)
        if ran.returncode != 0:
            return f"{program.place}: exits with {ran.returncode}\n{ran.stdout}{ran.stderr}"
        if output.text is not None and not arguments.run_only and ran.stdout != output.text:
            diff = difflib.unified_diff(output.text.splitlines(), ran.stdout.splitlines(),
                                        f"{program.file}:{output.line}", "printed", lineterm="")
            return f"{program.place}: prints something else\n" + "\n".join(diff)
    return ""


def check_all(programs, arguments):
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        jobs = [workers.submit(check, program, i, arguments) for i, program in enumerate(programs)]
        return [job.result() for job in jobs]


def documents(root):
    return [root / "README.md", *sorted((root / "docs").glob("*.md")), *sorted((root / "docs/decisions").glob("*.md"))]


def self_test(arguments):
    """Every way in which an example can be wrong is noticed."""
    good = '```cpp\n#include <cstdio>\nint main() { std::puts("hi"); }\n```\n'
    marked = "<!-- output -->\n```text\n{}\n```\n"
    arguments.run_only = False
    cases = {
        "good": (good + marked.format("hi"), ""),
        "other output": (good + marked.format("ho"), "prints something else"),
        "exit": ("```cpp\nint main() { return 3; }\n```\n", "exits with 3"),
        "build": ("```cpp\nint main() { return nothing; }\n```\n", "does not build"),
    }
    failures = 0
    for name, (text, wanted) in cases.items():
        [problem] = check_all(programs_of(pathlib.Path(name), text), arguments)
        if (wanted == "") != (problem == "") or wanted not in problem:
            print(f"self test '{name}': wanted '{wanted}', got '{problem}'")
            failures += 1
    for text in (marked.format("hi"), good + "<!-- output -->\n", "```cpp\nint main() {}\n"):
        try:
            programs_of(pathlib.Path("bad"), text)
        except BadDocument:
            continue
        print(f"self test: accepted {text!r}")
        failures += 1
    return failures


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("root", nargs="?", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--library", required=True)
    parser.add_argument("--include", required=True)
    parser.add_argument("--run-only", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    own, compiler = sys.argv[1:], []
    if "--" in own:
        own, compiler = own[:own.index("--")], [word for word in own[own.index("--") + 1:] if word]
    arguments = parser.parse_args(own)
    arguments.compiler = compiler
    if not compiler:
        parser.error("no compiler given after --")

    with tempfile.TemporaryDirectory() as work:
        arguments.work = work
        if arguments.self_test:
            return 1 if self_test(arguments) else 0
        programs = []
        for path in documents(arguments.root):
            programs += programs_of(path.relative_to(arguments.root), path.read_text())
        problems = [problem for problem in check_all(programs, arguments) if problem]
    print("\n\n".join(problems))
    compared = 0 if arguments.run_only else sum(len(program.outputs) for program in programs)
    print(f"{len(programs)} programs, {compared} outputs compared, {len(problems)} problems")
    return 1 if problems or not programs else 0


if __name__ == "__main__":
    sys.exit(main())
