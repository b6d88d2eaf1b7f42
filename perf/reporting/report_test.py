#!/usr/bin/python3
"""Tests of the report: reading, ratios, figures in words, measuring with a stand-in for a program, the check of losses.

Skipped (77) where pandas or matplotlib is missing.
"""

import io
import json
import pathlib
import random
import stat
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
try:
    from reporting import contents, machine, measuring, page, pictures, regressions, results, wording
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

SPEED = {"cistern-unsync": 5, "cistern-sync": 6, "mimalloc": 9, "mimalloc-newest": 8, "snmalloc": 8, "jemalloc": 14, "tcmalloc": 12,
         "new-delete": 21, "std-unsync": 25, "std-sync": 46, "boost-sync": 30, "boost-unsync": 9, "boost-pool": 4, "monotonic": 3}
# Contestants of areas that have others.
ELSEWHERE = {"allocator": "std-allocator", "buffer": "pmr-string", "object": "mutex-vector", "malloc": "glibc", "adaptor": "limit",
             "recording": "plain"}
WORKLOADS = ["pool/pair/16B", "pool/pair/64B", "pool/pair/4KiB", "pool/pair/1MiB", "pool/live/1000", "pool/live/100000",
             "pool/live/1000000", "pool/map/build", "pool/larson/1", "pool/larson/2", "pool/thread-pairs/1", "pool/thread-pairs/2",
             "pool/large/32x64KiB-1MiB", "pool/phases/100MiB", "trace/awk", "trace/perl", "trace/vim", "trace/cc1plus", "trace/bc",
             "pool/life/ten-blocks", "pool/inlined-pair/64B", "pool/inlined-batch/fifo", *(f"{area}/some/work" for area in ELSEWHERE)]


def synthetic(seed=1, spread=0.05, changed=None):
    """A report in which everyone has his speed, in every workload about the same. `changed`: (row, contestant) → factor."""
    chance = random.Random(seed)
    rows = {}
    for number, row in enumerate(WORKLOADS):
        rows[row] = {}
        other = ELSEWHERE.get(row.partition("/")[0])
        for name, speed in ({**SPEED, "cistern": 5, other: 9} if other else SPEED).items():
            factor = (1 + number % 5) * (changed or {}).get((row, name), 1)
            rows[row][name] = {"ns": [speed * factor * chance.uniform(1 - spread, 1 + spread) for _ in range(5)],
                               "upstream_calls": 3 + number}
            if row.startswith(("trace/", "pool/phases")):
                live = 50_000 if row == "trace/bc" else 3_000_000 * (number - 12)
                rows[row][name].update(live_bytes=live, held_bytes=live // 3, peak_bytes=int(live * (1 + speed / 20 * chance.uniform(0.7, 1.3))))
    curve = {"seconds": list(range(50)), "live_bytes": [2**20 * min(i, 49 - i) for i in range(50)]}
    held = {scene: {name: {**curve, "resident_bytes": [int(value * 1.3) + 2**21 for value in curve["live_bytes"]]} for name in SPEED}
            for scene in ("burst", "survivors")}
    return {"version": "1.2.3", "rows": rows, "held": held}


MACHINE = {"processor": "a processor", "cores": 2, "kernel": "6.1", "compiler": "g++ 12"}


def run_of(name, repetition, time, unit="ns", **more):
    return {"name": name, "run_type": "iteration", "repetition_index": repetition, "real_time": time, "cpu_time": time,
            "time_unit": unit, "iterations": 7, "threads": 1, **more}


class Reading(unittest.TestCase):
    def test_names_lose_what_google_benchmark_adds(self):
        self.assertEqual(results.split_name("pool/pair/64B/mimalloc/repeats:3/real_time"), ("pool/pair/64B", "mimalloc"))
        self.assertEqual(results.split_name("pool/larson/2/cistern-sync/manual_time/threads:2"), ("pool/larson/2", "cistern-sync"))

    def test_runs_become_measures(self):
        rows = results.read_benchmarks({"benchmarks": [
            run_of("a/b/x", 1, 2.0, "us", held=4.0), run_of("a/b/x", 0, 1.0, "us", held=4.0),
            {**run_of("a/b/x_mean", 0, 1.5, "us"), "run_type": "aggregate"}]})
        self.assertEqual(rows, {"a/b": {"x": {"ns": [1000.0, 2000.0], "held": [4.0, 4.0]}}})

    def test_a_run_that_failed_is_an_error(self):
        with self.assertRaisesRegex(ValueError, "no such library"):
            results.read_benchmarks({"benchmarks": [run_of("a/x", 0, 0, error_occurred=True, error_message="no such library")]})

    def test_what_is_written_is_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "results.json")
            document = synthetic()
            results.write(document, path)
            read = results.Results.read(path)
            self.assertEqual(json.loads(path.read_text())["rows"]["pool/pair/64B"]["mimalloc"]["upstream_calls"], 4)
            self.assertAlmostEqual(read.median("pool/pair/64B", "mimalloc"),
                                   results.Results(document).median("pool/pair/64B", "mimalloc"), delta=0.01)
            self.assertLess(path.stat().st_size, 200_000)


