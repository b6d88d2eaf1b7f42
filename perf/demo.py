#!/usr/bin/python3
"""Does two jobs again and again, with their memory from new/delete, mimalloc, the standard's pools and Cistern's in turn, and
prints what each took, what is better and what is worse:

  index     which word stands in which line of which text file under FOLDER (default: Cistern's own sources
            and docs): built, queried and torn down
  messages  messages of 1 to 256 KiB that come in bursts, are held a while and dropped by several threads;
            then it is quiet

cistern-compare of a release build does the work (cmake --workflow --preset demo builds and runs all of it). All must come
to the same result. Exit status: 0; 1 when results differ or something failed; 2 wrong usage.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True  # nothing is left in the sources' folder
from programs import Failure, end_with

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLOOR = "never-frees"
TAKERS = {
    "new-delete": "what a program has that does nothing about it: the C library's malloc",
    "mimalloc": "a malloc that is known to be fast",
    "std-unsync": "the standard library's pool for one thread",
    "std-sync": "the standard library's pool for many threads",
    "cistern-unsync": "Cistern's pool for one thread",
    "cistern-sync": "Cistern's pool for many threads",
    FLOOR: "takes nothing back: the least work for a block, and the most memory",
}
# Of the messages, as perf/demo/message_traffic.hpp has them.
TRAFFIC_SECONDS, QUIET_FROM = 1.8, 0.6
MESSAGES_BUDGET_SECONDS = 28
NOISE = 0.03
TOO_FEW_BYTES = 2**20  # no difference that a reader would care for


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=ROOT, help="whose text is indexed")
    parser.add_argument("--compare", type=pathlib.Path, default=ROOT / "build/release/perf/bin/cistern-compare",
                        help="the built cistern-compare")
    parser.add_argument("--only", choices=("index", "messages"), help="this job alone")
    parser.add_argument("--rounds", type=int, help="how often (default: so that all of it takes less than a minute)")
    parser.add_argument("--svg", type=pathlib.Path, metavar="FILE", help="draw the memory of the messages, too "
                        "(needs python3-pandas and python3-matplotlib)")
    arguments = parser.parse_args()
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error("--rounds is at least 1")
    return arguments


def show_step(text=""):
    """What is being done, in a line that the next one overwrites; on terminals only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def run(*command):
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Failure(done.stderr.strip().rpartition("\n")[2] or f"{command[0]} ended with status {done.returncode}")
    return done.stdout


def human_bytes(count):
    if count >= 2**20:
        return f"{count / 2**20:.1f} MiB"
    return f"{count / 2**10:.0f} KiB" if count >= 2**10 else f"{count:.0f} B"


def milliseconds(value):
    return f"{value:.0f} ms" if value >= 99.95 else f"{value:.1f} ms" if value >= 9.995 else f"{value:.2f} ms"


def title(text):
    print(f"\n{text}\n{'=' * len(text)}\n")


def print_columns(rows):
    """The first column aligned left, all others right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for first, *others in rows:
        print("  ".join([first.ljust(widths[0]), *(text.rjust(width) for text, width in zip(others, widths[1:]))]))


def median_ratio(mine, theirs):
    """Within each round."""
    return statistics.median(one / other for one, other in zip(mine, theirs))


class Result:
    """What one taker took of a job: times by round in ms, and bytes by what they say."""

    def __init__(self, name, times, **held_bytes):
        self.name = name
        self.times = times
        self.bytes = held_bytes


def print_table(results, headers):
    """`headers`: of the time, then of what is in `bytes`; behind it what is there when all was given back that can be."""
    rows = [["", headers[0], "/ new's", *headers[1:], "asked back"]]
    for each in results:
        *held, back = each.bytes.values()
        rows.append([each.name, milliseconds(statistics.median(each.times)),
                     f"{median_ratio(each.times, results[0].times):.2f}", *map(human_bytes, held),
                     "-" if each.name == FLOOR else human_bytes(back)])
    print_columns(rows)
    print()


def compared(mine, theirs, whose):
    """'26 % less than new-delete', '2.1 times that of mimalloc'."""
    ratio = mine / theirs
    if ratio < 1:
        return f"{100 * (1 - ratio):.0f} % less than {whose}"
    return f"{100 * (ratio - 1):.0f} % more than {whose}" if ratio < 2 else f"{ratio:.1f} times that of {whose}"


def judge(results, name, headers):
    """In words: less is better, and what differs by 3 % or 1 MiB is alike. Of the standard's pools only the same kind."""
    found = {"better": {}, "alike": {}, "worse": {}}
    ours = next(each for each in results if each.name == name)
    rivals = ("new-delete", "mimalloc", name.replace("cistern", "std"))
    for other in (each for each in results if each.name in rivals):
        measures = [(headers[0], median_ratio(ours.times, other.times), 1, 0)]
        measures += [(header, ours.bytes[key], other.bytes[key], TOO_FEW_BYTES)
                     for header, key in zip(headers[1:], ours.bytes)]
        for measure, mine, theirs, too_little in measures:
            if abs(mine - theirs) <= max(too_little, NOISE * theirs):
                found["alike"].setdefault(measure, []).append(f"as {other.name}")
            else:
                kind = "better" if mine < theirs else "worse"
                found[kind].setdefault(measure, []).append(compared(mine, theirs, other.name))
    print(f"{name} in words:")
    for kind, lines in found.items():
        for measure, comparisons in lines.items():
            print(f"  {kind:6}  {measure}: {', '.join(comparisons)}")
    print()


