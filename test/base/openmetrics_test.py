#!/usr/bin/env python3
"""Reads the library's OpenMetrics texts: openmetrics_test.py parser|page PROGRAM PAGE

parser: the format's reference parser (Debian's python3-prometheus-client) reads them, and finds what was written;
        where it isn't installed this says "skipped:".
page:   the tables of PAGE list the families that are written, with their types, and no others.

PROGRAM is openmetrics_texts, PAGE is docs/statistics.md.
"""
import importlib
import pathlib
import re
import subprocess
import sys
import unittest

TEXTS = ("none", "pool", "object_pool", "adaptor", "mixed")
ODD_NAME = 'a "quoted" \\ name,\n{in} two lines'
BROKEN_NAME = "caf\ufffd \u20ac"


def text_of(which):
    printed = subprocess.run([PROGRAM, which], check=True, capture_output=True, timeout=60).stdout
    return printed.decode("utf-8")  # strict: whatever is no UTF-8 is an error


def families_of(text):
    """Names and types as they are written, the samples' endings included, as a dashboard asks for them."""
    return [(name + "_total" if kind == "counter" else name, kind)
            for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)]


def parsed(which):
    """{family: {(sample, labels): value}} of a text."""
    found = {}
    for family in PARSER.text_string_to_metric_families(text_of(which)):
        samples = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in family.samples}
        assert family.name not in found and len(samples) == len(family.samples), family.name
        found[family.name] = samples
    return found


class Parser(unittest.TestCase):
    def test_every_text_is_read(self):
        for which in TEXTS:
            self.assertEqual(len(parsed(which)), len(families_of(text_of(which))), which)
            self.assertEqual(text_of(which).count("# EOF"), 1)

    def value(self, family, sample, **labels):
        return self.mixed[family][sample, frozenset(labels.items())]

    def test_figures_are_found_under_their_names(self):
        self.mixed = parsed("mixed")
        in_use, hits = "cistern_pool_in_use_bytes", "cistern_pool_bucket_hits"
        self.assertEqual(self.value(in_use, in_use, pool="new"), 0)
        self.assertEqual(self.value(in_use, in_use, pool=ODD_NAME), 1000)
        self.assertEqual(self.value(in_use, in_use, pool="calm"), 3000)
        self.assertEqual(self.value(hits, hits + "_total", pool="calm", block_bytes="48"), 3022)
        total, largest = "cistern_object_pool_total_objects", "cistern_object_pool_max_objects"
        self.assertEqual(self.value(total, total, pool="calm"), 0)
        self.assertEqual(self.value(total, total, pool=BROKEN_NAME), 2000)
        self.assertEqual({value for value in self.mixed[largest].values()}, {50, 60})
        waited = "cistern_object_pool_wait_time_seconds"
        self.assertEqual(self.value(waited, waited + "_total", pool=ODD_NAME), 1.5)
        destroyed = "cistern_object_pool_destroyed"
        self.assertEqual(self.value(destroyed, destroyed + "_total", pool=ODD_NAME, reason="closed"), 4014)
        live, sizes = "cistern_adaptor_live_bytes", "cistern_adaptor_request_bytes"
        self.assertEqual(self.value(live, live, adaptor=BROKEN_NAME), 80 - 1_000_000)
        self.assertEqual(self.value(sizes, sizes + "_bucket", adaptor=BROKEN_NAME, le="8.0"), 8)
        self.assertEqual(self.value(sizes, sizes + "_count", adaptor="parser"), 5)

    def test_labels_say_whose_a_sample_is(self):
        for which, label, name in (("pool", "pool", ODD_NAME), ("object_pool", "pool", BROKEN_NAME),
                                   ("adaptor", "adaptor", ODD_NAME)):
            for family, samples in parsed(which).items():
                self.assertTrue(samples, family)
                for _, labels in samples:
                    self.assertEqual(dict(labels)[label], name)


class Page(unittest.TestCase):
    def test_the_page_lists_what_is_written(self):
        rows = re.findall(r"^\| `(cistern_\w+)` \| (gauge|counter|histogram) \| \S", PAGE.read_text(), re.MULTILINE)
        self.assertEqual(sorted(rows), sorted(families_of(text_of("mixed"))))


MODE, PROGRAM, PAGE = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
if __name__ == "__main__":
    if MODE == "parser":
        try:
            PARSER = importlib.import_module("prometheus_client.openmetrics.parser")
        except ImportError:
            sys.exit("skipped: no prometheus_client for " + sys.executable)
    unittest.main(argv=sys.argv[:1], defaultTest={"parser": "Parser", "page": "Page"}[MODE])
