#!/usr/bin/env python3
"""Runs cistern-trace on traces encoded here, by the words of docs/trace-format.md alone. trace_tool_test.py PROGRAM"""
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

PROGRAM = sys.argv.pop(1)
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

    def test_replay(self):
        for resource in ([], ["new-delete"], ["unsynchronized"], ["synchronized"], ["std-unsynchronized"],
                         ["std-synchronized"]):
            status, out, err = run("replay", "-", *resource, stdin=trace(CALLS))
            self.assertEqual((status, err), (0, ""), resource)
            self.assertRegex(out, r"allocations +3\n")
            self.assertRegex(out, r"failed when recorded +1\n")

    def test_a_resource_that_fails_is_an_error(self):
        status, out, err = run("replay", "-", "synchronized", stdin=trace([(ALLOCATE, 0, 1, 1 << 63, 8, 1)]))
        self.assertEqual(status, 1)
        self.assertRegex(out, r"refused by the resource +1\n")
        self.assertIn("the resource refused", err)

    def test_damage_is_an_error_after_what_could_be_read(self):
        whole = trace(CALLS, 3)
        status, out, err = run("print", "-", stdin=whole[:-1])
        self.assertEqual((status, out), (1, PRINTED))
        self.assertRegex(err, r"^cistern-trace: cistern trace: truncated: .* at byte \d+\n$")
        for wrong, words in ((b"", "not a trace"), (b"something else", "not a trace"), (header(9), "unknown version"),
                             (whole[:60] + b"?" + whole[61:], "corrupt"), (whole + b"x", "corrupt")):
            for command in ("print", "advise", "replay"):
                status, _, err = run(command, "-", stdin=wrong)
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
        for flag in ("--help", "-h", "help"):
            status, out, err = run(flag)
            self.assertEqual((status, err), (0, ""))
            self.assertTrue(out.startswith("usage: cistern-trace COMMAND FILE"))

    def test_arguments_that_make_no_sense(self):
        for arguments, words in (((), "no command"), (("frobnicate", "-"), "no such command: frobnicate"),
                                 (("print",), "no file"), (("print", "-", "x"), "too many arguments: x"),
                                 (("replay", "-", "x"), "no such resource: x"),
                                 (("replay", "-", "synchronized", "y"), "too many arguments: y")):
            status, out, err = run(*arguments)
            self.assertEqual((status, out), (2, ""))
            self.assertEqual(err, f"cistern-trace: {words}\nTry 'cistern-trace --help'.\n")


if __name__ == "__main__":
    unittest.main()