def measure_index(arguments, rounds):
    """(Google Benchmark's context, {number of threads: the runs})."""
    names = "|".join(TAKERS)
    with tempfile.TemporaryDirectory() as folder:
        written = pathlib.Path(folder) / "index.json"
        run(arguments.compare, f"--text={arguments.folder}", f"--benchmark_filter=^demo/index/[0-9]+/({names})$",
            f"--benchmark_repetitions={rounds}", "--benchmark_min_time=0.05", "--benchmark_enable_random_interleaving=true",
            f"--benchmark_out={written}", "--benchmark_out_format=json")
        document = json.loads(written.read_text(encoding="utf-8"))
    rows = {}
    for each in document["benchmarks"]:
        if each["run_type"] == "iteration":
            rows.setdefault(int(each["name"].split("/")[2]), []).append(each)
    return document["context"], dict(sorted(rows.items()))


def index_results(runs):
    """One for each taker, in their order."""
    def of(name):
        return sorted((each for each in runs if each["name"].endswith("/" + name)), key=lambda each: each["repetition_index"])

    unit = {"ns": 1e6, "us": 1e3, "ms": 1, "s": 1e-3}
    return [Result(name, [each["real_time"] / unit[each["time_unit"]] for each in mine],
                   most=mine[0]["peak_bytes"], left=mine[0]["left_bytes"], back=mine[0]["held_bytes"])
            for name in TAKERS if (mine := of(name))]


def run_index(arguments):
    rounds = arguments.rounds or 5
    show_step(f"the index, {rounds} rounds")
    context, rows = measure_index(arguments, rounds)
    show_step()
    of_one = next(iter(rows.values()))[0]
    title(f"Word index over {of_one['label']}" + (", Cistern's own sources and docs" if arguments.folder == ROOT else ""))
    print('Hundreds of thousands of small blocks, of which most live until all of the index is torn down.\n'
          'The time of "never-frees" is about that of the job itself, below which no pool can get.\n\n'
          "  most        what the index added to the memory of a process of its own\n"
          "  after it    what of that was still there when the index was gone\n"
          "  asked back  and after all gave back what they can: trim(), malloc_trim, mi_collect\n")
    for threads, runs in rows.items():
        print(f"{'One thread' if threads == 1 else f'{threads} threads'}, median of {rounds} round{'s' * (rounds > 1)}:\n")
        results = index_results(runs)
        print_table(results, ("time", "most", "after it"))
        judge(results, "cistern-unsync" if threads == 1 else "cistern-sync", ("time", "most memory", "memory after it"))
    print(f"All gave the same index: {of_one['words']:,.0f} words, {of_one['occurrences']:,.0f} occurrences.\n"
          f"mimalloc is {context.get('peer_mimalloc', 'not there')}.")
    if warning := context.get("warning"):
        print(f"Warning: {warning}.")


def measure_messages(arguments, names):
    """{name: [(processor seconds, checksum, messages, bytes given back, [(live, held)])]}, in interleaved rounds."""
    runs, began = {name: [] for name in names}, time.monotonic()
    done = 0
    while done < arguments.rounds if arguments.rounds else \
            done == 0 or (time.monotonic() - began) * (1 + 1 / done) <= MESSAGES_BUDGET_SECONDS:
        for name in names[done % len(names):] + names[:done % len(names)]:
            show_step(f"messages, round {done + 1}: {name}")
            first, *samples = run(arguments.compare, f"--messages-of={name}").splitlines()
            seconds, checksum, messages, back = first.split()
            runs[name].append((float(seconds), checksum, int(messages), int(back), [tuple(map(int, each.split())) for each in samples]))
        done += 1
    show_step()
    return runs