class Ratios(unittest.TestCase):
    def test_are_taken_within_a_repetition(self):
        measured = results.Results({"version": "1", "rows": {"a/b": {"x": {"ns": [1, 20, 300]}, "y": {"ns": [2, 40, 600]}}}})
        self.assertEqual(measured.ratios(["a/b"], "x", "y").loc["a/b"].to_list(), [0.5, 0.5, 0.5])

    def test_mean_is_geometric_over_rows_that_both_ran(self):
        measured = results.Results({"version": "1", "rows": {
            "a/b": {"x": {"ns": 1}, "y": {"ns": 2}}, "a/c": {"x": {"ns": 2}, "y": {"ns": 1}}, "a/d": {"x": {"ns": 9}}}})
        self.assertAlmostEqual(measured.mean_ratio(measured.rows_below("a"), "x", "y"), 1)
        with self.assertRaises(results.NotMeasured):
            measured.mean_ratio(["a/d"], "x", "y")

    def test_what_the_work_itself_takes_is_taken_off(self):
        measured = results.Results({"version": "1", "rows": {"a/b": {
            "x": {"ns": [6, 8, 3]}, "y": {"ns": [8, 12, 9]}, "nothing": {"ns": [4, 4, 5]}}}})
        self.assertEqual(measured.contestants(["a/b"]), ["x", "y"])
        self.assertEqual(measured.values("a/b", "x").dropna().to_list(), [2, 4])
        self.assertEqual(measured.ratios(["a/b"], "x", "y").loc["a/b", "median"], 0.5)

    def test_a_library_more_keeps_earlier_figures(self):
        before = {"cores": 2, "libraries": {"a": "1"}}
        self.assertEqual(machine.changed_fields(before, {"cores": 2, "libraries": {"a": "1", "b": "1"}}), [])
        self.assertEqual(machine.changed_fields(before, {"cores": 2, "libraries": {"a": "2"}}), ["libraries"])
        self.assertEqual(machine.changed_fields(before, {"cores": 2, "libraries": {"b": "1"}}), ["libraries"])
        self.assertEqual(machine.changed_fields(before, {"cores": 4, "libraries": {"a": "1"}}), ["cores"])

    def test_the_newest_mimalloc_stands_for_mimalloc(self):
        measured = results.Results(synthetic())
        self.assertEqual(measured.resolve("mimalloc*"), "mimalloc-newest")


