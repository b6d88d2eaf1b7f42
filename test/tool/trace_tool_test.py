#!/usr/bin/env python3
"""Runs cistern-trace on traces encoded here, by the words of docs/trace-format.md alone. trace_tool_test.py PROGRAM
[--unsanitized [MALLOC]]

--unsanitized: the program has no sanitizer: it can load libraries of mallocs, of which MALLOC is one, and gives memory
back when it is told to."""
import csv
import ctypes.util
import json
import os
import pathlib
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

PROGRAM, *UNSANITIZED = sys.argv[1:]
del sys.argv[1:]
ALLOCATE, DEALLOCATE, FAILED, FREE, BEGIN, END = range(6)


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def zigzag(number):
    return 2 * number if number >= 0 else -2 * number - 1


def header(version=2, started=0):
    head = b"cistrace" + struct.pack("<IQ", version, started) + (struct.pack("<QQ", 0, 0) if version == 2 else b"")
    return head + struct.pack("<I", zlib.crc32(head))


def frame(events, payload, kind=1, version=2):
    head = struct.pack("<II", len(payload), events) + (struct.pack("<I", kind) if version == 2 else b"")
    return head + struct.pack("<I", zlib.crc32(head + payload)) + payload


def end_mark(events, ending=0, error=0):
    return frame(0, struct.pack("<QII", events, ending, error), 0)


def encoded(calls, version):
    thread_bit, shift, other = (4, 3, 31) if version == 1 else (8, 4, 15)
    payload, last_time, last_thread, last_address = b"", 0, None, 0
    for call, time, thread, size, alignment, address in calls:
        power = alignment.bit_length() - 1
        short = alignment == 1 << power and power < other
        payload += bytes([call | (thread_bit if thread == last_thread else 0) | (power if short else other) << shift])
        payload += varint(time - last_time)
        payload += b"" if thread == last_thread else varint(thread)
        payload += b"" if short else varint(alignment)
        payload += b"" if call in (FREE, BEGIN) else varint(size)
        if call != FAILED:
            payload += varint(zigzag(address - last_address))
            last_address = address
        last_time, last_thread = time, thread
    return payload


def trace(calls, frame_events=1000, version=2, end=None):
    """Calls are (call, time, thread, size, alignment, address)."""
    out = header(version)
    for start in range(0, len(calls), frame_events):
        part = calls[start:start + frame_events]
        out += frame(len(part), encoded(part, version), version=version)
    if version == 1:
        return out + frame(0, struct.pack("<Q", len(calls)), version=1)
    return out + (end or end_mark(len(calls)))


CALLS = [
    (ALLOCATE, 10, 7, 100, 8, 0x1000),
    (ALLOCATE, 20, 7, 24, 64, 0x500),
    (FAILED, 300, 8, 1 << 40, 16, 0),
    (DEALLOCATE, 301, 8, 100, 8, 0x1000),
    (ALLOCATE, 302, 8, 100, 24, 0x7F0000000000),
    (DEALLOCATE, 303, 8, 24, 64, 0x500),
    (DEALLOCATE, 304, 8, 100, 24, 0x7F0000000000),
]
PRINTED = """nanoseconds thread call bytes alignment address block
10 7 allocate 100 8 0x1000 1
20 7 allocate 24 64 0x500 2
300 8 failed_allocate 1099511627776 16 - -
301 8 deallocate 100 8 0x1000 1
302 8 allocate 100 24 0x7f0000000000 3
303 8 deallocate 24 64 0x500 2
304 8 deallocate 100 24 0x7f0000000000 3
"""


MODULES = varint(4096) + varint(4) + varint(0) + b"/a b" + varint(0) + varint(5) + varint(1) + b"/c\x1b[m" + b"\x77"
STACKS = varint(2) + varint(1) + varint(0x1234) + varint(2) + varint(255) + varint(1) + varint(0) + varint(1 << 40)


def trace_with_stacks(calls=None, stacks=STACKS, modules=MODULES):
    """Calls are as in trace, with the stack's number behind them. There are two stacks."""
    calls = calls or [(ALLOCATE, 1, 7, 9, 8, 0x10, 1), (FAILED, 2, 7, 9, 8, 0, 2), (FREE, 3, 7, 0, 1, 0x10, 1),
                      (FREE, 4, 7, 0, 1, 0x20, 0)]
    out = header() + frame(2, modules, 2) + frame(2, stacks, 3)
    for *call, stack in calls:
        out += frame(1, encoded([call], 2) + (b"" if call[0] == BEGIN else varint(stack)), 4)
    return out + end_mark(len(calls))


# 150 bytes in 2 calls from stack 1, 224 in 2 from stack 2, 7 in 1 from none. At the peak 50, 200 and 7 bytes are live, at
# the end 0, 200 and 7.
MANY_CALLS = [(ALLOCATE, 1, 7, 100, 8, 0x1000, 1), (ALLOCATE, 2, 7, 24, 8, 0x2000, 2), (BEGIN, 3, 7, 0, 1, 0x1000, 2),
              (END, 4, 7, 200, 8, 0x3000, 2), (FREE, 5, 8, 0, 1, 0x2000, 1), (ALLOCATE, 2000000, 8, 50, 8, 0x4000, 1),
              (FAILED, 2000001, 8, 1 << 40, 8, 0, 1), (ALLOCATE, 2000002, 8, 7, 8, 0x5000, 0), (FREE, 5000000, 8, 0, 1, 0x4000, 2)]


def report(calls=1000, **resources):
    """What replay --json writes, by the words of docs/replaying.md."""
    def resource(name, time=20, ratio=1, refused=0, memory=()):
        if isinstance(memory, (dict, tuple)):
            more = dict(memory)
            points = [{"calls": i, "nanoseconds": i, "asked_bytes": 8, "resident_bytes": 0, "upstream_bytes": held}
                      for i, held in enumerate(more.pop("over_time", [None]))]
            memory = {"peak_resident_bytes": 4096, "peak_asked_bytes": 2048, "fragmentation": 2, "held_after_trim_bytes": 1024,
                      "upstream_allocations": None, "over_time": points, **more}
        return {"name": name, "nanoseconds_per_call": {"median": time, "lower_quartile": time - 1, "upper_quartile": time + 2,
                                                       "rounds": [time] * 9},
                "ratio": ratio, "longest_call_nanoseconds": 1500, "refused": refused, "memory": memory}
    return {"trace": {"file": "a\ntrace", "cut_off": False, "calls": calls, "recorded_threads": 1, "replayed_threads": 1,
                      "handed_over": 0, "left_live": 0, "failed_when_recorded": 0, "frees_of_blocks_from_before": 0,
                      "requested_bytes": 8, "peak_asked_bytes": 2048},
            "rounds": 9, "resources": [resource(name, **each) for name, each in resources.items()]}


def protobuf(message):
    """The fields of a message: number to values, which are numbers and bytes."""
    fields, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
    while at < len(message):
        key = number()
        if key & 7 == 0:
            value = number()
        else:
            assert key & 7 == 2, key
            length = number()
            value = message[at:at + length]
            assert len(value) == length
            at += length
        fields.setdefault(key >> 3, []).append(value)
    return fields


def packed(text):
    """The numbers of a packed field."""
    numbers, value, shift = [], 0, 0
    for byte in text:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(value)
            value = shift = 0
    return tuple(numbers)


