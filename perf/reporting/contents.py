"""What the report has: areas and their programs, groups of rows, pictures, tables."""

import pathlib
import re
import sys

from . import page, pictures
from .measuring import Job, benchmark_jobs, run
from .results import split_name
from .wording import bytes_text, round_number

PERF = pathlib.Path(__file__).resolve().parent.parent
# Area → what it is about; in the order in which they are measured.
AREAS = {
    "trace": "real programs' allocations, replayed",
    "pool": "the pools beside other resources",
    "held": "memory held over time",
    "allocator": "standard allocators",
    "buffer": "growable buffers",
    "object": "object pools",
    "adaptor": "adaptors over a pool",
    "malloc": "malloc of whole programs",
    "recording": "recording what a program allocates",
}
POOL_GROUPS = {
    "one size": "pool/pair,pool/batch",
    "many sizes": "pool/live,pool/rise-and-fall,pool/mixed",
    "containers": "pool/list,pool/map,pool/unordered_map,pool/vector,pool/string",
    "threads": "pool/thread-pairs,pool/larson,pool/come-and-go,pool/thread-replace,pool/producer-consumer,pool/handed-over",
    "large blocks": "pool/tide,pool/large,pool/large-fall",
    "phases": "pool/phases,pool/survivors,pool/sparse-survivors",
}
SIZE_NAMES = {"B": 1, "KiB": 2**10, "MiB": 2**20}


# How each area is measured: how often, and how long at a time.
FULL = {"repetitions": 5, "seconds": 0.025}
QUICK = {"repetitions": 3, "seconds": 0.01}
MALLOC_PROGRAMS = ("python3", "python3-malloc", "perl", "sort", "git", "g++", "sqlite3", "redis-server")
# A quick run makes do with rows that take little time, and say much.
QUICK_MALLOC_ROWS = "^malloc/(larson|mstress|xmalloc|perl|python3|sqlite3)/"
TRACE_REPETITIONS = 9  # of what is said first
PROCESS_REPETITIONS = 5  # of processes that take some tenths of a second each
SCENES = ("burst", "survivors")
PROGRAMS = {"allocator": "allocator_bench", "buffer": "buffer_bench", "object": "object_pool_bench", "adaptor": "adaptor_benchmark"}


def run_options(quick, repetitions=FULL["repetitions"]):
    how = QUICK if quick else FULL | {"repetitions": repetitions}
    return [f"--benchmark_repetitions={how['repetitions']}", f"--benchmark_min_time={how['seconds']}",
            "--benchmark_enable_random_interleaving=true"]


def record_traces(build):
    """The folder with the traces of real programs, which are recorded once."""
    traces = build / "perf" / "traces"
    recorder = build / "src" / "tool" / "libcistern-record.so"
    run([PERF / "record_traces.py", "--recorder", recorder, traces])
    return traces


def jobs(build, areas, quick):
    """What is to be run for these areas, in order."""
    perf = build / "perf"
    compare = perf / "bin" / "cistern-compare"
    less = ["--quick"] if quick else []
    made = []
    for area in areas:
        if area == "trace":
            traces = [f"--traces={record_traces(build)}", *less]
            made += benchmark_jobs(area, compare, traces, run_options(quick, TRACE_REPETITIONS), "^trace/")
        elif area == "pool":
            made += benchmark_jobs(area, compare, less, run_options(quick))
        elif area == "held":
            made += curve_jobs(compare, quick)
        elif area == "malloc":
            made += process_jobs(area, build, quick, ["--cistern", build / "libcistern-malloc.so"], QUICK_MALLOC_ROWS)
        elif area == "recording":
            made += process_jobs(area, build, quick, ["--recorder", build / "src" / "tool" / "cistern-trace"])
        elif (perf / PROGRAMS[area]).exists():
            made += benchmark_jobs(area, perf / PROGRAMS[area], [], run_options(quick))
        else:
            print(f"left out: {area}, as {perf / PROGRAMS[area]} isn't built", file=sys.stderr)
    return made