class Words(unittest.TestCase):
    def figures(self):
        return page.Figures(results.Results(synthetic(spread=0)), MACHINE)

    def test_figures(self):
        figures = self.figures()
        self.assertEqual(figures.text("faster trace cistern-unsync new-delete"), "4.2")
        self.assertEqual(figures.text("share pool/pair cistern-sync mimalloc"), "0.67")
        self.assertEqual(figures.text("time pool/pair/64B std-sync"), "92.0 ns")
        self.assertEqual(figures.text("count-big trace"), "4")
        with self.assertRaisesRegex(ValueError, "no figure called"):
            figures.text("fastest trace")
        with self.assertRaises(results.NotMeasured):
            figures.text("faster trace cistern-unsync tomorrow")

    def test_numbers_have_at_most_three_digits(self):
        self.assertEqual([wording.time_text(value) for value in (0.2923, 5.127, 99.96, 999.6, 22644, 3.2e6)],
                         ["0.29 ns", "5.13 ns", "100 ns", "1.00 µs", "22.6 µs", "3.20 ms"])

    def test_blocks_go_where_nothing_was_measured(self):
        made = page.Page(self.figures(), {"t": lambda: ["| row |"]}).made_from(
            "a\n{{if pool tomorrow}}\nb {{time no row}}\n{{if pool}}\nc\n{{end}}\n{{end}}\n{{if pool mimalloc}}\nd\n{{table t}}\n{{end}}\n")
        self.assertEqual(made, "a\nd\n| row |\n")

    def test_no_loss_is_left_out(self):
        document = synthetic(spread=0, changed={("pool/map/build", "cistern-sync"): 5, ("pool/larson/2", "cistern-sync"): 3})
        figures = page.Figures(results.Results(document), MACHINE)
        made = page.losses(figures, ["pool", "cistern-sync", "mimalloc"], ["pool/map,pool/list: it sorts,", "  mostly.", "pool/live: no."])
        self.assertEqual(made, ["* `map/build` (3.3): it sorts, mostly.", "* Also `larson/2` (2.0)."])

    def test_the_template_is_whole(self):
        document = synthetic()
        template = (pathlib.Path(page.__file__).parent / "performance.md.in").read_text(encoding="utf-8")
        for without in ((), ("mimalloc-newest", "mimalloc"), ("std-sync",), ("cistern-sync",)):
            some = {row: {name: each for name, each in contestants.items() if name not in without}
                    for row, contestants in document["rows"].items()}
            measured = results.Results({**document, "rows": some})
            figures = page.Figures(measured, MACHINE)
            made = page.Page(figures, contents.tables(measured, {"GNU-12-x86_64": {"floor allocate": 6}})).made_from(template)
            self.assertNotIn("\n\n\n", made)
            self.assertNotIn("{{", made)

    def test_figures_marked_in_other_pages(self):
        text = "It is <!-- figure: faster trace cistern-unsync new-delete -->17<!-- /figure --> times as fast."
        self.assertEqual(page.with_figures(self.figures(), text), text.replace("17", "4.2"))


class Pictures(unittest.TestCase):
    def test_all_are_drawn_and_know_the_dark(self):
        measured = results.Results(synthetic())
        with tempfile.TemporaryDirectory() as folder:
            drawn = set()
            for name, (title, make) in contents.PICTURES.items():
                if (made := make(measured)) is not None:
                    path = pathlib.Path(folder, f"{name}.svg")
                    pictures.save(made, path, title)
                    self.assertIn("prefers-color-scheme:dark", path.read_text())
                    drawn.add(name)
            self.assertLessEqual({"overview", "traces", "pool", "block-size", "live-blocks", "threads", "held"}, drawn)

    def test_nothing_measured_is_nothing_drawn(self):
        empty = results.Results({"version": "1", "rows": {}})
        self.assertEqual([name for name, (_, make) in contents.PICTURES.items() if make(empty) is not None], [])


PROGRAM = """#!/usr/bin/python3
import json, pathlib, re, sys
options = dict(each.lstrip("-").split("=", 1) for each in sys.argv[1:])
names = ["a/one/x", "a/one/y", "a/two/x"]
wanted = [name for name in names if re.search(options.get("benchmark_filter", "."), name)]
if "benchmark_list_tests" in options:
    print("\\n".join(wanted))
    sys.exit()
calls = pathlib.Path(__file__).with_suffix(".calls")
calls.write_text((calls.read_text() if calls.exists() else "") + " ".join(wanted) + "\\n")
if "a/two/x" in wanted and pathlib.Path(__file__).with_suffix(".broken").exists():
    sys.exit("no memory left")
pathlib.Path(options["benchmark_out"]).write_text(json.dumps({"context": {"compiler": "gcc"}, "benchmarks": [
    {"name": name, "run_type": "iteration", "repetition_index": i, "real_time": 5 + i, "time_unit": "ns"}
    for name in wanted for i in range(2)]}))
"""