def run(*arguments, stdin=b""):
    done = subprocess.run([PROGRAM, *arguments], input=stdin, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Tool(unittest.TestCase):
    def test_print(self):
        for version in (1, 2):
            for frame_events in (1, 3, 1000):
                self.assertEqual(run("print", "-", stdin=trace(CALLS, frame_events, version)), (0, PRINTED, ""))

    def test_print_of_what_c_programs_do(self):
        calls = [(ALLOCATE, 1, 7, 9, 8, 0x10), (BEGIN, 2, 7, 0, 1, 0x10), (END, 3, 7, 20, 8, 0x40), (FREE, 4, 7, 0, 1, 0x40)]
        lines = PRINTED.splitlines()[0] + """
1 7 allocate 9 8 0x10 1
3 7 reallocate 20 8 0x40 2 from 1
4 7 deallocate 20 8 0x40 2
"""
        self.assertEqual(run("print", "-", stdin=trace(calls)), (0, lines, ""))

    def test_print_of_stacks(self):
        out = trace_with_stacks()
        lines = PRINTED.splitlines()[0] + """
# stack 1
#   0x1234 in /a b
#   0xff in /c\ufffd[m
1 7 allocate 9 8 0x10 1 at 1
# stack 2
#   0x10000000000
2 7 failed_allocate 9 8 - - at 2
3 7 deallocate 9 8 0x10 1 at 1
4 7 deallocate 0 1 0x20 0 at 0
"""
        self.assertEqual(run("print", "-", stdin=out), (0, lines, ""))
        for command in (("advise",), ("replay", "--on=new")):
            self.assertEqual(run(*command, "-", stdin=out)[0], 0)

    def lines_of(self, *options, stdin=None):
        status, out, err = run("print", *options, "-", stdin=stdin or trace(CALLS))
        self.assertEqual((status, err), (0, ""))
        return out.splitlines()[1:]

    def test_print_of_some(self):
        lines = PRINTED.splitlines()[1:]
        for options, numbers in ((("--call=allocate",), (0, 1, 4)), (("--call", "deallocate,failed_allocate"), (2, 3, 5, 6)),
                                 (("--min-size=25",), (0, 2, 3, 4, 6)), (("--min-size", "24", "--max-size", "24"), (1, 5)),
                                 (("--thread=7",), (0, 1)), (("--thread=7,8",), range(7)), (("--thread=9",), ()),
                                 (("--from=300",), range(2, 7)), (("--to=0.3us",), (0, 1, 2)),
                                 (("--from", "301ns", "--to", "0.000302ms"), (3, 4)), (("--to=0.000000019s",), (0,)),
                                 (("--first=2",), (0, 1)), (("-n2", "--thread=8"), (2, 3)), (("-n0",), ()),
                                 (("--call=allocate", "--max-size=99"), (1,)), (("--max-size=0",), ()),
                                 (("--call=allocate", "--call=failed_allocate"), (0, 1, 2, 4)),
                                 (("--thread=7", "--thread=8", "--first=3"), (0, 1, 2))):
            self.assertEqual(self.lines_of(*options), [lines[i] for i in numbers], options)
        status, out, err = run("print", "--at=main", "-", stdin=trace(CALLS))
        self.assertEqual((status, out), (1, PRINTED.splitlines(keepends=True)[0]))
        self.assertIn("has no stacks", err)

    def test_print_of_a_call_site(self):
        out = trace_with_stacks()
        stack = ["# stack 1", "#   0x1234 in /a b"]
        self.assertEqual(self.lines_of("--at", "a b", "--call=allocate", stdin=out), [*stack, "#   0xff in /c\ufffd[m", "1 7 allocate 9 8 0x10 1 at 1"])
        self.assertEqual(len(self.lines_of("--at=0x10000000000", stdin=out)), 3)
        self.assertEqual(self.lines_of("--at=nowhere", stdin=out), [])

    def test_print_of_a_summary(self):
        status, out, err = run("print", "--summary", "--thread=8", "-", stdin=trace(CALLS))
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"\nallocate +1 +100 B +100 +100\n")
        self.assertRegex(out, r"\ndeallocate +3 +224 B +24 +100\n")
        self.assertRegex(out, r"\nfailed_allocate +1 +1 TiB +1,099,511,627,776 +1,099,511,627,776\n")
        self.assertTrue(out.endswith("\n\nby 1 thread, from 0.000000 s to 0.000000 s\n"), out)
        status, cut, err = run("print", "--summary", "--thread=8", "-", stdin=trace(CALLS)[:-1])
        self.assertEqual((status, cut), (1, out))
        self.assertIn("truncated", err)
        self.assertEqual(run("print", "--first=1", "-", stdin=trace(CALLS, 1)[:-60])[0], 0)

    def exported(self, form, stdin, complaint=""):
        done = subprocess.run([PROGRAM, "export", "--format", form, "-o", "-", "-"], input=stdin, capture_output=True,
                              timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(complaint, done.stderr.decode())
        if not complaint:
            self.assertEqual(done.stderr, b"")
        return done.stdout

    def test_export_to_pprof(self):
        profile = protobuf(self.exported("pprof", trace_with_stacks(MANY_CALLS)))
        texts = [each.decode() for each in profile[6]]
        self.assertEqual(texts[0], "")
        text = lambda message, field: texts[message.get(field, [0])[0]]
        kinds = [(text(each, 1), text(each, 2)) for each in map(protobuf, profile[1])]
        self.assertEqual(kinds, [("alloc_objects", "count"), ("alloc_space", "bytes"), ("peak_objects", "count"),
                                 ("peak_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes")])
        self.assertEqual(texts[profile[14][0]], "alloc_space")
        self.assertEqual(profile[10], [5000000])
        functions = {each[1][0]: (text(each, 2), text(each, 4)) for each in map(protobuf, profile[5])}
        locations = {each[1][0]: (each.get(2, [0])[0], each.get(3, [0])[0], functions[protobuf(each[4][0])[1][0]])
                     for each in map(protobuf, profile[4])}
        samples = {packed(each[1][0]): packed(each[2][0]) for each in map(protobuf, profile[2])}
        inner, outer = (1, 0x2234, ("0x1234", "/a b")), (2, 255, ("0xff", "/c\ufffd[m"))
        self.assertEqual({tuple(locations[number] for number in stack): values for stack, values in samples.items()},
                         {(inner, outer): (2, 150, 1, 50, 0, 0), ((0, 1 << 40, ("0x10000000000", "")),): (2, 224, 1, 200, 1, 200),
                          ((0, 0, ("(unknown)", "")),): (1, 7, 1, 7, 1, 7)})
        mappings = {each[1][0]: (each.get(2, [0])[0], each[3][0], text(each, 5), text(each, 6)) for each in map(protobuf, profile[3])}
        self.assertEqual(mappings, {1: (4096, 0x3000, "/a b", ""), 2: (0, 4096, "/c\ufffd[m", "77")})

    def test_export_to_speedscope(self):
        whole = json.loads(self.exported("speedscope", trace_with_stacks(MANY_CALLS)))
        self.assertEqual(whole["$schema"], "https://www.speedscope.app/file-format-schema.json")
        self.assertEqual((whole["name"], whole["activeProfileIndex"]), ("-", 1))
        frames = whole["shared"]["frames"]
        found = {}
        for profile in whole["profiles"]:
            self.assertEqual((profile["type"], profile["startValue"]), ("sampled", 0))
            self.assertEqual(len(profile["samples"]), len(profile["weights"]))
            self.assertEqual(sum(profile["weights"]), profile["endValue"])
            found[profile["name"], profile["unit"]] = {
                tuple((frames[i]["name"], frames[i].get("file")) for i in sample): weight
                for sample, weight in zip(profile["samples"], profile["weights"])}
        one, two, none = (("0xff", "/c\ufffd[m"), ("0x1234", "/a b")), (("0x10000000000", None),), (("(unknown)", None),)
        self.assertEqual(found, {("calls", "none"): {one: 2, two: 2, none: 1},
                                 ("bytes", "bytes"): {one: 150, two: 224, none: 7},
                                 ("blocks at the peak", "none"): {one: 1, two: 1, none: 1},
                                 ("live at the peak", "bytes"): {one: 50, two: 200, none: 7},
                                 ("blocks at the end", "none"): {two: 1, none: 1},
                                 ("live at the end", "bytes"): {two: 200, none: 7}})

    def test_export_to_heaptrack(self):
        written = self.exported("heaptrack", trace_with_stacks(MANY_CALLS)).decode()
        self.assertEqual([line for line in written.splitlines() if line[0] in "+-c"],
                         ["+ 0", "+ 1", "- 0", "+ 2", "- 1", "c 2", "+ 3", "+ 4", "c 5", "- 3"])
        self.assertIn("\ns /c\ufffd[m\n", written)
        if not shutil.which("heaptrack_print"):
            self.skipTest("no heaptrack_print")
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "out"
            path.write_text(written)
            said = subprocess.run(["heaptrack_print", "-f", path], capture_output=True, text=True, check=True, timeout=60)
        self.assertEqual(said.stderr.replace("finished reading file, now analyzing data:", "").strip(), "")
        for line in ("calls to allocation functions: 5 ", "peak heap memory consumption: 257B\n", "total memory leaked: 207B\n",
                     "\n0x1234\n  in /a b\n"):
            self.assertIn(line, said.stdout)

    def test_export_of_less(self):
        complaint = "cistern-trace: the trace was cut off; this is what there is of it"
        whole = self.exported("speedscope", trace_with_stacks(MANY_CALLS)[:-1], complaint)
        self.assertEqual(json.loads(whole)["profiles"][1]["endValue"], 381)
        self.exported("heaptrack", trace_with_stacks(MANY_CALLS)[:-1], complaint)
        self.exported("pprof", trace(CALLS), "the trace has no stacks, so that all is of one unknown place: record it with --stacks")
        hostile = trace([(ALLOCATE, 0, 1, 1 << 63, 8, 0x10)])
        for form, status in (("pprof", 1), ("speedscope", 1)):
            status, out, err = run("export", "--format", form, "-o", "-", "-", stdin=hostile)
            self.assertEqual((status, out), (1, ""))
            self.assertIn("a block of 9223372036854775808 bytes, which no program has at byte ", err)

    def test_export_to_files(self):
        with tempfile.TemporaryDirectory() as folder:
            source, out = pathlib.Path(folder) / "a.trace", pathlib.Path(folder) / "out"
            source.write_bytes(trace_with_stacks(MANY_CALLS))
            for form in ("pprof", "speedscope", "heaptrack"):
                self.assertEqual(run("export", str(source), "--format", form, "-o", str(out)), (0, "", ""))
                self.assertNotEqual(out.read_bytes(), b"")
                status, _, err = run("export", str(source), "--format", form, "-o", str(source))
                self.assertEqual((status, err.splitlines()[0]), (2, f"cistern-trace: --output is the same file as FILE: {source}"))
                self.assertEqual(run("export", str(source), "--format", form, "-o", "/no/such/folder/x"),
                                 (1, "", "cistern-trace: cannot write /no/such/folder/x\n"))
                if pathlib.Path("/dev/full").exists():
                    self.assertEqual(run("export", str(source), "--format", form, "-o", "/dev/full"),
                                     (1, "", "cistern-trace: cannot write /dev/full\n"))
            self.assertEqual(source.read_bytes(), trace_with_stacks(MANY_CALLS))

    def diff_of(self, before, after, *options, complaint=""):
        with tempfile.TemporaryDirectory() as folder:
            paths = [pathlib.Path(folder) / name for name in ("before", "after", "json")]
            paths[0].write_bytes(before)
            paths[1].write_bytes(after)
            status, out, err = run("diff", *options, "--json", str(paths[2]), str(paths[0]), str(paths[1]))
            self.assertEqual((status, err), (0, complaint))
            return out, json.loads(paths[2].read_text())

    def test_diff(self):
        # The same functions elsewhere, and in another order; one call more from stack 1, none from stack 2.
        stacks = varint(1) + varint(0) + varint(1 << 40) + varint(2) + varint(1) + varint(0x1234) + varint(2) + varint(255)
        calls = [(ALLOCATE, i, 7, 100, 8, 0x1000 * i, 2) for i in (1, 2, 3)] + [(FREE, 4, 7, 0, 1, 0x1000, 0)]
        out, figures = self.diff_of(trace_with_stacks(MANY_CALLS), trace_with_stacks(calls, stacks))
        sums = lambda *values: dict(zip(("calls", "bytes", "peak_bytes", "peak_blocks", "live_bytes", "live_blocks"), values))
        nothing = sums(0, 0, 0, 0, 0, 0)
        one, two, none = ["0x1234 in a b", "0xff in c\ufffd[m"], ["0x10000000000"], ["(unknown)"]
        self.assertEqual((figures["before"], figures["after"]), (sums(5, 381, 257, 3, 207, 2), sums(3, 300, 300, 3, 200, 2)))
        self.assertEqual(figures["by_call_site"],
                         [{"stack": two, "before": sums(2, 224, 200, 1, 200, 1), "after": nothing},
                          {"stack": one, "before": sums(2, 150, 50, 1, 0, 0), "after": sums(3, 300, 300, 3, 200, 2)},
                          {"stack": none, "before": sums(1, 7, 7, 1, 7, 1), "after": nothing}])
        self.assertEqual({each["sizes"]: (each["before"]["calls"], each["after"]["calls"]) for each in figures["by_size"]},
                         {"5 - 8": (1, 0), "17 - 32": (1, 0), "33 - 64": (1, 0), "65 - 128": (1, 3), "129 - 256": (1, 0)})
        self.assertRegex(out, r"\nbytes +381 B +300 B +-81 B\n")
        self.assertIn("\nMore from 1 call site\n\n+150 B (150 B to 300 B), +1 call, +250 B at the peak, +200 B at the end\n"
                      "    0x1234 in a b\n    0xff in c\ufffd[m\n", out)
        self.assertIn("\nLess from 2 call sites\n\n-224 B (224 B to 0 B), -2 calls, -200 B at the peak, -200 B at the end\n"
                      "    0x10000000000\n\n-7 B (7 B to 0 B), -1 call,", out)
        out, _ = self.diff_of(trace_with_stacks(MANY_CALLS), trace_with_stacks(calls, stacks), "-n1", "--by=live")
        self.assertIn("\nMore from 1 call site\n\n+150 B", out)
        self.assertIn("\nLess from 2 call sites\n\n-224 B", out)
        self.assertTrue(out.endswith("\nand 1 more\n"), out)

    def test_diff_of_the_same(self):
        out, figures = self.diff_of(trace_with_stacks(MANY_CALLS), trace_with_stacks(MANY_CALLS))
        self.assertEqual(figures["by_call_site"], [])
        self.assertRegex(out, r"\nbytes +381 B +381 B +0 B\n")
        self.assertNotIn("call site", out)

    def test_diff_of_less(self):
        hint = "cistern-trace: there is nothing about call sites: record both traces with --stacks\n"
        _, figures = self.diff_of(trace(CALLS), trace_with_stacks(MANY_CALLS), complaint=hint)
        self.assertEqual(figures["before"]["bytes"], 224)
        self.assertIsNone(figures["by_call_site"])
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "a"
            path.write_bytes(trace_with_stacks(MANY_CALLS))
            status, out, err = run("diff", str(path), "-", stdin=trace_with_stacks(MANY_CALLS)[:-1])
            self.assertEqual(status, 0)
            self.assertRegex(out, r"\nbytes +381 B +381 B +0 B\n")
            self.assertIn("the trace was cut off; this is what there is of it", err)

    def report_diff_of(self, before, after, *options):
        with tempfile.TemporaryDirectory() as folder:
            paths = [pathlib.Path(folder) / name for name in ("before", "after")]
            for path, text in zip(paths, (before, after)):
                path.write_bytes(text if isinstance(text, bytes) else json.dumps(text).encode())
            status, out, err = run("diff", *options, *map(str, paths))
            if "nlohmann" in err:
                self.skipTest("reports can't be read by this build")  # And says how to have it.
            return status, out, err.replace(folder + "/", "")

    def test_diff_of_reports(self):
        pool = dict(time=40, ratio=2, memory={"upstream_allocations": 10, "over_time": [0, 4096, 8192, 100]})
        before = report(new=dict(time=20), pool=pool, gone={})
        pool = dict(time=30, ratio=1, refused=1, memory={"upstream_allocations": 5, "over_time": [2048]})
        after = report(new=dict(time=30, memory=None), come={}, pool=pool, calls=2000)
        with tempfile.TemporaryDirectory() as folder:
            files = ("--json", f"{folder}/json", "--csv", f"{folder}/csv")
            status, out, err = self.report_diff_of(before, after, *files)
            self.assertEqual((status, err), (0, ""))
            figures = json.loads(pathlib.Path(folder, "json").read_text())
            with open(f"{folder}/csv", newline="") as table:
                rows = {(row["resource"], row["figure"]): row for row in csv.DictReader(table)}
        self.assertTrue(out.startswith("before, a\ufffdtrace: 1,000 calls, at the peak 2 KiB asked for; times are of 9 rounds\n"
                                       "after, a\ufffdtrace: 2,000 calls, at the peak 2 KiB asked for; times are of 9 rounds\n\n"), out)
        lines = [" ".join(line.split()) for line in out.splitlines()[5:]]
        self.assertEqual(lines, ["new", "ns/call (quartiles) 20.0 (19.0 - 22.0) 30.0 (29.0 - 32.0) 1.50",
                                 "all calls 20.0 us 60.0 us 3.00",
                                 "to the first 1.00 1.00 1.00", "longest call 1.5 us 1.5 us 1.00", "peak resident 4 KiB - -",
                                 "/ asked 2.00 - -", "after trim 1 KiB - -",
                                 "pool", "ns/call (quartiles) 40.0 (39.0 - 42.0) 30.0 (29.0 - 32.0) 0.75",
                                 "all calls 40.0 us 60.0 us 1.50",
                                 "to the first 2.00 1.00 0.50", "longest call 1.5 us 1.5 us 1.00", "refused 0 1 -",
                                 "peak resident 4 KiB 4 KiB 1.00", "/ asked 2.00 2.00 1.00", "peak held 8 KiB 2 KiB 0.25",
                                 "after trim 1 KiB 1 KiB 1.00", "upstream calls 10 5 0.50",
                                 "", "only before: gone", "", "only after: come"])
        self.assertEqual((figures["only_before"], figures["only_after"]), (["gone"], ["come"]))
        self.assertEqual(figures["after"], {"file": "a\ufffdtrace", "calls": 2000, "recorded_threads": 1,
                                            "peak_asked_bytes": 2048, "rounds": 9})
        self.assertEqual([each["name"] for each in figures["resources"]], ["new", "pool"])
        new, pool = figures["resources"]
        self.assertEqual(new["peak_resident_bytes"], {"before": 4096, "after": None, "ratio": None})
        self.assertEqual(pool["peak_held_bytes"], {"before": 8192, "after": 2048, "ratio": 0.25})
        self.assertEqual(pool["upper_quartile"], {"before": 42, "after": 32, "ratio": 0.7619})
        for each in figures["resources"]:
            for key, figure in each.items():
                if key == "name":
                    continue
                row = rows.pop((each["name"], key))
                self.assertEqual([row[part] and float(row[part]) for part in ("before", "after", "ratio")],
                                 ["" if figure[part] is None else figure[part] for part in ("before", "after", "ratio")])
        self.assertEqual(rows, {})

    def test_diff_of_reports_by_different_yardsticks(self):
        status, out, err = self.report_diff_of(report(new={}, pool={}), report(pool={}, new={}))
        self.assertEqual((status, err), (0, ""))
        self.assertNotIn("to the first", out)

    def test_diff_of_what_replay_wrote(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "all.json"
            status, _, err = run("replay", "--on=new,cistern-sync,nothing", "--rounds=1", f"--json={path}", "-", stdin=trace(CALLS))
            self.assertEqual((status, err), (0, ""))
            status, out, err = self.report_diff_of(path.read_bytes(), path.read_bytes())
            self.assertEqual((status, err), (0, ""))
            self.assertEqual([line for line in out.splitlines()[5:] if not line.startswith(" ")], ["new", "cistern-sync", "nothing"])
            self.assertRegex(out, r"\n  upstream calls .* 1\.00\n")
            self.assertEqual(run("diff", "-", str(path), stdin=path.read_bytes())[0], 0)

    def test_diff_of_what_is_no_report(self):
        sound = json.dumps(report(new={})).encode()
        for end in range(1, len(sound), 3):
            status, out, err = self.report_diff_of(sound, sound[:end])
            self.assertEqual((status, out), (1, ""), sound[:end])
            self.assertRegex(err, r"^cistern-trace: after isn't what replay --json writes: .* at line 1, column \d+")
        deep = b'{"trace":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        for wrong, words in ((b"{}", "key 'trace' not found"), (deep, "array"),
                             (report(), "it has no resource"), (report(new=dict(ratio="x")), "ratio is no such number"),
                             (report(new=dict(refused=-1)), "refused is no such number"),
                             (report(new=dict(time=1e300)), "median is no such number"),
                             (report(new=dict(memory=7)), "number"), (sound.replace(b'"new"', b"7"), "string")):
            status, out, err = self.report_diff_of(sound, wrong)
            self.assertEqual((status, out), (1, ""), err)
            self.assertTrue(err.startswith("cistern-trace: after isn't what replay --json writes: "), err)
            self.assertIn(words, err)
        status, out, err = self.report_diff_of(sound, report(pool={}, other={}))
        self.assertEqual((status, out, err), (1, "", "cistern-trace: the reports have no resource in common: new before, "
                                                     "pool, other after\n"))

    def test_diff_of_a_trace_and_a_report(self):
        for pair in ((report(new={}), trace(CALLS)), (trace(CALLS), report(new={}))):
            status, out, err = self.report_diff_of(*pair)
            self.assertEqual((status, out), (2, ""))
            self.assertRegex(err, r"^cistern-trace: (before|after) is a report of replay, and (after|before) is none: two "
                                  r"traces can be compared, or two reports\n")
        for options, pair, words in ((("--by=calls",), (report(new={}),) * 2, "--by and --first are about call sites"),
                                     (("-n1",), (report(new={}),) * 2, "--by and --first are about call sites"),
                                     (("--csv=x",), (trace(CALLS),) * 2, "--csv is for reports")):
            status, out, err = self.report_diff_of(*pair, *options)
            self.assertEqual((status, out), (2, ""))
            self.assertTrue(err.startswith(f"cistern-trace: {words}"), err)

    def test_why_a_trace_ended_is_said(self):
        for end, words in ((end_mark(7, 1), "the trace had grown to the size that it was allowed; what came later isn't in it"),
                           (end_mark(7, 2, 28), "the trace could not be written any further: No space left on device")):
            self.assertEqual(run("print", "-", stdin=trace(CALLS, end=end)), (0, PRINTED, f"cistern-trace: {words}\n"))

    def test_reads_files(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "a trace"
            path.write_bytes(trace(CALLS))
            self.assertEqual(run("print", str(path)), (0, PRINTED, ""))

    def test_advise(self):
        status, out, err = run("advise", "--rules", "-", stdin=trace(CALLS))
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"allocations +3\n")
        self.assertRegex(out, r"freed by another thread +2\n")
        self.assertIn("cistern::synchronized_pool_resource pool({", out)
        status, cut, err = run("advise", "--rules", "-", stdin=trace(CALLS)[:-1])
        self.assertEqual((status, cut), (0, out))
        self.assertIn("the trace was cut off", err)

    VERDICTS = ("no_pool_needed", "reserve", "small_buffer", "monotonic_for_sites", "pool_for_sites", "monotonic", "pool")

    def check_advice(self, path):
        advice = json.loads(path.read_text())
        self.assertIn(advice["verdict"], self.VERDICTS)
        self.assertEqual(advice["verdict"] == "no_pool_needed", advice["advices"] == [])
        self.assertGreaterEqual(advice["calls_nanoseconds"]["median"], 0)
        for one in advice["advices"]:
            self.assertIn(one["kind"], self.VERDICTS)
            gain = one["gain_nanoseconds"]
            self.assertLess(0, gain["lower_quartile"])
            self.assertLessEqual(gain["lower_quartile"], gain["median"])
            self.assertLessEqual(gain["median"], gain["upper_quartile"])
            self.assertTrue(one["code"] and one["costs"] and one["headline"])
        return advice

    def test_advice_by_replays(self):
        calls = []
        for i in range(4000):  # Two threads, one of which frees what the other made; no time for anything else.
            calls.append((ALLOCATE, 50 * i, 1 + i % 2, 20 + i % 300, 8, 0x10000 + 0x400 * i))
            if i >= 100:
                calls.append((FREE, 50 * i, 1, 0, 1, 0x10000 + 0x400 * (i - 100)))
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "advice.json"
            status, out, err = run("advise", "--rounds=3", "--json", str(path), "-", stdin=trace(calls))
            self.assertEqual((status, err), (0, ""))
            advice = self.check_advice(path)
            self.assertEqual(out.splitlines()[0], advice["headline"])
            self.assertEqual({key: advice["trace"][key] for key in ("calls", "threads", "allocations", "left_live", "cut_off")},
                             {"calls": 7900, "threads": 2, "allocations": 4000, "left_live": 100, "cut_off": False})
            self.assertEqual([site["name"] for site in advice["sites"]], ["unknown"])
            self.assertEqual(sum(count for _, count in advice["sites"][0]["sizes"]), 4000)
            self.assertEqual([(each["from_thread"], each["to_thread"]) for each in advice["hand_overs"]], [(2, 1)])
            self.assertIn("recorded with --stacks", out)
            cut = trace(calls, 500)[:-100]
            status, out, err = run("advise", "--rounds=1", "--one-thread", "--json", str(path), "-", stdin=cut)
            self.assertEqual(status, 0)
            self.assertIn("the trace was cut off; the advice is on what there is of it", err)
            self.assertTrue(self.check_advice(path)["trace"]["cut_off"])
            status, out, err = run("advise", "-", stdin=trace([]))
            self.assertEqual((status, out, err), (0, "No pool needed as far as this trace goes: nothing is allocated in it.\n\n", ""))
            self.assertEqual(run("advise", "--max-memory=4K", "-", stdin=trace(calls))[0], 1)
            self.assertEqual(run("advise", "--rounds=0", "-", stdin=trace(calls))[0], 2)
            self.assertEqual(run("advise", "--json=/nowhere/x", "-", stdin=trace(calls))[0], 1)

    def test_why_a_resource_does_not_pass_a_check(self):
        for resource in ("new", "cistern-unsync", "cistern-sync", "std-unsync", "std-sync", "monotonic"):
            status, out, err = run("replay", "--check", "--on", resource, "-", stdin=trace(CALLS))
            self.assertEqual((status, err), (0, ""), resource)
            self.assertTrue(out.startswith(resource + "\n"))
            self.assertRegex(out, r"allocations +3\n")
            self.assertRegex(out, r"failed when recorded +1\n")
        status, out, err = run("replay", "--check", "--on=new,cistern-sync:max_bytes=64K", "-",
                               stdin=trace([(ALLOCATE, 0, 1, 1 << 20, 8, 1)]))
        self.assertEqual((status, err), (1, "cistern-trace: cistern-sync:max_bytes=64K refused, misaligned or damaged blocks\n"))
        self.assertRegex(out, r"(?s)refused by the resource +0\n.*refused by the resource +1\n")

    def test_replay(self):
        with tempfile.TemporaryDirectory() as folder:
            files = [str(pathlib.Path(folder) / name) for name in ("all.json", "all.csv")]
            status, out, err = run("replay", "--on", "cistern-sync:thread_cache_bytes=0,new,nothing", "--rounds", "1",
                                   "--json", files[0], "--csv", files[1], "-", stdin=trace(CALLS))
            self.assertEqual((status, err), (0, ""))
            lines = out.splitlines()
            self.assertEqual(lines[0], "6 calls by 2 threads, replayed on 1; 2 blocks freed by another thread; at the peak "
                                       "124 B asked for")
            names = ["cistern-sync:thread_cache_bytes=0", "new", "nothing"]
            self.assertEqual([line.split()[0] for line in lines[4:]], names)
            self.check_json(json.loads(pathlib.Path(files[0]).read_text()), names)
            status, out, err = run("replay", "--on=" + ",".join(names), "--rounds=1", "--cold", "--json", files[0], "-",
                                   stdin=trace(CALLS))
            self.assertEqual((status, err), (0, ""))
            self.check_json(json.loads(pathlib.Path(files[0]).read_text()), names)
            with open(files[1], newline="") as table:
                rows = list(csv.DictReader(table))
            self.assertEqual([row["resource"] for row in rows], names)
            self.assertEqual([row["upstream_allocations"] != "" for row in rows], [True, False, False])
            self.assertEqual([row["peak_asked_bytes"] for row in rows], ["124"] * 3)

    def check_json(self, all_of_it, names):
        self.assertEqual({key: all_of_it["trace"][key] for key in
                          ("file", "cut_off", "calls", "recorded_threads", "replayed_threads", "handed_over", "left_live",
                           "failed_when_recorded", "frees_of_blocks_from_before", "requested_bytes", "peak_asked_bytes")},
                         {"file": "-", "cut_off": False, "calls": 6, "recorded_threads": 2, "replayed_threads": 1,
                          "handed_over": 2, "left_live": 0, "failed_when_recorded": 1, "frees_of_blocks_from_before": 0,
                          "requested_bytes": 224, "peak_asked_bytes": 124})
        self.assertEqual(all_of_it["rounds"], 1)
        self.assertEqual([each["name"] for each in all_of_it["resources"]], names)
        for each in all_of_it["resources"]:
            times = each["nanoseconds_per_call"]
            self.assertEqual(times["rounds"], [times["median"]])
            self.assertEqual((times["lower_quartile"], times["upper_quartile"]), (times["median"], times["median"]))
            self.assertGreaterEqual(times["median"], 0)
            self.assertGreaterEqual(each["ratio"], 0)
            self.assertGreaterEqual(each["longest_call_nanoseconds"], 0)
            self.assertEqual(each["refused"], 0)
        self.assertEqual(all_of_it["resources"][0]["ratio"], 1)
        pool, new, nothing = (each["memory"] for each in all_of_it["resources"])
        self.assertIsNone(nothing)
        self.assertIsNone(new["upstream_allocations"])
        self.assertGreater(pool["upstream_allocations"], 0)
        for memory in (pool, new):
            self.assertEqual(memory["peak_asked_bytes"], 124)
            self.assertGreaterEqual(memory["fragmentation"], 0)
            points = memory["over_time"]
            self.assertEqual([(point["calls"], point["nanoseconds"], point["asked_bytes"]) for point in points],
                             [(1, 10, 100), (2, 20, 124), (3, 301, 24), (4, 302, 124), (5, 303, 100), (6, 304, 0)])
            self.assertLessEqual(max(point["resident_bytes"] for point in points), memory["peak_resident_bytes"])
        self.assertGreater(pool["over_time"][1]["upstream_bytes"], 100)
        self.assertIsNone(new["over_time"][1]["upstream_bytes"])

    def test_memory_over_time_has_a_thousand_points_at_most(self):
        calls = [(ALLOCATE if i % 2 == 0 else FREE, i, 7, 1 + i, 8, 0x10) for i in range(5000)]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "all.json"
            status, _, err = run("replay", "--on=std-unsync", "--rounds=1", f"--json={path}", "-", stdin=trace(calls))
            self.assertEqual((status, err), (0, ""))
            points = json.loads(path.read_text())["resources"][0]["memory"]["over_time"]
        self.assertTrue(500 <= len(points) <= 1000, len(points))
        self.assertEqual(points[-1]["calls"], 5000)
        self.assertEqual(max(point["asked_bytes"] for point in points), 4999)
        self.assertGreater(points[0]["upstream_bytes"], 0)

    def test_large_blocks_are_seen_in_the_memory(self):
        calls = [(ALLOCATE, i, 7, 1 << 20, 8, 0x1000000 * i) for i in range(1, 17)]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "all.json"
            status, _, err = run("replay", "--on=new,cistern-unsync", "--rounds=1", f"--json={path}", "-", stdin=trace(calls))
            self.assertEqual((status, err), (0, ""))
            for each in json.loads(path.read_text())["resources"]:
                self.assertGreaterEqual(each["memory"]["peak_resident_bytes"], 15 << 20)
                self.assertGreaterEqual(each["memory"]["over_time"][-1]["resident_bytes"], 15 << 20)
                if UNSANITIZED:
                    self.assertLess(each["memory"]["held_after_trim_bytes"], 8 << 20)

    def test_threads(self):
        four = [(ALLOCATE, i, i % 4, 100, 8, 0x1000 * i) for i in range(1, 400)]
        four += [(FREE, 400 + i, (i + 1) % 4, 0, 1, 0x1000 * i) for i in range(1, 400)]
        status, out, err = run("replay", "--on=new,cistern-sync", "--rounds=1", "-", stdin=trace(four))
        self.assertEqual((status, err), (0, ""))
        self.assertTrue(out.startswith("798 calls by 4 threads, replayed on 4; 399 blocks freed by another thread"))
        status, out, err = run("replay", "--on=new,cistern-unsync", "--rounds=1", "-", stdin=trace(four))
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(err, "cistern-trace: cistern-unsync is for one thread, and the trace has 4 at a time: add "
                              "--one-thread, or leave it out\n")
        status, out, err = run("replay", "--on=cistern-unsync,monotonic", "--one-thread", "--rounds=1", "-", stdin=trace(four))
        self.assertEqual((status, err), (0, ""))
        self.assertTrue(out.startswith("798 calls by 4 threads, replayed on 1; 0 blocks freed by another thread"))

    def test_too_many_threads_at_a_time(self):
        calls = [(ALLOCATE, i, i, 8, 8, 0x1000 * i) for i in range(1, 1100)]
        calls += [(FREE, 1100 + i, i, 0, 1, 0x1000 * i) for i in range(1, 1100)]
        status, out, err = run("replay", "--on=new", "--rounds=1", "-", stdin=trace(calls))
        self.assertEqual((status, out), (1, ""))
        self.assertIn("1,099 threads at a time, too many to be replayed side by side: add --one-thread", err)

    def test_a_trace_that_was_cut_off_is_replayed_as_far_as_it_goes(self):
        cut = trace(CALLS, 2)[:-40]
        for more in (["--rounds=1"], ["--check"]):
            status, out, err = run("replay", "--on=new", *more, "-", stdin=cut)
            self.assertEqual(status, 0)
            self.assertRegex(err, r"^cistern-trace: the trace was cut off; (replayed|checked) is what there is of it")
            self.assertNotEqual(out, "")
        status, out, err = run("replay", "--on=new", "-", stdin=trace(CALLS)[:50])
        self.assertEqual((status, out), (1, ""))
        self.assertRegex(err, r"^cistern-trace: standard input: truncated: .* at byte 50\n$")

    def test_sizes_that_no_program_has(self):
        first = (ALLOCATE, 0, 1, 8, 8, 0x10)
        for version, offset in ((1, 24 + 12 + 5), (2, 40 + 16 + 5)):
            for size, alignment in (((1 << 63) - 1, 1), ((1 << 64) - 1, 1), (1 << 47, 16), (8, 1 << 62)):
                hostile = trace([first, (ALLOCATE, 1, 1, size, alignment, 0x2000)], version=version)
                status, out, err = run("replay", "--on=new", "--rounds=1", "-", stdin=hostile)
                self.assertEqual((status, out), (1, ""))
                self.assertEqual(err, f"cistern-trace: standard input: corrupt: a block of {size} bytes aligned to "
                                      f"{alignment}, which no program has at byte {offset}\n")

    def test_more_than_there_is_memory_for(self):
        one = trace([(ALLOCATE, 0, 1, 1 << 46, 8, 0x10)])
        status, out, err = run("replay", "--on=cistern-unsync:max_bytes=1G", "--rounds=1", "-", stdin=one)
        self.assertEqual(status, 1)
        self.assertIn("cistern-trace: memory isn't measured: the trace's blocks take 64 TiB", err)
        self.assertIn("cistern-trace: cistern-unsync:max_bytes=1G refused 1 allocation\n", err)
        many = trace([(ALLOCATE, i, 1, 5000, 8, 0x10000 * i) for i in range(1, 1000)] )
        status, out, err = run("replay", "--on=new", "--rounds=1", "--max-memory=1M", "-", stdin=many)
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(err, "cistern-trace: the trace's blocks take at least 3.9 MiB, and 1 MiB may be used: "
                              "--max-memory says how much it may be\n")
        pairs = [(ALLOCATE if i % 2 == 0 else FREE, i, 7, 1 << 16, 8, 0x10) for i in range(200)]
        status, out, err = run("replay", "--on=new,monotonic", "--rounds=1", "--max-memory=1M", "-", stdin=trace(pairs))
        self.assertEqual((status, out), (1, ""))
        self.assertIn("monotonic would hold 6.25 MiB", err)

    def test_a_trace_of_nothing(self):
        status, out, err = run("replay", "--on=new", "-", stdin=trace([(FAILED, 300, 8, 1 << 40, 16, 0)]))
        self.assertEqual((status, out, err), (1, "", "cistern-trace: the trace has no allocation\n"))

    def test_libraries(self):
        status, out, err = run("replay", "--on=new,/no/such/lib.so", "-", stdin=trace(CALLS))
        self.assertEqual((status, out), (1, ""))
        self.assertRegex(err, r"^cistern-trace: cannot load /no/such/lib.so \(.*\): give the path of a library that has a malloc\n$")
        if not UNSANITIZED:
            self.skipTest("not in this build")
        found = ctypes.util.find_library("m")
        path = next((str(path) for path in pathlib.Path("/lib").glob(f"*/{found}")), None)
        if path:
            status, out, err = run("replay", f"--on={path}", "-", stdin=trace(CALLS))
            self.assertEqual((status, out), (1, ""))
            self.assertIn("has no malloc, free and aligned_alloc of its own", err)
        status, out, err = run("replay", "--rounds=1", "-", stdin=trace(CALLS))
        self.assertEqual((status, err), (0, ""))
        names = [line.split()[0] for line in out.splitlines()[4:]]
        self.assertEqual((names[:5], names[-1]),
                         (["new", "cistern-sync", "cistern-unsync", "std-sync", "std-unsync"], "nothing"))
        for name in ("mimalloc", "jemalloc", "tcmalloc", "snmalloc"):
            status, out, err = run("replay", f"--on={name}", "--rounds=1", "-", stdin=trace(CALLS))
            self.assertEqual(status, 0 if name in names else 1, err)
            if name not in names:
                self.assertIn(f"cistern-trace: cannot load {name} (", err)
                self.assertIn("give the path of its library", err)
        if len(UNSANITIZED) > 1:  # Our own, by its path.
            status, out, err = run("replay", f"--on={UNSANITIZED[1]}", "--rounds=1", "-", stdin=trace(CALLS))
            self.assertEqual((status, err), (0, ""))

    def test_files_that_cannot_be_written(self):
        for option in ("--json", "--csv"):
            status, out, err = run("replay", "--on=new", option, "/no/such/folder/x", "-", stdin=trace(CALLS))
            self.assertEqual((status, out, err), (1, "", "cistern-trace: cannot write /no/such/folder/x\n"))

    def test_no_output_is_an_input_or_another_output(self):
        recorded, figures = trace(CALLS), json.dumps(report(new={})).encode()
        with tempfile.TemporaryDirectory() as folder:
            path = lambda name: str(pathlib.Path(folder, name))
            pathlib.Path(path("w.t")).write_bytes(recorded)
            pathlib.Path(path("r.json")).write_bytes(figures)
            os.link(path("w.t"), path("hard.t"))
            os.symlink("w.t", path("soft.t"))
            w, r = path("w.t"), path("r.json")
            page = "report isn't in this build"
            for words, complaint in ((("replay", "--json", w, w), f"--json is the same file as FILE: {w}"),
                                     (("replay", "--csv", w, path("soft.t")), f"--csv is the same file as FILE: {w}"),
                                     (("replay", "--json", path("hard.t"), w), "--json is the same file as FILE: "),
                                     (("replay", "--json", path("x"), "--csv", folder + "/./x", w), "--csv is the same file as --json: "),
                                     (("advise", "--json", w, w), f"--json is the same file as FILE: {w}"),
                                     (("diff", "--json", w, w, path("hard.t")), f"--json is the same file as BEFORE: {w}"),
                                     (("diff", "--json", r, "-", r), f"--json is the same file as AFTER: {r}"),
                                     (("diff", "--csv", r, r, r), f"--csv is the same file as BEFORE: {r}"),
                                     (("report", w, "-o", w), f"--output is the same file as FILE: {w}"),
                                     (("report", w, "--replay", r, "-o", r), f"--output is the same file as --replay: {r}"),
                                     (("report", w, "--advice", r, "-o", r), f"--output is the same file as --advice: {r}")):
                status, out, err = run(*words)
                if words[0] == "report" and page in err:
                    continue
                self.assertEqual((status, out), (2, ""), words)
                self.assertTrue(err.startswith(f"cistern-trace: {complaint}"), err)
            with open(w, "rb") as stdin:
                done = subprocess.run([PROGRAM, "advise", "--json", w, "-"], stdin=stdin, capture_output=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertEqual((pathlib.Path(w).read_bytes(), pathlib.Path(r).read_bytes()), (recorded, figures))
            self.assertFalse(pathlib.Path(path("x")).exists())
            if pathlib.Path("/dev/null").exists():
                self.assertEqual(run("replay", "--on=new", "--rounds=1", "--json=/dev/null", "--csv=/dev/null", w)[0], 0)

    def test_what_was_there_stays_until_there_is_something_to_write(self):
        with tempfile.TemporaryDirectory() as folder:
            keep, new, none = (str(pathlib.Path(folder, name)) for name in ("keep", "new", "none"))
            pathlib.Path(keep).write_text("kept")
            for words in (("replay", "--on=new", "--json"), ("replay", "--on=new", "--csv"), ("advise", "--json"),
                          ("diff", "-", "--json"), *(("export", f"--format={form}", "-o") for form in ("pprof", "speedscope", "heaptrack"))):
                for output in (keep, new):
                    self.assertEqual(run(*words, output, none, stdin=trace(CALLS))[0], 1, words)
                    self.assertEqual(run(*words, output, "-" if words[0] != "diff" else none, stdin=b"no trace")[0], 1, words)
                self.assertEqual(pathlib.Path(keep).read_text(), "kept", words)
                self.assertFalse(pathlib.Path(new).exists(), words)

    def test_streams_that_are_closed(self):
        with tempfile.TemporaryDirectory() as folder:
            cut, out = str(pathlib.Path(folder, "cut.t")), pathlib.Path(folder, "out")
            pathlib.Path(cut).write_bytes(trace(CALLS)[:-1])
            closed = lambda streams, *words: subprocess.run(["sh", "-c", f'exec "$0" "$@" {streams}', PROGRAM, *words],
                                                            capture_output=True, timeout=60, check=False)
            for streams in ("2>&-", "2>&- >&-", "2>&- >&- <&-"):
                for form in ("speedscope", "heaptrack"):
                    done = closed(streams, "export", f"--format={form}", "-o", str(out), cut)
                    self.assertNotIn(b"cistern-trace: ", out.read_bytes())
                self.assertEqual(done.returncode, 0)
                closed(streams, "advise", "--rounds=1", "--json", str(out), cut)
                self.assertIn("verdict", json.loads(out.read_text()))
            done = closed(">&-", "replay", "--on=new", "--rounds=1", "--json", str(out), cut)
            self.assertEqual(done.returncode, 1)
            self.assertTrue(done.stderr.endswith(b"cistern-trace: cannot write to standard output\n"), done.stderr)
            self.assertIn("resources", json.loads(out.read_text()))
            self.assertEqual(closed("<&-", "print", "-").returncode, 1)

    def test_json_of_names_that_are_no_utf8(self):
        with tempfile.TemporaryDirectory() as folder:
            recorded, figures = os.fsencode(folder) + b"/\xff\xc3.t", str(pathlib.Path(folder, "json"))
            with open(recorded, "wb") as out:
                out.write(trace_with_stacks(MANY_CALLS))
            self.assertEqual(run("replay", "--on=new", "--rounds=1", "--json", figures, recorded)[0], 0)
            self.assertTrue(json.loads(pathlib.Path(figures).read_text("utf-8"))["trace"]["file"].endswith("/\ufffd\ufffd.t"))
            status, _, err = run("diff", figures, figures)
            if "nlohmann" not in err:
                self.assertEqual((status, err), (0, ""))
            self.assertEqual(run("advise", "--rounds=1", "--json", figures, recorded)[0], 0)
            self.assertTrue(json.loads(pathlib.Path(figures).read_text("utf-8"))["trace"]["file"].endswith("/\ufffd\ufffd.t"))
            self.assertEqual(run("export", "--format=speedscope", "-o", figures, recorded), (0, "", ""))
            self.assertTrue(json.loads(pathlib.Path(figures).read_text("utf-8"))["name"].endswith("\ufffd\ufffd.t"))

    def test_damage_is_an_error_after_what_could_be_read(self):
        whole = trace(CALLS, 3)
        status, out, err = run("print", "-", stdin=whole[:-1])
        self.assertEqual((status, out), (1, PRINTED))
        self.assertRegex(err, r"^cistern-trace: standard input: truncated: .* at byte \d+\n$")
        for wrong, words in ((b"", "not a trace"), (b"something else", "not a trace"), (header(9), "unknown version"),
                             (whole[:60] + b"?" + whole[61:], "corrupt"), (whole + b"x", "corrupt")):
            for command in (["print"], ["advise"], ["replay", "--on=new"], ["replay", "--on=new", "--check"]):
                status, _, err = run(*command, "-", stdin=wrong)
                self.assertEqual(status, 1)
                self.assertIn(words, err)

    def test_report(self):
        with tempfile.TemporaryDirectory() as folder:
            page, other = pathlib.Path(folder, "page.html"), pathlib.Path(folder, "other.json")
            status, out, err = run("report", "-o", str(page), "-", stdin=trace(CALLS))
            if status == 1 and not page.exists() and "CISTERN_REPORT_PAGE" in err:
                self.skipTest("report isn't in this build")  # And says how to have it.
            self.assertEqual((status, out, err), (0, f"{page}\n", ""))
            self.assertEqual([page], list(pathlib.Path(folder).iterdir()))
            mine = pathlib.Path(folder, "page.html.part")
            mine.write_text("mine")
            self.assertEqual(run("report", "-o", str(page), "-", stdin=trace(CALLS))[0], 0)
            self.assertEqual(mine.read_text(), "mine")
            self.assertEqual({page, mine}, set(pathlib.Path(folder).iterdir()))
            text = page.read_text("utf-8")
            self.assertIn("default-src 'none'", text)
            data = json.loads(text.split('id="data">')[1].split("</script>")[0])
            self.assertEqual(data["totals"]["allocations"], sum(line.split()[2] == "allocate" for line in PRINTED.splitlines()))
            status, out, err = run("report", "-o", "-", "-", stdin=trace(CALLS)[:-1])
            self.assertEqual((status, out[:15]), (0, "<!doctype html>"))
            self.assertIn("cut off", err)
            other.write_text('{"resources": [')
            status, out, err = run("report", "--replay", str(other), "-o", str(page), "-", stdin=trace(CALLS))
            if status == 1:  # A build without what reads JSON looks at the first character.
                self.assertIn(f"{other} isn't what replay --json writes", err)
            page.write_text(text, "utf-8")
            other.write_text("[]")
            for words, complaint in ((["-o", "/no/such/folder/x", "-"], "cannot write /no/such/folder/x"),
                                     (["--replay", "/no/such/file", "-o", str(page), "-"], "cannot read /no/such/file"),
                                     (["--advice", str(other), "-o", str(page), "-"], "isn't what advise --json writes")):
                status, out, err = run("report", *words, stdin=trace(CALLS))
                self.assertEqual((status, out), (1, ""))
                self.assertIn(complaint, err)
            self.assertEqual(text, page.read_text("utf-8"))
            for wrong in (b"", b"something else", trace(CALLS)[:60] + b"?" + trace(CALLS)[61:]):
                self.assertEqual(run("report", "-o", str(page), "-", stdin=wrong)[0], 1)
            self.assertEqual(text, page.read_text("utf-8"))

    def test_a_call_site_is_in_no_runtime_library(self):
        path = b"/x/libc.so.6"
        modules = varint(0) + varint(len(path)) + varint(0) + path + varint(0) + varint(2) + varint(0) + b"/p"
        stacks = varint(2) + varint(1) + varint(0x1234) + varint(2) + varint(255) + varint(1) + varint(1) + varint(0x10)
        calls = [(ALLOCATE, 1, 7, 9, 8, 0x10, 1), (ALLOCATE, 2, 7, 9, 8, 0x100, 2), (ALLOCATE, 3, 7, 9, 8, 0x200, 0)]
        recorded = trace_with_stacks(calls, stacks, modules)
        with tempfile.TemporaryDirectory() as folder:
            path, page = pathlib.Path(folder, "json"), pathlib.Path(folder, "page.html")
            self.assertEqual(run("advise", "--rounds=1", f"--json={path}", "-", stdin=recorded)[0], 0)
            self.assertEqual(sorted(site["name"] for site in json.loads(path.read_text())["sites"]),
                             ["0xff in p", "unknown"])
            if run("report", "-o", str(page), "-", stdin=recorded)[0] != 0:
                self.skipTest("report isn't in this build")
            data = json.loads(page.read_text("utf-8").split('id="data">')[1].split("</script>")[0])
        self.assertEqual(sorted(site["name"] for site in data["sites"]), ["(unknown)", "p+0xff"])
        self.assertEqual(sorted(data["names"][number] for number in data["runtime_names"]), ["libc.so.6+0x10", "libc.so.6+0x1234"])

    def test_a_missing_file_is_an_error(self):
        status, out, err = run("print", "/no/such/file")
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(err, "cistern-trace: cannot open /no/such/file: No such file or directory\n")

    def test_a_full_disk_is_an_error(self):
        if not pathlib.Path("/dev/full").exists():
            self.skipTest("no /dev/full")
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PROGRAM, "print", "-"], input=trace(CALLS), stdout=full, stderr=subprocess.PIPE,
                                  timeout=60, check=False)
        self.assertEqual((done.returncode, done.stderr), (1, b"cistern-trace: cannot write to standard output\n"))

    def test_help(self):
        for words in (["--help"], ["-h"], ["help"]):
            status, out, err = run(*words)
            self.assertEqual((status, err), (0, ""))
            self.assertIn("\nUsage: cistern-trace [OPTIONS] COMMAND\n", out)
            for command in ("record", "print", "advise", "replay", "export", "diff", "report"):
                self.assertRegex(out, rf"\n  {command}  ")
        for command, usage in (("print", "FILE"), ("advise", "FILE"), ("replay", "FILE"), ("export", "FILE"), ("diff", "BEFORE AFTER"),
                               ("report", "FILE"),
                               ("record", "PROGRAM [ARGUMENTS...]")):
            for flag in ("--help", "-h"):
                status, out, err = run(command, flag)
                self.assertEqual((status, err), (0, ""))
                self.assertIn(f"\nUsage: cistern-trace {command} [OPTIONS] {usage}\n", out)

    def test_help_about_a_command(self):
        self.assertEqual(run("help", "print"), run("print", "--help"))
        self.assertEqual(run("help", "frobnicate")[0], 2)

    def test_errors_say_which_file_and_are_one_line(self):
        with tempfile.TemporaryDirectory() as folder:
            wrong, sound = pathlib.Path(folder, "wrong"), pathlib.Path(folder, "sound")
            wrong.write_bytes(b"something else")
            sound.write_bytes(trace(CALLS))
            for words in (("print", wrong), ("advise", wrong), ("replay", "--on=new", wrong), ("diff", sound, wrong),
                          ("diff", wrong, sound), ("export", "--format=pprof", "-o", "-", wrong)):
                status, out, err = run(*map(str, words))
                self.assertEqual((status, err), (1, f"cistern-trace: {wrong}: not a trace: other first bytes at byte 0\n"))
        status, out, err = run("print", "a\x1b[31m\nb")
        self.assertEqual((status, err), (1, "cistern-trace: cannot open a\ufffd[31m\ufffdb: No such file or directory\n"))

    def test_the_manual_has_every_option(self):
        page = (pathlib.Path(__file__).parents[2] / "src/tool/cistern-trace.1").read_text().replace("\\-", "-")
        page = re.sub(r"\\f[BIR]", "", page)
        sections = dict(re.findall(r"^\.SH (\w+)\n(.*?)(?=^\.SH |\Z)", page, re.S | re.M))
        commands = re.findall(r"^  (\w+)  ", run("--help")[1].partition("\nCommands:\n")[2], re.M)
        self.assertIn("export", commands)
        for command in commands:
            for names in re.findall(r"^  (-\S+)", run(command, "--help")[1], re.M):
                for option in names.split(","):
                    if option not in ("-h", "--help"):
                        self.assertRegex(sections.get(command.upper(), ""), rf"{option}(?![-\w])", f"of {command}")
            self.assertIn(f"\ncistern-trace {command} [OPTIONS] ", page)

    def test_a_bar_on_a_terminal(self):
        master, terminal = pty.openpty()
        with tempfile.TemporaryFile() as out:
            done = subprocess.run([PROGRAM, "replay", "--on=new", "--rounds=2", "-"], input=trace(CALLS), stdout=out,
                                  stderr=terminal, timeout=60, check=False)
        os.close(terminal)
        said = os.read(master, 65536).decode()
        os.close(master)
        self.assertEqual(done.returncode, 0)
        self.assertIn("\r\033[K[....................] memory of new", said)
        self.assertRegex(said, r"\[#+\.+\] round 2 of 2, new")
        self.assertTrue(said.endswith("\r\033[K"), said)

    def test_version(self):
        status, out, err = run("--version")
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"^cistern-trace \d+\.\d+\.\d+\n$")

    def test_arguments_that_make_no_sense(self):
        for arguments, words in (((), "no command"), (("frobnicate", "-"), "no such command: frobnicate"),
                                 (("--frobnicate",), "no such option: --frobnicate"),
                                 (("print",), "FILE is required"), (("print", "-", "x"), "too many arguments: x"),
                                 (("print", "--call=alloc", "-"),
                                  "--call takes allocate, deallocate, reallocate, failed_allocate, with commas between them: alloc"),
                                 (("print", "--thread=7,x", "-"), "--thread takes a number: x"),
                                 (("print", "--first", "x", "-"), "--first takes a number: x"),
                                 (("print", "--from=5m", "-"), "--from takes a time, as 1500 (nanoseconds), 1.5us, 20ms or 3s: 5m"),
                                 (("print", "--from=2", "--to=1", "-"), "--from is later than --to"),
                                 (("print", "--min-size=2", "--max-size=1", "-"), "--min-size is more than --max-size"),
                                 (("diff", "-"), "AFTER is required"),
                                 (("diff", "-", "-"), "only one of the two can be standard input"),
                                 (("diff", "a", "b", "--by=x"), "--by takes bytes, calls, peak or live: x"),
                                 (("export", "-", "-o", "x"), "--format is required"),
                                 (("export", "-", "--format=pprof"), "--output is required"),
                                 (("export", "-", "--format=x", "-o", "x"),
                                  "--format takes pprof, heaptrack or speedscope: x"),
                                 (("replay",), "FILE is required"), (("replay", "-", "x"), "too many arguments: x"),
                                 (("replay", "--frob", "-"), "no such option: --frob"),
                                 (("replay", "--frob=1", "-"), "no such option: --frob=1"),
                                 (("replay", "-", "--on"), "--on: 1 required LIST missing"),
                                 (("replay", "-", "--rounds", "0"), "--rounds takes a number from 1 to 100000: 0"),
                                 (("replay", "-", "--max-memory=1X"),
                                  "--max-memory takes a size, as 4096, 64K, 100M or 2G: 1X"),
                                 (("replay", "-", "--check", "--json=x"), "--json does nothing beside --check"),
                                 (("replay", "-", "--check", "--rounds=2"), "--rounds does nothing beside --check"),
                                 (("replay", "-", "--check", "--cold"), "--cold does nothing beside --check"),
                                 (("replay", "-", "--check", "--max-memory=1M"), "--max-memory does nothing beside --check"),
                                 (("advise", "-", "--rules", "--json=x"), "--json does nothing beside --rules"),
                                 (("advise", "-", "--rules", "--rounds=2"), "--rounds does nothing beside --rules"),
                                 (("diff", "a", "b", "-n", "-1"), "--first: Value -1 not in range 0 to 4294967295"),
                                 (("replay", "-", "--check", "--on=nothing"), "nothing has no blocks to check"),
                                 (("replay", "-", "--on=new,new"), "named twice: new"),
                                 (("replay", "-", "--on=new:max_bytes=1"),
                                  "only cistern-sync and cistern-unsync have options: new:max_bytes=1"),
                                 (("replay", "-", "--on=cistern-sync:frob=1"),
                                  "cistern's pools have no option frob; docs/options.md lists those that they have"),
                                 (("replay", "-", "--on=cistern-sync:max_bytes=x"),
                                  "max_bytes takes a size, as 4096, 64K, 100M or 2G, or no_limit: x"),
                                 (("replay", "-", "--on=cistern-sync:pass_through=1"),
                                  "pass_through takes true or false: 1"),
                                 (("replay", "-", "--on=cistern-sync:max_bytes=0"),
                                  "cistern::pool_options::max_bytes is 0, must be at least 1"),
                                 (("replay", "-", "--on=x"), "no such resource: x (there are new, cistern-sync, "
                                  "cistern-unsync, std-sync, std-unsync, monotonic, mimalloc, jemalloc, tcmalloc, snmalloc, "
                                  "nothing, and libraries by a path with a slash)")):
            status, out, err = run(*arguments)
            self.assertEqual((status, out), (2, ""))
            command = arguments[0] + " " if arguments and arguments[0] in ("print", "replay", "export", "diff", "advise") else ""
            self.assertEqual(err, f"cistern-trace: {words}\nTry 'cistern-trace {command}--help'.\n")


if __name__ == "__main__":
    unittest.main()