def curve_jobs(compare, quick):
    """Each scene with each contestant of a row with many sizes, in a process of its own."""
    listed = run([compare, "--benchmark_filter=^pool/live/1000/", "--benchmark_list_tests=true"], 60).split()
    return [Job("held", f"{scene}/{name}", [compare, f"--held-over-time={scene}/{name}", *(["--quick"] if quick else [])], True)
            for scene in SCENES for _, name in map(split_name, listed)]


def process_jobs(area, build, quick, options, quick_rows=""):
    """compare_mallocs.py is told as Google Benchmark's programs are, of what it knows."""
    command = [sys.executable, PERF / "compare_mallocs.py", "--malloc-bench", build / "perf" / "malloc_bench" / "malloc_bench",
               *options, *(["--quick"] if quick else [])]
    return benchmark_jobs(area, command[0], command[1:], [f"--benchmark_repetitions={2 if quick else PROCESS_REPETITIONS}"],
                          quick_rows if quick else "")


def keep(document, job, result):
    """Puts what a job gave into the results."""
    if job.is_curve:
        scene, contestant = job.name.split("/")
        document["held"].setdefault(scene, {})[contestant] = result["curve"]
    else:
        document["rows"].update(result["rows"])


def keep_before(document, before, area):
    """Takes an area that isn't measured now from earlier results."""
    if area == "held":
        document["held"] = before.get("held", {})
    document["rows"].update({row: each for row, each in before.get("rows", {}).items() if row.startswith(area + "/")})


def size_of(text):
    """'4KiB' → 4096; None where it is no size."""
    found = re.fullmatch(r"(\d+)(B|KiB|MiB)", text)
    return int(found[1]) * SIZE_NAMES[found[2]] if found else None


def number_of(text):
    return int(text) if text.isdigit() else None


def by_last_part(results, prefix, read):
    """{what the last part of the name says: row}."""
    rows = {read(row.rpartition("/")[2]): row for row in results.rows_below(prefix) if row.count("/") == prefix.count("/") + 1}
    return {value: row for value, row in rows.items() if value is not None}


def size_text(size):
    return bytes_text(size, round_number)


def groups_of(results, groups=POOL_GROUPS):
    found = {title: [row for prefix in prefixes.split(",") for row in results.rows_below(prefix)]
             for title, prefixes in groups.items()}
    return {title: rows for title, rows in found.items() if rows}


def each_row(results, area):
    """Every row a group of its own, without the area's name."""
    return {row.partition("/")[2]: [row] for row in results.rows_below(area)}


def malloc_groups(results):
    """Time above memory, benchmarks beside programs."""
    rows = results.rows_below("malloc")
    programs = [row for row in rows if row.partition("/")[2] in MALLOC_PROGRAMS]
    benchmarks = [row for row in rows if row not in programs]
    return {f"{title}: {what}": (group, measure) for what, measure in (("time", "ns"), ("peak memory", "peak_bytes"))
            for title, group in (("benchmarks", benchmarks), ("programs", programs))}


def chosen(results, area, names=pictures.CHOSEN):
    return pictures.chosen(results, results.rows_below(area), names)


def all_of(results, area):
    """In the order of legends, then as they came."""
    order = {name: place for place, name in enumerate(pictures.STYLES)}
    return sorted(results.contestants(results.rows_below(area)), key=lambda name: order.get(name, len(order)))


def overview(results):
    rows = results.rows_below("trace")
    return pictures.overview(results, rows, page.big_rows(results, rows))


def threads(results):
    titles = {"pool/thread-pairs": "pairs in each thread", "pool/larson": "blocks change threads",
              "pool/come-and-go": "threads come and go", "pool/thread-replace/1000x8B-4KiB": "replacing small blocks",
              "pool/thread-replace/100x1-256KiB": "replacing up to 256 KiB"}
    panels = {title: by_last_part(results, prefix, number_of) for prefix, title in titles.items()}
    return pictures.curves(results, panels, chosen(results, "pool/thread-pairs"), "threads", xlog=False)


