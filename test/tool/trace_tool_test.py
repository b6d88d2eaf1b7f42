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
        modules = varint(4096) + varint(4) + varint(0) + b"/a b" + varint(0) + varint(5) + varint(1) + b"/c\x1b[m" + b"\x77"
        stacks = varint(2) + varint(1) + varint(0x1234) + varint(2) + varint(255) + varint(1) + varint(0) + varint(1 << 40)
        events = [encoded([call], 2) for call in ((ALLOCATE, 1, 7, 9, 8, 0x10), (FAILED, 2, 7, 9, 8, 0), (FREE, 3, 7, 0, 1, 0x10),
                                                  (FREE, 4, 7, 0, 1, 0x20))]
        out = header() + frame(2, modules, 2) + frame(2, stacks, 3)
        for event, stack in zip(events, (1, 2, 1, 0)):
            out += frame(1, event + varint(stack), 4)
        lines = PRINTED.splitlines()[0] + """
# stack 1
#   0x1234 in /a b
#   0xff in /c?[m
1 7 allocate 9 8 0x10 1 at 1
# stack 2
#   0x10000000000
2 7 failed_allocate 9 8 - - at 2
3 7 deallocate 9 8 0x10 1 at 1
4 7 deallocate 0 1 0x20 0 at 0
"""
        self.assertEqual(run("print", "-", stdin=out + end_mark(4)), (0, lines, ""))
        for command in (("advise",), ("replay", "--on=new")):
            self.assertEqual(run(*command, "-", stdin=out + end_mark(4))[0], 0)

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
        status, out, err = run("advise", "-", stdin=trace(CALLS))
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"allocations +3\n")
        self.assertRegex(out, r"freed by another thread +2\n")
        self.assertIn("cistern::synchronized_pool_resource pool({", out)

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
        self.assertRegex(err, r"^cistern-trace: cistern trace: truncated: .* at byte 50\n$")

    def test_sizes_that_no_program_has(self):
        first = (ALLOCATE, 0, 1, 8, 8, 0x10)
        for version, offset in ((1, 24 + 12 + 5), (2, 40 + 16 + 5)):
            for size, alignment in (((1 << 63) - 1, 1), ((1 << 64) - 1, 1), (1 << 47, 16), (8, 1 << 62)):
                hostile = trace([first, (ALLOCATE, 1, 1, size, alignment, 0x2000)], version=version)
                status, out, err = run("replay", "--on=new", "--rounds=1", "-", stdin=hostile)
                self.assertEqual((status, out), (1, ""))
                self.assertEqual(err, f"cistern-trace: cistern trace: corrupt: a block of {size} bytes aligned to "
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

    def test_damage_is_an_error_after_what_could_be_read(self):
        whole = trace(CALLS, 3)
        status, out, err = run("print", "-", stdin=whole[:-1])
        self.assertEqual((status, out), (1, PRINTED))
        self.assertRegex(err, r"^cistern-trace: cistern trace: truncated: .* at byte \d+\n$")
        for wrong, words in ((b"", "not a trace"), (b"something else", "not a trace"), (header(9), "unknown version"),
                             (whole[:60] + b"?" + whole[61:], "corrupt"), (whole + b"x", "corrupt")):
            for command in (["print"], ["advise"], ["replay", "--on=new"], ["replay", "--on=new", "--check"]):
                status, _, err = run(*command, "-", stdin=wrong)
                self.assertEqual(status, 1)
                self.assertIn(words, err)

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
            for command in ("record", "print", "advise", "replay"):
                self.assertRegex(out, rf"\n  {command}  ")
        for command, usage in (("print", "FILE"), ("advise", "FILE"), ("replay", "FILE"),
                               ("record", "PROGRAM [ARGUMENTS...]")):
            for flag in ("--help", "-h"):
                status, out, err = run(command, flag)
                self.assertEqual((status, err), (0, ""))
                self.assertIn(f"\nUsage: cistern-trace {command} [OPTIONS] {usage}\n", out)

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
                                 (("replay",), "FILE is required"), (("replay", "-", "x"), "too many arguments: x"),
                                 (("replay", "--frob", "-"), "no such option: --frob"),
                                 (("replay", "--frob=1", "-"), "no such option: --frob=1"),
                                 (("replay", "-", "--on"), "--on: 1 required LIST missing"),
                                 (("replay", "-", "--rounds", "0"), "--rounds takes a number from 1 on: 0"),
                                 (("replay", "-", "--max-memory=1X"),
                                  "--max-memory takes a size, as 4096, 64K, 100M or 2G: 1X"),
                                 (("replay", "-", "--check", "--json=x"), "--check has no figures to write"),
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
            command = arguments[0] + " " if arguments and arguments[0] in ("print", "replay") else ""
            self.assertEqual(err, f"cistern-trace: {words}\nTry 'cistern-trace {command}--help'.\n")


if __name__ == "__main__":
    unittest.main()