class Measuring(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.program = self.folder / "program"
        self.program.write_text(PROGRAM)
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)

    def calls(self):
        return self.program.with_suffix(".calls").read_text().splitlines()

    def measure(self, **more):
        jobs = measuring.benchmark_jobs("a", self.program, [], ["--benchmark_repetitions=2"])
        self.said = io.StringIO()
        return measuring.measure_all(jobs, self.folder / "kept", progress=measuring.Progress(jobs, self.said), **more)

    def test_a_process_for_each_row(self):
        done = self.measure()
        self.assertEqual(self.calls(), ["a/one/x a/one/y", "a/two/x"])
        self.assertEqual([result["rows"] for _, result in done],
                         [{"a/one": {"x": {"ns": [5, 6]}, "y": {"ns": [5, 6]}}}, {"a/two": {"x": {"ns": [5, 6]}}}])
        self.assertEqual(self.said.getvalue(), "a: done, 2 of 2 rows\n")

    def test_goes_on_where_it_was(self):
        self.program.with_suffix(".broken").touch()
        with self.assertRaisesRegex(measuring.Failure, "1 of 2 rows.*a/two.*run this again"):
            self.measure()
        self.assertIn("no memory left", self.said.getvalue())
        self.program.with_suffix(".broken").unlink()
        self.assertEqual(len(self.measure()), 2)
        self.assertEqual(self.calls(), ["a/one/x a/one/y", "a/two/x", "a/two/x"])
        self.measure(again=True)
        self.assertEqual(len(self.calls()), 5)

    def test_another_program_is_measured_anew(self):
        self.measure()
        self.program.write_text(PROGRAM + "# changed\n")
        self.measure()
        self.assertEqual(len(self.calls()), 4)

    def test_a_terminal_hears_how_far_it_is(self):
        class Terminal(io.StringIO):
            def isatty(self):
                return True

        jobs = [measuring.Job("a", "row", []), measuring.Job("a", "next", [])]
        progress = measuring.Progress(jobs, Terminal())
        progress.finish(90)
        progress.show(jobs[1])
        self.assertIn("[2/2, 1:30 left] next", progress.stream.getvalue())


class Regressions(unittest.TestCase):
    then = results.Results(synthetic(seed=1))
    slower = {("pool/map/build", "cistern-sync"): 1.3}

    def test_noise_is_none(self):
        for seed in range(2, 6):
            self.assertEqual(regressions.losses(self.then, results.Results(synthetic(seed))), {})

    def test_another_machine_is_none(self):
        machine = {(row, name): 1.7 for row in WORKLOADS for name in SPEED}
        self.assertEqual(regressions.losses(self.then, results.Results(synthetic(2, changed=machine))), {})

    def test_a_loss_of_a_fifth_is_one(self):
        lost = regressions.losses(self.then, results.Results(synthetic(2, spread=0.02, changed={("pool/map/build", "cistern-sync"): 1.2})))
        self.assertEqual(list(lost), [("pool/map/build", "cistern-sync")])

    def test_a_slow_peer_hides_nothing(self):
        peers = {**self.slower, ("pool/map/build", "mimalloc"): 2, ("pool/map/build", "new-delete"): 0.5}
        self.assertIn(("pool/map/build", "cistern-sync"), regressions.losses(self.then, results.Results(synthetic(2, changed=peers))))

    def test_a_loss_counts_when_it_is_seen_each_time(self):
        runs = iter([self.slower, self.slower, {}])
        measured = []

        def measure(rows, always=None):
            measured.append(rows)
            return results.Results(synthetic(3 + len(measured), changed=always or next(runs)))

        first = regressions.losses(self.then, results.Results(synthetic(2, changed=self.slower)))
        self.assertEqual(regressions.repeated(self.then, first, measure), {})
        self.assertEqual(measured, [["pool/map/build"]] * 3)
        self.assertEqual(list(regressions.repeated(self.then, first, lambda rows: measure(rows, self.slower))), list(first))

    def test_an_exact_counter_may_not_grow(self):
        document = synthetic(2)
        document["rows"]["pool/map/build"]["cistern-sync"]["upstream_calls"] += 1
        document["rows"]["pool/map/build"]["mimalloc"]["upstream_calls"] += 1
        before = self.then.rows["pool/map/build"]["cistern-sync"]["upstream_calls"]
        self.assertEqual(regressions.grown_counters(self.then, results.Results(document)),
                         [("pool/map/build", "cistern-sync", "upstream_calls", before, before + 1)])


if __name__ == "__main__":
    unittest.main()