# File → (its title, what draws it from the results; None where there is nothing to draw).
PICTURES = {
    "overview": ("Time and memory of real programs' allocations", overview),
    "traces": ("Each real program's time and memory, relative to new/delete", lambda results: pictures.trace_dots(
        results, results.rows_below("trace"), chosen(results, "trace"))),
    "pool": ("Time of groups of workloads, relative to new/delete", lambda results: pictures.ratio_bars(
        results, groups_of(results), chosen(results, "pool"), "new-delete")),
    "block-size": ("Time of an allocation and its free, against block size", lambda results: pictures.curves(
        results, {"allocate and free one block": by_last_part(results, "pool/pair", size_of)}, chosen(results, "pool/pair"),
        "block size", xticks=size_text)),
    "live-blocks": ("Time of a replacement, against live blocks", lambda results: pictures.curves(
        results, {"replace one of so many blocks of 8 to 512 bytes": by_last_part(results, "pool/live", number_of)},
        chosen(results, "pool/live"), "live blocks", xticks=lambda number: f"{number:,}")),
    "threads": ("Time of an operation, against threads", threads),
    "held": ("Resident memory over time", lambda results: pictures.held_over_time(
        results, {"burst": "a burst that is freed", "survivors": "a few blocks survive"}, pictures.CHOSEN)),
    "allocator": ("Standard allocators: time relative to std::allocator", lambda results: pictures.ratio_bars(
        results, each_row(results, "allocator"), all_of(results, "allocator"), "std-allocator")),
    "buffer": ("Growable buffers: time relative to std::pmr::string", lambda results: pictures.ratio_bars(
        results, each_row(results, "buffer"), all_of(results, "buffer"), "pmr-string")),
    "object": ("Object pools: time relative to a vector under a mutex", lambda results: pictures.ratio_bars(
        results, each_row(results, "object"), all_of(results, "object"), "mutex-vector")),
    "adaptor": ("Adaptors: time relative to the pool alone", lambda results: pictures.ratio_bars(
        results, each_row(results, "adaptor"), all_of(results, "adaptor"), "bare")),
    "malloc": ("malloc of whole programs: time and memory relative to glibc's", lambda results: pictures.ratio_bars(
        results, malloc_groups(results), all_of(results, "malloc"), "glibc")),
}


def tables(results, counts):
    """Name → a function that gives its lines."""
    def values(area, names=None):
        return lambda: page.value_table(results, results.rows_below(area), names or all_of(results, area))

    pool = results.rows_below("pool")
    some = chosen(results, "pool")
    return {
        "inlined": lambda: page.value_table(results, [row for row in pool if row.startswith("pool/inlined")], all_of(results, "pool")),
        "life": lambda: page.value_table(results, results.rows_below("pool/life"), all_of(results, "pool")),
        "overheads": lambda: page.overhead_table(results, pool, some),
        "held-in-the-end": lambda: page.value_table(
            results, [row for row in pool if any(results.has(row, name, "live_bytes") for name in some)], some, "held_bytes"),
        "pool": lambda: page.ratio_table(results, groups_of(results), chosen(results, "pool", pictures.STYLES), "new-delete"),
        "pool-values": lambda: page.value_table(
            results, [row for row in pool if not row.startswith(("pool/inlined", "pool/life/"))], some),
        "trace-values": lambda: page.value_table(results, results.rows_below("trace"), chosen(results, "trace")),
        "allocator": values("allocator"), "buffer": values("buffer"), "object": values("object"),
        "adaptor": lambda: page.turned_table(results, results.rows_below("adaptor"), all_of(results, "adaptor")),
        "malloc": values("malloc"), "malloc-memory": lambda: page.value_table(
            results, results.rows_below("malloc"), all_of(results, "malloc"), "peak_bytes"),
        "recording": lambda: page.ratio_table(results, each_row(results, "recording"), all_of(results, "recording"), "plain"),
        "instructions": lambda: page.instruction_table(counts),
    }
