#!/usr/bin/env python3
"""Records what real programs ask of malloc, for cistern-compare --traces: FOLDER/NAME.trace for each program.

Each runs once, on input made here, with libcistern-record.so preloaded. A trace that is there stays (--again), and
programs that aren't installed are left out, with a message. Exit status: 0; 1 when a program failed or made no trace,
after all others; 2 wrong usage.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True  # nothing is left in the sources' folder
from programs import LIMIT_SECONDS, Failure, drive_server, end_with, environment_in, free_port, make_inputs, single_processes

AWK_PROGRAM = """
{ word = substr($1, 1, 4); count[word]++; lines[word] = lines[word] " " NR; last[NR % 5000] = $1 $1 }
END { for (word in count) if (count[word] > 3) { n = split(lines[word], part, " "); sum += n length(part[1]) }; print sum }
"""

BASH_PROGRAM = """
declare -A index
for ((i = 0; i < $1; i++)); do
  word=$((i * 7919 % 1009))
  index[$word]="${index[$word]:0:400} $i-$word"
  list+=("${word//1/one}")
  ((i % 200)) || list=("${list[@]:0:50}")
done
for word in "${!index[@]}"; do sum=$((sum + ${#index[$word]})); done
echo $sum
"""

CMAKE_PROGRAM = """
foreach(i RANGE 1 ${COUNT})
  math(EXPR word "${i} * 7919 % 1009")
  string(REGEX REPLACE "([13579])" "<\\\\1>" text_${word} "${text_${word}} ${i}-${word}")
  string(LENGTH "${text_${word}}" length)
  list(APPEND lengths ${length})
endforeach()
list(SORT lengths COMPARE NATURAL)
list(LENGTH lengths sum)
message(STATUS ${sum})
"""

NODE_PROGRAM = """
const words = new Map();
for (let i = 0; i < Number(process.argv[2]); i++) {
  const word = (i * 7919 % 10007).toString(16);
  words.set(word, (words.get(word) ?? Buffer.from(word)).subarray(0, 200));
  words.set(word, Buffer.concat([words.get(word), Buffer.alloc(i % 300, word)]));
}
console.log([...words.values()].reduce((sum, each) => sum + each.length, 0));
"""

VIM_PROGRAM = """
%s/\\([a-f]\\)\\([0-9]\\)/\\2-\\1/g
g/^1/m0
sort
%s/-/--/ge
write! edited
quit
"""


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recorder", type=pathlib.Path, help="the built libcistern-record.so")
    parser.add_argument("--only", default="", help="A,B,...: only these (see --list)")
    parser.add_argument("--again", action="store_true", help="replace traces that are there")
    parser.add_argument("--list", action="store_true", help="print the names of the programs")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("folder", nargs="?", type=pathlib.Path, help="where the traces go; made if it isn't there")
    arguments = parser.parse_args()
    if not arguments.list and (arguments.recorder is None or arguments.folder is None):
        parser.error("--recorder and a folder are needed, but for --list")
    return arguments


def make_all_inputs(folder, environment, work):
    """`work`: 1 to 10."""
    make_inputs(folder, environment, lines=10_000 * work, rows=3_000 * work, files=60)
    if shutil.which("clang"):  # as its own driver preprocesses
        subprocess.run(["clang", "-std=c++17", "-E", "-o", "clang.ii", "unit.cpp"], cwd=folder, env=environment, check=True)
    (folder / "work.awk").write_text(AWK_PROGRAM)
    (folder / "work.bash").write_text(BASH_PROGRAM)
    (folder / "work.cmake").write_text(CMAKE_PROGRAM)
    (folder / "work.js").write_text(NODE_PROGRAM)
    (folder / "work.vim").write_text(VIM_PROGRAM)
    (folder / "sums.bc").write_text(f"scale = 300\nfor (i = 1; i < {60 * work}; i++) sum += sqrt(i) / i\nsum\nhalt\n")
    rows = ",".join(f'{{"id": {i}, "name": "{i * 7919 % 10007:x}", "tags": [{i % 7}, {i % 11}]}}' for i in range(2_000 * work))
    rules = "".join(f"build out{i}: copy in{i % 50} | out{i // 2}x\nbuild out{i}x: copy in{i % 70}\n" for i in range(1, 300 * work))
    (folder / "build.ninja").write_text(f"rule copy\n  command = cp $in $out\nbuild out0x: copy in0\n{rules}")
    for i in range(70):
        (folder / f"in{i}").write_text(str(i))
    (folder / "rows.json").write_text(f"[{rows}]")


def programs(work):
    """Name → (command, what its environment has more). Each is the process that is recorded itself."""
    return dict(sorted({
        **single_processes(max(1, work // 5), max(1, work // 3)),
        "awk": (("awk", "-f", "work.awk", "lines"), {}),
        "bash": (("bash", "work.bash", str(400 * work)), {}),
        "bc": (("bc", "-q", "sums.bc"), {}),
        "clang": (("clang", "-cc1", "-emit-obj", "-O1", "-std=c++17", "-fcxx-exceptions", "-fexceptions", "-w",
                   "-x", "c++-cpp-output", "clang.ii", "-o", "unit.o"), {}),
        "cmake": (("cmake", f"-DCOUNT={200 * work}", "-P", "work.cmake"), {}),
        "jq": (("jq", "group_by(.tags[0]) | map({key: (.[0].name), value: length}) | from_entries", "rows.json"), {}),
        "ninja": (("ninja", "-n", "-f", "build.ninja"), {}),
        "node": (("node", "work.js", str(20_000 * work)), {}),
        "redis-server": (("redis-server", "--save", "", "--bind", "127.0.0.1", "--dir", "."), {}),
        "vim": (("vim", "-u", "NONE", "-i", "NONE", "-n", "-es", "-S", "work.vim", "lines"), {"TERM": "dumb"}),
    }.items()))


def run_alone(command, folder, environment, _work):
    done = subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False,
                          timeout=LIMIT_SECONDS)
    return done.returncode, done.stderr.decode(errors="replace")


def run_under_load(command, folder, environment, work):
    """A server, which redis-benchmark drives. Neither that nor redis-cli is recorded."""
    port = free_port()
    log = folder / "server"
    how = ("-n", str(500 * work), "-c", "10", "-P", "8")
    with log.open("wb") as output, subprocess.Popen([*command, "--port", port], cwd=folder, env=environment,
                                                    stdin=subprocess.DEVNULL, stdout=output, stderr=output) as server:
        try:
            drive_server(server, port, (*how, "-t", "set,get,lpush,lpop,sadd,hset", "-r", "10000", "-d", "100"),
                         (*how, "-t", "zadd,spop", "-r", "1000"))
            server.wait(LIMIT_SECONDS)
        finally:
            server.kill()
    return server.returncode, log.read_text(errors="replace")


def record(recorder, name, command, environment, folder, work, finished):
    trace = folder / "trace"  # what isn't whole never stands among the traces
    trace.unlink(missing_ok=True)
    full = {**environment, "LD_PRELOAD": str(recorder), "CISTERN_RECORD_TO": str(trace)}
    run = run_under_load if name == "redis-server" else run_alone
    status, errors = run(command, folder, full, work)
    if status != 0:
        raise Failure(f"{command[0]} ended with status {status}:\n{errors[:2000]}")
    if not trace.is_file() or "cistern-record" in errors:
        raise Failure(f"{command[0]} made no trace:\n{errors[:2000]}")
    shutil.move(trace, finished)


def is_installed(name, program):
    return program is not None and (name != "redis-server" or shutil.which("redis-benchmark") is not None)


def record_all(arguments, chosen, inputs):
    environment = environment_in(inputs)
    work = 1 if arguments.quick else 10
    make_all_inputs(inputs, environment, work)
    failures = 0
    for number, (name, ((program, *given), more)) in enumerate(chosen.items(), 1):
        place = f"[{number}/{len(chosen)}] {name}"
        trace = arguments.folder.resolve() / f"{name}.trace"
        path = shutil.which(program) if program else None
        if not is_installed(name, path):
            print(f"{place}: left out, not installed", file=sys.stderr)
            continue
        if trace.exists() and not arguments.again:
            print(f"{place}: there already")
            continue
        try:
            record(arguments.recorder.resolve(), name, [path, *given], {**environment, **more}, inputs, work, trace)
            print(f"{place}: {trace}, {trace.stat().st_size} bytes", flush=True)
        except (OSError, Failure, subprocess.SubprocessError) as error:
            print(f"{place}: {error}", file=sys.stderr)
            failures += 1
    return failures


def main():
    arguments = parse_arguments()
    known = programs(1 if arguments.quick else 10)
    if arguments.list:
        print("\n".join(known))
        return 0
    asked = arguments.only.split(",") if arguments.only else list(known)
    if unknown := set(asked) - set(known):
        print(f"record_traces.py: no program called {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as inputs:
        failures = record_all(arguments, {name: known[name] for name in asked}, pathlib.Path(inputs))
    return 0 if failures == 0 else 1


if __name__ == "__main__":
    end_with(main)