def curve(runs, column):
    """The mean of the runs, for each sample."""
    return [statistics.mean(sample[column] for sample in samples) for samples in zip(*(each[4] for each in runs))]


def print_bars(lines, top):
    """Each line as bars of two rows, all on the same scale."""
    shapes = " ▁▂▃▄▅▆▇█"
    try:
        shapes.encode(sys.stdout.encoding or "ascii")
    except UnicodeError:
        shapes = " .:#"
    steps = len(shapes) - 1
    for name, values in lines.items():
        heights = [max(1, round(value / top * 2 * steps)) if value else 0 for value in values]  # what isn't nothing shows
        for row in (1, 0):
            bars = "".join(shapes[min(max(height - row * steps, 0), steps)] for height in heights)
            print(f"{'' if row else name:16}|{bars}|{'' if row else ' ' + human_bytes(values[-1])}")
    columns = len(next(iter(lines.values())))
    quiet = int(columns * QUIET_FROM / TRAFFIC_SECONDS)
    print(" " * 17 + f"{'^ 0 s':{quiet}}{f'^ {QUIET_FROM} s: quiet from here':{columns - quiet - 7}}{TRAFFIC_SECONDS} s ^\n")


def draw(lines, path):
    try:
        from reporting import pictures, results
    except ImportError as missing:
        raise Failure(f"no picture: {missing}. Install Debian's python3-pandas and python3-matplotlib.") from missing
    live, *others = lines.items()
    seconds = [TRAFFIC_SECONDS * number / len(live[1]) for number in range(len(live[1]))]
    held = {name: {"seconds": seconds, "live_bytes": live[1], "resident_bytes": values} for name, values in others if name != FLOOR}
    measured = results.Results({"version": "", "held": {"messages": held}})
    text = "Memory held by bursts of messages, and when it is quiet"
    pictures.save(pictures.held_over_time(measured, {"messages": text}, list(held)), path, text)
    print(f"The same as a picture: {path}\n")


def run_messages(arguments):
    title("Messages of 1 to 256 KiB, in bursts, on 4 threads")
    print("3 bursts of 64 MiB. Half of each is held for 20 ms, the other half until the burst is over, and then\n"
          "dropped at once; a message is dropped by another thread than received it. After the last burst\n"
          "only a few small messages come. Each run is a process of its own, and takes the same time by the\n"
          "clock; what differs is the processor's time, and the memory.\n"
          '"never-frees" is slow here: memory that nobody has used yet is more work for the system.\n\n'
          "  processor   time of the processors, with what the system does for it\n"
          "  most        the most memory that the job added to the process\n"
          "  when quiet  what of that is there at the end of the quiet phase\n"
          "  asked back  and after all gave back what they can: trim(), malloc_trim, mi_collect\n")
    runs = measure_messages(arguments, [name for name in TAKERS if not name.endswith("-unsync")])
    held = {name: curve(each, 1) for name, each in runs.items()}
    results = [Result(name, [1e3 * one[0] for one in each], most=max(held[name]), quiet=held[name][-1],
                      back=statistics.mean(one[3] for one in each)) for name, each in runs.items()]
    rounds = len(results[0].times)
    print(f"Median of {rounds} round{'s' * (rounds > 1)}:\n")
    print_table(results, ("processor", "most", "when quiet"))
    judge(results, "cistern-sync", ("processor time", "most memory", "memory when quiet"))
    print("What a Cistern pool keeps when it is quiet is for the next burst: as much as max_idle_bytes says and a\n"
          "little more, or until trim().\n")
    lines = {"in messages": curve(runs["new-delete"], 0), **held}
    top = max(max(values) for name, values in lines.items() if name != FLOOR)
    print(f"Memory over time; a full bar is {human_bytes(top)}, at the right is the end:\n")
    print_bars(lines, top)
    if arguments.svg:
        draw(lines, arguments.svg)
    dropped = {one[1:3] for each in runs.values() for one in each}
    if len(dropped) > 1:
        raise Failure("the messages differ")
    print(f"All dropped the same {next(iter(dropped))[1]:,} messages.")


def main():
    arguments = parse_arguments()
    if not arguments.compare.exists():
        raise Failure(f"there is no {arguments.compare}; cmake --workflow --preset demo builds it")
    print("What does a program gain whose memory comes from a pool? The same work, with its memory from\n")
    for name, meaning in TAKERS.items():
        print(f"  {name:16}{meaning}")
    print("\nIn all figures less is better.", flush=True)
    if arguments.only != "messages":
        run_index(arguments)
    if arguments.only != "index":
        run_messages(arguments)
    return 0


if __name__ == "__main__":
    end_with(main)
