#!/usr/bin/env python3
"""Replays the small traces of real programs in perf/traces, and takes advice on them. recorded_traces_test.py PROGRAM"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

PROGRAM, = sys.argv[1:]
del sys.argv[1:]
FOLDER = pathlib.Path(__file__).parents[2] / "perf/traces"
# What recorded each one said of it: calls of malloc, and of realloc; blocks at the end.
RECORDED = {"awk": (1806, 13, 889), "git-log": (4244, 101, 180), "perl": (10426, 1350, 761)}
LARGEST_BYTES = 200_000
VERDICTS = ("no_pool_needed", "reserve", "small_buffer", "monotonic_for_sites", "pool_for_sites", "monotonic", "pool")


def run(*arguments):
    done = subprocess.run([PROGRAM, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=200, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class RecordedTraces(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.figures = pathlib.Path(self.folder.name, "json")

    def figures_of(self, *arguments):
        status, _, err = run(*arguments, f"--json={self.figures}")
        self.assertEqual((status, err), (0, ""), arguments)
        return json.loads(self.figures.read_text())

    def test_all_are_known_and_small(self):
        self.assertEqual({path.stem: path.stat().st_size <= LARGEST_BYTES for path in FOLDER.glob("*.trace")},
                         {name: True for name in RECORDED})

    def test_of_the_machine_they_have_the_programs_files_alone(self):
        for name in RECORDED:
            status, out, err = run("print", str(FOLDER / f"{name}.trace"))
            self.assertEqual((status, err), (0, ""))
            modules = set(re.findall(r"^#   0x[0-9a-f]+ in (\S+)", out, re.M))
            self.assertGreaterEqual(len(modules), 2, name)
            for module in modules:
                self.assertRegex(module, r"^/(usr/bin|lib/x86_64-linux-gnu)/[^/]+$", name)

    def test_they_are_whole(self):
        for name, (allocations, reallocations, left) in RECORDED.items():
            trace = str(FOLDER / f"{name}.trace")
            sums = self.figures_of("diff", trace, trace)
            self.assertEqual(sums["before"], sums["after"])
            self.assertEqual((sums["before"]["calls"], sums["before"]["live_blocks"]), (allocations + reallocations, left), name)
            self.assertEqual(sums["by_call_site"], [])

    def test_they_are_replayed(self):
        names = ["new", "cistern-sync", "cistern-unsync", "monotonic"]
        for name, (allocations, reallocations, left) in RECORDED.items():
            trace = str(FOLDER / f"{name}.trace")
            self.assertEqual(run("replay", "--check", f"--on={','.join(names)}", trace)[0::2], (0, ""))
            figures = self.figures_of("replay", "--rounds=1", f"--on={','.join(names)}", trace)
            self.assertEqual((figures["trace"]["calls"], figures["trace"]["left_live"]),
                             (2 * (allocations + reallocations), left), name)
            self.assertEqual([(each["name"], each["refused"]) for each in figures["resources"]], [(each, 0) for each in names])
            peak = figures["trace"]["peak_asked_bytes"]
            for each in figures["resources"]:
                held = [point["upstream_bytes"] for point in each["memory"]["over_time"]]
                if each["name"] != "new":
                    self.assertGreaterEqual(max(held), peak, each["name"])

    def test_advice_is_given(self):
        for name, (allocations, reallocations, left) in RECORDED.items():
            figures = self.figures_of("advise", "--rounds=1", str(FOLDER / f"{name}.trace"))
            self.assertEqual((figures["trace"]["allocations"], figures["trace"]["left_live"], figures["trace"]["has_stacks"]),
                             (allocations + reallocations, left, True), name)
            self.assertIn(figures["verdict"], VERDICTS)
            self.assertGreater(len(figures["sites"]), 1)
            self.assertEqual(sum(site["allocations"] for site in figures["sites"]), allocations + reallocations, name)


if __name__ == "__main__":
    if "without zstd" in run("print", "-n1", str(FOLDER / "awk.trace"))[2]:
        print("skipped: the tool can't read compressed traces")
        sys.exit(0)
    unittest.main()
