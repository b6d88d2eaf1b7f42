"""What was measured: Google Benchmark's JSON in, one small results.json out, and the ratios of both.

A benchmark's name is ROW/CONTESTANT. results.json has, for each row and contestant, every measure (`ns` for the time,
the others are counters) with one value for each repetition, or a single value where all agree. All the repetitions of a
row were made in one process, in random order, so that a ratio within a repetition is one between neighbours in time.

Where `nothing` took part, a resource that does nothing, its time is that of the work itself, and is taken off the others'.
"""

import json
import math
import re

import pandas

NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
# What Google Benchmark adds behind a name.
ADDED_TO_NAMES = re.compile(r"/(repeats:\d+|iterations:\d+|min_time:[\d.]+|min_warmup_time:[\d.]+|threads:\d+|"
                            r"real_time|process_time|manual_time)(?=/|$)")
# What it says of each run beside our counters.
NOT_COUNTERS = {"name", "family_index", "per_family_instance_index", "run_name", "run_type", "repetitions", "repetition_index",
                "threads", "iterations", "real_time", "cpu_time", "time_unit", "label", "error_occurred", "error_message",
                "aggregate_name", "aggregate_unit"}
# Which of several builds of one peer stands for it.
NEWEST = {"mimalloc*": ("mimalloc-newest", "mimalloc")}
NOTHING = "nothing"
# The counters that say what a row took of memory in a process of its own, and had asked for.
PEAK, LIVE = "peak_bytes", "live_bytes"


class NotMeasured(Exception):
    """There is no such figure in the results."""


def split_name(name):
    """'pool/pair/64B/mimalloc/real_time' → ('pool/pair/64B', 'mimalloc')."""
    row, _, contestant = ADDED_TO_NAMES.sub("", name).rpartition("/")
    return row, contestant


def read_benchmarks(document):
    """Google Benchmark's document → {row: {contestant: {measure: [value of each repetition]}}}."""
    rows = {}
    for run in sorted(document["benchmarks"], key=lambda run: (run.get("repetition_index", 0), run.get("family_index", 0))):
        if run.get("run_type", "iteration") != "iteration":
            continue
        if run.get("error_occurred"):
            raise ValueError(f"{run['name']}: {run.get('error_message', 'failed')}")
        row, contestant = split_name(run["name"])
        measures = rows.setdefault(row, {}).setdefault(contestant, {})
        measures.setdefault("ns", []).append(run["real_time"] * NANOSECONDS[run["time_unit"]])
        for counter, value in run.items():
            if counter not in NOT_COUNTERS:
                measures.setdefault(counter, []).append(value)
    return rows


def brief(value):
    """Four digits say all that a measured time does; a whole number stays what it is."""
    if isinstance(value, list):
        return brief(value[0]) if len(set(value)) == 1 else [brief(each) for each in value]
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    return int(value) if value.is_integer() else float(f"{value:.4g}")


def write(document, path):
    """One line for each row and contestant: small, and a diff of two versions can be read."""
    def line(key, value, comma):
        return f"  {json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}{comma}"

    parts = []
    for part, content in document.items():
        if not isinstance(content, dict):
            parts.append(f"{json.dumps(part)}: {json.dumps(content)}")
            continue
        lines = []
        for key, contestants in content.items():
            inner = list(contestants.items())
            lines.append(f"{json.dumps(key)}: {{\n" + "\n".join(
                line(name, {measure: brief(value) for measure, value in measures.items()}, "," if i < len(inner) - 1 else "")
                for i, (name, measures) in enumerate(inner)) + "}")
        parts.append(f"{json.dumps(part)}: {{\n" + ",\n".join(lines) + "}")
    path.write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")


def geometric_mean(values):
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def runs_of(measures):
    """A line for each repetition, a column for each measure."""
    return pandas.DataFrame(measures if any(isinstance(value, list) for value in measures.values()) else [measures])


def runs_of_row(contestants):
    """{contestant: lines}, net. Where nothing is left of a time it isn't known."""
    runs = {name: runs_of(measures) for name, measures in contestants.items()}
    nothing = runs.pop(NOTHING, None)
    if nothing is not None:
        for each in runs.values():
            net = each["ns"] - nothing["ns"].median()
            each["ns"] = net.where(net > 0)
    return runs


class Results:
    """A results.json. `held` has curves over time: {scene: {contestant: {column: [value]}}}."""

    def __init__(self, document):
        self.version = document["version"]
        self.held = document.get("held", {})
        self.rows = document.get("rows", {})
        self.runs = {row: runs_of_row(contestants) for row, contestants in self.rows.items()}

    @classmethod
    def read(cls, path):
        return cls(json.loads(path.read_text(encoding="utf-8")))

    def rows_below(self, prefix):
        """The rows of a prefix, which ends where a part of a name does."""
        return [row for row in self.rows if row == prefix or row.startswith(prefix.rstrip("/") + "/")]

    def contestants(self, rows):
        return list(dict.fromkeys(name for row in rows for name in self.runs[row]))

    def resolve(self, contestant):
        """A name as it was measured: of 'mimalloc*' the newest."""
        known = {*self.contestants(self.rows), *(name for curves in self.held.values() for name in curves)}
        return next((name for name in NEWEST.get(contestant, ()) if name in known), contestant)

    def has(self, row, contestant, measure="ns"):
        return measure in self.runs.get(row, {}).get(self.resolve(contestant), ())

    def values(self, row, contestant, measure="ns"):
        """By repetition."""
        if not self.has(row, contestant, measure):
            raise NotMeasured(f"{measure} of {row}/{contestant}")
        return self.runs[row][self.resolve(contestant)][measure]

    def median(self, row, contestant, measure="ns"):
        return float(self.values(row, contestant, measure).median())

    def overhead(self, row, contestant):
        """What the work added to the process at its peak, divided by the most that it had asked for at once; None where that
        isn't known."""
        if not (self.has(row, contestant, PEAK) and self.has(row, contestant, LIVE)):
            return None
        live = self.median(row, contestant, LIVE)
        return self.median(row, contestant, PEAK) / live if live > 0 else None

    def ratio(self, row, of, to, measure="ns"):
        """By repetition: what one took, by what the other took of that measure a moment before or after."""
        return (self.values(row, of, measure) / self.values(row, to, measure)).replace(math.inf, math.nan)

    def ratios(self, rows, of, to, measure="ns"):
        """A line for each row that both ran: quartiles and median of the ratios within a repetition."""
        both = [row for row in rows if self.has(row, of, measure) and self.has(row, to, measure)]
        quartiles = {row: self.ratio(row, of, to, measure).quantile([0.25, 0.5, 0.75]).to_list() for row in both}
        return pandas.DataFrame.from_dict(quartiles, orient="index", columns=["low", "median", "high"]).dropna()

    def mean_ratio(self, rows, of, to, measure="ns"):
        """The geometric mean over the rows that both ran."""
        ratios = self.ratios(rows, of, to, measure)["median"]
        ratios = ratios[ratios > 0]
        if ratios.empty:
            raise NotMeasured(f"{measure} of {of} beside {to} in {', '.join(rows[:3]) or 'no row'}")
        return geometric_mean(ratios)
