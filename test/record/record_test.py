#!/usr/bin/env python3
"""Records programs with cistern-trace record: what they did is what the trace has. record_test.py TOOL PROGRAM LIBRARY"""
import collections
import json
import math
import os
import pathlib
import pty
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

LIBRARY = sys.argv.pop(3)
PROGRAM = os.path.realpath(sys.argv.pop(2))
TOOL = sys.argv.pop(1)
LIMIT_SECONDS = 300
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("CISTERN_", "LD_PRELOAD"))}

Call = collections.namedtuple("Call", "time thread call bytes alignment address block old stack")


class Recorded:
    """What came of a program that was recorded."""

    def __init__(self, folder, *command, options=(), environment=None):
        self.trace = folder / "a trace"
        self.done = subprocess.run([TOOL, "record", "-o", str(self.trace), *options, "--", *command], cwd=folder, check=False,
                                   capture_output=True, timeout=LIMIT_SECONDS, stdin=subprocess.DEVNULL,
                                   env=environment or ENVIRONMENT)
        self.status, self.out = self.done.returncode, self.done.stdout.decode(errors="replace")
        self.err = self.done.stderr.decode(errors="replace")
        self.traces = sorted(folder.glob("a trace*"))


def printed(path, status=0):
    """The lines of a trace, which is read to its end unless another status is expected."""
    done = subprocess.run([TOOL, "print", str(path)], capture_output=True, timeout=LIMIT_SECONDS, check=False, text=True)
    if done.returncode != status:
        raise AssertionError(f"{path}: {done.returncode}: {done.stderr}")
    return done.stdout.splitlines()[1:]


def calls_of(path, status=0):
    calls = []
    for line in printed(path, status):
        if line.startswith("#"):
            continue
        part = line.split()
        more = dict(zip(part[7::2], part[8::2]))
        calls.append(Call(int(part[0]), int(part[1]), part[2], int(part[3]), int(part[4]), part[5], part[6],
                          more.get("from", "0"), more.get("at")))
    return calls


def stacks_of(path):
    """The stacks of a trace by number: each a list of (address, module)."""
    stacks = {}
    for line in printed(path):
        if line.startswith("# stack "):
            places = stacks.setdefault(line.split()[2], [])
        elif line.startswith("#   0x"):
            address, _, module = line[4:].partition(" in ")
            places.append((address, module.partition(": ")[0]))
    return stacks


def check_consistency(calls):
    """No address is given out before it is free, and time goes on."""
    live, places, time = {}, {}, 0
    moving = {call.old for call in calls if call.call == "reallocate"}
    for call in calls:
        assert call.time >= time, call
        time = call.time
        if call.call == "reallocate" and live.get(places.get(call.old)) == call.old:
            del live[places[call.old]]  # else another thread has the address already
        if call.call in ("allocate", "reallocate"):
            # A block that is being reallocated by another thread has left its place without a word.
            assert live.get(call.address, "moving") == "moving" or live[call.address] in moving, call
            live[call.address] = call.block
            places[call.block] = call.address
        if call.call == "deallocate" and call.block != "0":
            assert live.pop(call.address) == call.block, call
    return live


def of_size(calls, size, call="allocate"):
    return [each for each in calls if each.bytes == size and each.call == call]


class Record(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder, True)

    def record(self, *arguments, **more):
        return Recorded(self.folder, PROGRAM, *map(str, arguments), **more)

    def test_every_function_is_in_the_trace(self):
        self.check_every_function()
        self.check_every_function(options=["--sample", "1"])  # A sample in each of these blocks.

    def check_every_function(self, **more):
        recorded = self.record("every_function", **more)
        self.assertEqual((recorded.status, recorded.out), (0, ""))
        calls = calls_of(recorded.trace)
        check_consistency(calls)
        own = [call for call in calls if 10_000 <= call.bytes < 31_000 or call.bytes > 1 << 60]
        page = os.sysconf("SC_PAGESIZE")
        pairs = [("allocate", 10_001, 16), ("reallocate", 10_002, 16), ("reallocate", 20_006, 16)]
        expected = pairs + [("failed_allocate", (1 << 63) - 1, 16), ("deallocate", 20_006, 16)]
        for size, alignment in ((30_015, 16), (10_006, 16), (10_007, 16), (10_008, 256)):
            expected += [("allocate", size, alignment), ("deallocate", size, alignment)]
        expected += [("failed_allocate", 10_009, 3)]
        for size, alignment in ((10_240, 512), (10_011, 1024), (10_012, page), (10_013, page)):
            expected += [("allocate", size, alignment), ("deallocate", size, alignment)]
        expected += [("failed_allocate", (1 << 63) - 1, 16)]
        expected += [("allocate", 10_014, 16), ("deallocate", 10_014, 16)]
        # What the C++ library makes of an alignment is its own business: it may ask for a multiple of it.
        mine = [(call.call, call.bytes, call.alignment) for call in own]
        self.assertEqual(mine[:len(expected)], expected)
        self.assertEqual([(call, alignment) for call, _, alignment in mine[len(expected):]],
                         [("allocate", 2048), ("deallocate", 2048)])
        self.assertEqual([call.old for call in own if call.call == "reallocate"], [own[0].block, own[1].block])
        self.assertEqual(len({call.thread for call in own}), 1)

    def test_the_summary(self):
        recorded = self.record("many", 10)
        self.assertRegex(recorded.err, r"a trace: \d+ allocations, \d+ reallocations, \d+ frees, 0 failures by 1 thread; "
                                       r"\d+ blocks live at the end; [\d.]+ (B|KiB)\n$")
        self.assertEqual(self.record("many", 10, options=["--quiet"]).err, "")

    def test_threads(self):
        for threads, rounds in ((2, 1000), (20, 100)):  # with a stripe each, and without
            recorded = self.record("threads", threads, rounds)
            self.assertEqual((recorded.status, recorded.out), (0, ""))
            calls = calls_of(recorded.trace)
            check_consistency(calls)
            for number in range(threads):
                made = of_size(calls, 20_001 + number)
                self.assertEqual(len(made), rounds)
                self.assertEqual(len({call.thread for call in made}), 1)
                self.assertEqual(len(of_size(calls, 20_001 + number, "reallocate")), rounds)
                freed = of_size(calls, 20_001 + number, "deallocate")
                self.assertEqual(len(freed), 2 * rounds)
                self.assertNotIn("0", {call.block for call in freed})
            self.assertEqual(len({call.thread for call in calls if 20_000 < call.bytes < 20_100 and call.call == "allocate"}),
                             threads)

    def test_the_status_is_that_of_the_program(self):
        for status in (0, 1, 42, 255):
            self.assertEqual(self.record("status", status).status, status)
        self.assertEqual(self.record("kill", 1).status, 128 + signal.SIGKILL)
        self.assertEqual(self.record("abort", 1).status, 128 + signal.SIGABRT)

    def test_whichever_way_a_process_ends_all_is_there(self):
        for way in ("_exit", "_Exit", "quick_exit"):
            recorded = self.record(way)
            self.assertEqual(recorded.status, 4)
            self.assertEqual(len(of_size(calls_of(recorded.trace), 30_001, "deallocate")), 11)
        calls = calls_of(self.record("after_main").trace)
        self.assertEqual(len(of_size(calls, 30_001, "deallocate")), 17)
        recorded = self.record("ends_among_threads")
        self.assertEqual(recorded.status, 0)
        calls = calls_of(recorded.trace)
        check_consistency(calls)
        self.assertGreaterEqual(len(of_size(calls, 30_001)), 200)

    def test_a_signal_handler_may_end_the_process(self):
        for _ in range(4):
            recorded = self.record("ends_in_a_handler")
            self.assertEqual(recorded.status, 4, recorded.err)
            check_consistency(calls_of(recorded.trace, status=1 if "cut off" in recorded.err else 0))
        for options in ([], ["--children"]):
            recorded = self.record("forks_in_a_handler", options=options)
            self.assertEqual(recorded.status, 0, recorded.err)
            check_consistency(calls_of(recorded.trace))

    def test_a_thread_is_not_cancelled_while_it_allocates(self):
        recorded = self.record("is_cancelled")
        self.assertEqual(recorded.status, 0, recorded.err)
        self.assertEqual(len(of_size(calls_of(recorded.trace), 30_001)), 20_000)

    def test_a_crash_or_a_kill_loses_the_last_buffer_at_most(self):
        for way in ("abort", "kill"):
            recorded = self.record(way, 20_000)
            self.assertRegex(recorded.err, r"cut off; what happened last is missing\n$")
            calls = calls_of(recorded.trace, status=1)
            check_consistency(calls)
            count = len(of_size(calls, 30_001))
            self.assertLess(count, 20_000)
            self.assertGreater(count, 20_000 - 32 * 1024 // 4)  # an event takes 4 bytes at least

    def test_a_program_that_becomes_another(self):
        for way in ("execl", "execle", "execlp", "execv", "execvp", "execvpe", "execve", "fexecve"):
            for trace in self.folder.glob("a trace*"):
                trace.unlink()
            recorded = self.record("exec", way)
            self.assertEqual(recorded.status, 0, recorded.err)
            self.assertEqual(recorded.traces, [recorded.trace])
            self.assertEqual(len(of_size(calls_of(recorded.trace), 30_001)), 12)
        recorded = self.record("exec", "execv", options=["--children"])
        self.assertEqual([len(of_size(calls_of(each), 30_001)) for each in recorded.traces], [12, 7])
        recorded = self.record("failing_exec")
        self.assertEqual(len(of_size(calls_of(recorded.trace), 30_001)), 7)

    def test_children(self):
        recorded = self.record("forks")
        self.assertEqual(recorded.traces, [recorded.trace])
        self.assertEqual(len(of_size(calls_of(recorded.trace), 30_001)), 7)
        recorded = self.record("forks", options=["--children"])
        self.assertEqual([len(of_size(calls_of(each), 30_001)) for each in recorded.traces], [7, 6])
        self.assertEqual(recorded.err.count(" allocations"), 2)
        times = {call.time for call in calls_of(recorded.traces[1])}
        self.assertGreater(len(times), 1)  # from its own beginning on, not held at the age of its parent
        for options in ([], ["--children"]):
            recorded = self.record("runs_others", options=options)
            self.assertEqual(recorded.status, 0, recorded.err)
            calls = calls_of(recorded.trace)
            check_consistency(calls)
            self.assertEqual(len(of_size(calls, 30_001)), 11)

    def test_children_of_an_earlier_run(self):
        _, earlier = self.record("forks", options=["--children"]).traces
        later = earlier.stat().st_mtime + 3600
        os.utime(earlier, (later, later))
        (self.folder / "a trace.1").write_bytes(b"no trace")
        recorded = self.record("forks", options=["--children"])
        self.assertEqual((recorded.status, len(recorded.traces)), (0, 4), recorded.err)
        self.assertEqual(recorded.err.count(" allocations"), 2)
        self.assertNotIn(f"{earlier}:", recorded.err)

    def test_children_of_a_busy_process(self):
        recorded = self.record("forks_while_threads_allocate", options=["--children"])
        self.assertEqual(recorded.status, 0, recorded.err)
        self.assertEqual(len(recorded.traces), 9)
        check_consistency(calls_of(recorded.trace))
        for trace in recorded.traces[1:]:
            self.assertEqual(len(of_size(calls_of(trace), 30_001)), 100)

    def test_stacks(self):
        recorded = self.record("nested", 3, options=["--stacks"])
        self.assertEqual(recorded.status, 0, recorded.err)
        self.assertRegex(recorded.err, r" live at the end; \d+ stacks; [\d.]+ KiB\n$")
        expected = [(address, PROGRAM) for address in reversed(recorded.out.split())]  # innermost first
        self.assertEqual(len(expected), 3)
        calls, stacks = calls_of(recorded.trace), stacks_of(recorded.trace)
        check_consistency(calls)
        self.assertEqual({call.stack for call in calls} - {"0"}, set(stacks))
        innermost = set()
        for size, call in ((40_001, "allocate"), (40_002, "reallocate"), (40_002, "deallocate")):
            made = of_size(calls, size, call)
            self.assertEqual(len(made), 3)
            (number,) = {each.stack for each in made}
            self.assertEqual(stacks[number][1:4], expected)
            self.assertLessEqual(len(stacks[number]), 16)
            self.assertEqual(stacks[number][0][1], PROGRAM)
            innermost.add(stacks[number][0])
        self.assertEqual(len(innermost), 3)
        self.assertEqual(self.record("nested", 3).err.count("stacks"), 0)

    def test_advice_names_call_sites(self):
        recorded = self.record("nested", 300, options=["--stacks"])
        figures = pathlib.Path(self.folder) / "advice.json"
        done = subprocess.run([TOOL, "advise", "--rounds=1", "--json", figures, recorded.trace], capture_output=True, check=False,
                              text=True, timeout=LIMIT_SECONDS)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        advice = json.loads(figures.read_text())
        self.assertEqual(done.stdout.splitlines()[0], advice["headline"])
        made = {site["name"]: site["allocations"] for site in advice["sites"]}
        site, = (name for name in made if "innermost(" in name)
        self.assertTrue(site.endswith(" in recorded_program"), site)
        self.assertGreaterEqual(made[site], 300)
        self.assertFalse([name for name in made if "libc.so" in name or "libstdc++" in name])

    def test_the_depth_of_stacks(self):
        for depth in (1, 2, 40, 64):
            recorded = self.record("deep", 100, options=[f"--stacks={depth}"])
            self.assertEqual(recorded.status, 0, recorded.err)
            (call,) = of_size(calls_of(recorded.trace), 40_003)
            places = stacks_of(recorded.trace)[call.stack]
            self.assertEqual(len(places), depth)
            self.assertLessEqual(len(set(places)), 2 + (depth > 2))

    def test_stacks_of_threads_and_children(self):
        recorded = self.record("threads", 20, 100, options=["--stacks"])
        self.assertEqual(recorded.status, 0, recorded.err)
        calls, stacks = calls_of(recorded.trace), stacks_of(recorded.trace)
        check_consistency(calls)
        sites = {stacks[call.stack][0] for call in calls if 20_000 < call.bytes < 20_100}
        self.assertEqual({module for _, module in sites}, {PROGRAM})
        self.assertLess(len(sites), 10)
        recorded = self.record("forks_while_threads_allocate", options=["--children", "--stacks"])
        self.assertEqual(recorded.status, 0, recorded.err)
        self.assertEqual(len(recorded.traces), 9)
        for trace in recorded.traces:
            made = of_size(calls_of(trace), 30_001)
            self.assertGreaterEqual(len(made), 100)
            stacks = stacks_of(trace)
            self.assertEqual({stacks[call.stack][0][1] for call in made}, {PROGRAM})
        recorded = self.record("forks_in_a_handler", options=["--stacks", "--children"])
        self.assertEqual(recorded.status, 0, recorded.err)
        check_consistency(calls_of(recorded.trace))

    def test_stacks_whichever_way_it_ends(self):
        for way, status in (("kill", 128 + signal.SIGKILL), ("bounded_files", 0), ("bounded_end", 4)):
            recorded = self.record(way, 20_000, options=["--stacks"])
            self.assertEqual(recorded.status, status, recorded.err)
            calls = calls_of(recorded.trace, status=1 if way == "kill" else 0)
            check_consistency(calls)
            self.assertGreater(len(of_size(calls, 30_001)), 4)
            self.assertNotIn("0", {call.stack for call in of_size(calls, 30_001)})
        recorded = self.record("many", 30_000, options=["--max-size", "100K", "--stacks"])
        self.assertRegex(recorded.err, r"ended at the size that --max-size allows\n$")
        self.assertLessEqual(recorded.trace.stat().st_size, 100 << 10)
        calls_of(recorded.trace)

    def test_stacks_through_libraries_that_come_and_go(self):
        recorded = self.record("loads_and_unloads", LIBRARY, options=["--stacks"])
        self.assertEqual(recorded.status, 0, recorded.err)
        calls, stacks = calls_of(recorded.trace), stacks_of(recorded.trace)
        made = of_size(calls, 40_004)
        self.assertEqual(len(made), 20)
        self.assertEqual({os.path.realpath(stacks[call.stack][0][1]) for call in made}, {os.path.realpath(LIBRARY)})
        self.assertEqual(len({stacks[call.stack][0][0] for call in made}), 1)
        self.assertEqual({stacks[call.stack][1][1] for call in made}, {PROGRAM})

    def test_samples(self):
        count, distance = 100_000, 1 << 20
        recorded = self.record("many", count, options=["--sample", "1M"])
        self.assertEqual(recorded.status, 0, recorded.err)
        self.assertRegex(recorded.err, r"; one sample in 1 MiB; ")
        calls = calls_of(recorded.trace)
        check_consistency(calls)
        made, freed = of_size(calls, 30_001), of_size(calls, 30_001, "deallocate")
        self.assertEqual([call.block for call in made], [call.block for call in freed])
        expected = count * (1 - math.exp(-30_001 / distance))
        self.assertLess(abs(len(made) - expected), 6 * math.sqrt(expected))
        self.assertEqual(struct.unpack("<Q", recorded.trace.read_bytes()[20:28]), (distance,))
        # Many blocks that are never freed.
        recorded = self.record("keeps", 80_000, options=["--sample", "16"])
        self.assertEqual(recorded.status, 0, recorded.err)
        calls = calls_of(recorded.trace)
        check_consistency(calls)
        expected = 80_000 * (1 - math.exp(-101 / 16))
        self.assertLess(abs(len(of_size(calls, 101)) - expected), 6 * math.sqrt(80_000 - expected) + 6)

    def test_samples_of_threads_and_children(self):
        for options in (["--sample", "1"], ["--sample", "20K", "--stacks"]):
            recorded = self.record("threads", 4, 2000, options=options)
            self.assertEqual(recorded.status, 0, recorded.err)
            calls = calls_of(recorded.trace)
            live = check_consistency(calls)
            own = {call.block for call in calls if 20_000 < call.bytes < 20_100 and call.call != "deallocate"}
            self.assertGreater(len(own), 2000)
            self.assertFalse(own & set(live.values()))
        recorded = self.record("forks_while_threads_allocate", options=["--children", "--sample", "100K"])
        self.assertEqual(recorded.status, 0, recorded.err)
        self.assertEqual(len(recorded.traces), 9)
        for trace in recorded.traces:
            calls = calls_of(trace)
            check_consistency(calls)
            self.assertLess(len(of_size(calls, 30_001)), 100 if trace != recorded.trace else 30_000)

    def test_a_program_says_what_is_recorded(self):
        self.assertEqual(subprocess.run([PROGRAM, "starts_and_stops", "-1"], env=ENVIRONMENT, check=False).returncode, 0)
        recorded = self.record("starts_and_stops", -1)  # Nothing was said of pauses: all is there.
        self.assertEqual(recorded.status, 0, recorded.err)
        self.assertEqual(len(of_size(calls_of(recorded.trace), 50_004)), 1)
        for options in (["--paused"], ["--paused", "--stacks"], ["--paused", "--sample", "1"]):
            recorded = self.record("starts_and_stops", 0, options=options)
            self.assertEqual(recorded.status, 0, recorded.err)
            calls = calls_of(recorded.trace)
            check_consistency(calls)
            own = [(call.call, call.bytes) for call in calls if call.bytes > 50_000 or call.bytes == 50_004]
            # What was recorded has its end, and nothing else has. A block that becomes known by `realloc` is allocated there.
            self.assertEqual(own[:7], [("allocate", 50_002), ("allocate", 50_003), ("deallocate", 50_002), ("reallocate", 50_013),
                                       ("deallocate", 50_013), ("allocate", 50_025), ("deallocate", 50_025)])
            self.assertTrue(all(call.block != "0" for call in calls))

    def test_a_pause_among_threads_and_children(self):
        for options in (["--pausable"], ["--toggle-signal", "USR2"], ["--toggle-signal", "SIGRTMIN+2", "--sample", "20K"]):
            number = {"USR2": signal.SIGUSR2, "SIGRTMIN+2": signal.SIGRTMIN + 2}.get((options + [""])[1], 0)
            recorded = self.record("toggles_among_threads", int(number), options=[*options, "--children"])
            self.assertEqual(recorded.status, 0, recorded.err)
            self.assertEqual(len(recorded.traces), 5)
            live = {}
            for trace in recorded.traces:
                calls = calls_of(trace)
                live = check_consistency(calls)
                self.assertTrue(all(call.block != "0" for call in calls if call.bytes == 30_001))
                own = {call.block for call in of_size(calls, 30_001)}
                if trace == recorded.trace:
                    self.assertFalse(own & set(live.values()))
                elif "--sample" not in options:  # The child of a paused process is paused.
                    self.assertEqual(len(own), 0)
            for trace in recorded.traces:
                trace.unlink()

    def test_a_signal_pauses_from_without(self):
        for to_tool in (True, False):  # The tool hands it on.
            trace = self.folder / "toggled"
            started = subprocess.Popen([TOOL, "record", "--toggle-signal=USR2", "-o", str(trace), PROGRAM, "is_toggled"], text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
            match = re.fullmatch(r"cistern-trace: recording is on; kill -USR2 (\d+) toggles it\n", started.stderr.readline())
            program = int(match[1])
            for _ in range(3):
                self.assertEqual(started.stdout.readline(), "ready\n")
                os.kill(started.pid if to_tool else program, signal.SIGUSR2)
                for process in (started.pid, program):
                    self.wait_until_asleep(process)
                started.stdin.write("\n")
                started.stdin.flush()
            started.communicate(timeout=LIMIT_SECONDS)
            self.assertEqual(started.returncode, 0)
            self.assertEqual(len(of_size(calls_of(trace), 30_001)), 10 + 30)

    def start(self, *command, **more):
        return subprocess.Popen([TOOL, "record", "-o", str(self.folder / "a trace"), *command], cwd=self.folder, text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, **more)

    def test_what_would_end_the_tool_is_handed_on(self):
        script = ("import signal; ending = {signal.SIGTERM, signal.SIGHUP}; signal.pthread_sigmask(signal.SIG_BLOCK, ending); "
                  "print('ready', flush=True); print(int(signal.sigwait(ending)))")
        for sent in (signal.SIGTERM, signal.SIGHUP):
            started = self.start(sys.executable, "-c", script)
            self.assertEqual(started.stdout.readline(), "ready\n")
            started.send_signal(sent)
            out, err = started.communicate(timeout=LIMIT_SECONDS)
            self.assertEqual((started.returncode, out), (0, f"{int(sent)}\n"), err)
            self.assertIn(" allocations, ", err)
            calls_of(self.folder / "a trace")
        started = self.start(PROGRAM, "is_toggled")
        self.assertEqual(started.stdout.readline(), "ready\n")
        started.terminate()
        self.assertEqual(started.wait(timeout=LIMIT_SECONDS), 128 + signal.SIGTERM)
        self.assertIn("cut off", started.communicate()[1])

    def test_the_summary_can_be_interrupted(self):
        # The program leaves a pipe where its trace was: the tool waits there for what to read.
        started = self.start("sh", "-c", "mkfifo pipe && mv -f pipe 'a trace'")
        while not (self.folder / "a trace").is_fifo():
            pass
        with (self.folder / "a trace").open("wb"):
            started.send_signal(signal.SIGINT)
        started.communicate(timeout=LIMIT_SECONDS)
        self.assertEqual(started.returncode, -signal.SIGINT)

    def test_a_bar_on_a_terminal(self):
        master, terminal = pty.openpty()
        done = subprocess.run([TOOL, "record", "-o", "a trace", PROGRAM, "many", "10"], cwd=self.folder, stderr=terminal,
                              check=False, timeout=LIMIT_SECONDS, env=ENVIRONMENT)
        os.close(terminal)
        said = os.read(master, 65536).decode()
        os.close(master)
        self.assertEqual(done.returncode, 0, said)
        self.assertRegex(said, r"^\r\033\[K\[\.{20}\] reading .*a trace")
        self.assertRegex(said, r"\r\033\[Kcistern-trace: .*a trace: \d+ allocations")

    def test_compressed_traces(self):
        done = subprocess.run([TOOL, "record", "-z", "-q", "-o", str(self.folder / "x"), "true"], env=ENVIRONMENT, check=False,
                              capture_output=True, text=True)
        if "without zstd" in done.stderr:
            self.assertEqual(done.returncode, 2)
            return
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for options in (["-z"], ["-o", str(self.folder / "a.zst")], ["-z", "--children"]):
            recorded = self.record("many", 30_000, options=options)
            path = self.folder / "a.zst" if "-o" in options else recorded.trace
            self.assertEqual(recorded.status, 0, recorded.err)
            self.assertEqual(path.read_bytes()[:4], b"\x28\xb5\x2f\xfd")
            self.assertLess(path.stat().st_size, 30_000 * 4)
            self.assertEqual(len(of_size(calls_of(path), 30_001)), 30_000)
            self.assertEqual(list(self.folder.glob(".*")), [])
            for command in (["advise"], ["replay", "--on", "new"]):
                done = subprocess.run([TOOL, *command, str(path)], check=False, capture_output=True, text=True)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                done = subprocess.run([TOOL, *command, "-"], check=False, capture_output=True, input=path.read_bytes())
                self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn("; ended at the size that --max-size allows\n",
                      self.record("many", 30_000, options=["-z", "--max-size", "100K"]).err)
        killed = self.record("kill", 30_000, options=["-z"])  # What there is is readable, compressed as well.
        self.assertEqual(killed.status, 128 + signal.SIGKILL)
        self.assertIn("; cut off; what happened last is missing\n", killed.err)
        self.assertGreater(len(of_size(calls_of(killed.trace, 1), 30_001)), 20_000)

    def test_nobody_elses_file_is_written_over(self):
        others = [self.folder / "a trace.part", self.folder / "a trace.zst.part"]
        for each in others:
            each.write_bytes(b"mine")
        for name in ("a trace", "a trace.zst"):
            done = subprocess.run([TOOL, "record", "-q", "-z", "-o", name, "true"], cwd=self.folder, check=False,
                                  capture_output=True, text=True, env=ENVIRONMENT)
            if "without zstd" in done.stderr:
                self.skipTest("traces can't be compressed by this build")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual([each.read_bytes() for each in others], [b"mine"] * 2)
        self.assertEqual(len(list(self.folder.iterdir())), 4)

    def test_hostile_compressed_traces(self):
        recorded = self.record("many", 30, options=["-z"])
        if recorded.status == 2:
            return
        whole = recorded.trace.read_bytes()
        events = calls_of(recorded.trace)

        def check(data, offset_limit):
            done = subprocess.run([TOOL, "print", "-"], input=data, check=False, capture_output=True, timeout=LIMIT_SECONDS)
            if done.returncode == 0:
                return
            self.assertEqual(done.returncode, 1, done.stderr)
            at = re.search(rb"^cistern-trace: standard input: [a-z ]+: .* at byte (\d+)$", done.stderr, re.MULTILINE)
            self.assertTrue(at, done.stderr)
            self.assertLessEqual(int(at[1]), offset_limit)
            self.assertLessEqual(done.stdout.count(b"\n"), len(events) + 1)

        step = max(1, len(whole) // 20)
        for size in [*range(0, 12), *range(12, len(whole), step), len(whole) - 1]:
            check(whole[:size], 1 << 20)
            self.assertNotEqual(subprocess.run([TOOL, "print", "-"], input=whole[:size], check=False, capture_output=True).returncode, 0)
        for place in [*range(0, 12), *range(12, len(whole), step)]:
            check(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1:], 1 << 20)
        # A frame that asks for a window of two terabytes, and what stands behind the frame.
        done = subprocess.run([TOOL, "print", "-"], input=b"\x28\xb5\x2f\xfd\x00\xf8" + bytes(100), check=False, capture_output=True)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, rb"corrupt: zstd: .*memory.* at byte \d+\n")
        check(whole + b"more", len(whole) + 4)

    @staticmethod
    def wait_until_asleep(process):
        """What was sent to it has been handled then."""
        while True:
            text = pathlib.Path(f"/proc/{process}/status").read_text()
            pending = [line for line in text.splitlines() if line.startswith(("SigPnd", "ShdPnd")) and int(line.split()[1], 16) != 0]
            if not pending and re.search(r"^State:\s+S", text, re.MULTILINE):
                return

    def test_a_bound_on_the_file(self):
        recorded = self.record("many", 30_000, options=["--max-size", "100K"])
        self.assertEqual(recorded.status, 0)
        self.assertRegex(recorded.err, r"ended at the size that --max-size allows\n$")
        self.assertLessEqual(recorded.trace.stat().st_size, 100 << 10)
        self.assertGreater(recorded.trace.stat().st_size, 95 << 10)
        self.assertGreater(len(of_size(calls_of(recorded.trace), 30_001)), 1000)

    def test_a_bound_on_the_file_of_many_threads(self):
        for bound, options in ((100, []), (10, []), (100, ["--stacks"])):  # Less than all buffers together.
            recorded = self.record("threads", 20, 4000, options=["--max-size", f"{bound}K", *options])
            self.assertEqual(recorded.status, 0)
            self.assertRegex(recorded.err, r"ended at the size that --max-size allows\n$")
            size = recorded.trace.stat().st_size
            self.assertTrue(bound << 9 < size <= bound << 10, f"{size} of {bound} KiB")
            check_consistency(calls_of(recorded.trace))

    def test_what_cannot_be_written_ends_the_trace_and_not_the_program(self):
        recorded = self.record("bounded_files")
        self.assertEqual((recorded.status, recorded.out), (0, "went on\n"))
        self.assertRegex(recorded.err, r"ended early: File too large\n$")
        calls = calls_of(recorded.trace)
        check_consistency(calls)
        self.assertGreater(len(of_size(calls, 30_001)), 1000)

    def test_an_end_mark_that_cannot_be_written_makes_room_for_itself(self):
        recorded = self.record("bounded_end")
        self.assertEqual(recorded.status, 4)
        self.assertRegex(recorded.err, r"ended early: File too large\n$")
        self.assertEqual(len(of_size(calls_of(recorded.trace), 30_001)), 5)

    def test_a_full_disk(self):
        script = ('mkdir disk && mount -t tmpfs -o size=128k none disk && "$0" record -o disk/trace -- "$1" many 40000 && '
                  'cp disk/trace .')
        done = subprocess.run(["unshare", "-rm", "sh", "-c", script, TOOL, PROGRAM], cwd=self.folder, capture_output=True,
                              text=True, timeout=LIMIT_SECONDS, env=ENVIRONMENT, check=False)
        if "ended early" not in done.stderr and "cistern" not in done.stderr:
            self.skipTest("a disk can't be mounted here")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("ended early: No space left on device", done.stderr)
        self.assertGreater(len(of_size(calls_of(self.folder / "trace"), 30_001)), 1000)

    def test_a_process_whose_forks_cannot_be_followed_is_not_recorded(self):
        recorded = self.record("forks", environment=ENVIRONMENT | {"NO_MEMORY_FOR_FORKS": "1"})
        self.assertEqual(recorded.status, 0, recorded.err)
        self.assertRegex(recorded.err, "^cistern-record: cannot write .*: Cannot allocate memory\n")
        self.assertEqual((len(recorded.traces), calls_of(recorded.trace)), (1, []))

    def test_a_system_without_pages_is_told_of_and_disturbs_nobody(self):
        told = "^cistern-record: cannot write .*: Cannot allocate memory\n"
        for options in (["--stacks"], ["--sample=1K"], ["--stacks", "--sample=1K"]):
            refusals = 0
            for served in range(10):
                with self.subTest(options=options, served=served):
                    folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
                    recorded = Recorded(folder, PROGRAM, "many", "2000", options=options,
                                        environment=ENVIRONMENT | {"PAGES_ARE_REFUSED_AFTER": str(served)})
                    if recorded.status == 0:  # what can't be followed isn't in the trace
                        check_consistency(calls_of(recorded.trace))
                    else:
                        refusals += 1
                        self.assertEqual((recorded.status, recorded.traces), (125, []))  # nothing was recorded
                        self.assertRegex(recorded.err, told)
            self.assertTrue(0 < refusals < 10)
        environment = ENVIRONMENT | {"LD_PRELOAD": str(pathlib.Path(TOOL).with_name("libcistern-record.so")),
                                     "CISTERN_RECORD_TO": str(self.folder / "none"), "CISTERN_RECORD_STACKS": "8",
                                     "PAGES_ARE_REFUSED_AFTER": "0"}
        program = subprocess.run([PROGRAM, "status", "4"], env=environment, check=False, timeout=LIMIT_SECONDS,
                                 capture_output=True, text=True)
        self.assertEqual(program.returncode, 4)
        self.assertRegex(program.stderr, told)

    def test_what_cannot_be_told_disturbs_nobody(self):
        environment = ENVIRONMENT | {"LD_PRELOAD": str(pathlib.Path(TOOL).with_name("libcistern-record.so")),
                                     "CISTERN_RECORD_TO": "/no/such/folder/trace"}

        def status_where_nobody_reads(**more):
            return subprocess.run([PROGRAM, "status", "4"], env=environment, check=False, timeout=LIMIT_SECONDS,
                                  **more).returncode

        reader, writer = os.pipe()
        os.close(reader)
        self.addCleanup(os.close, writer)
        self.assertEqual(status_where_nobody_reads(stderr=writer), 4)
        (self.folder / "messages").write_bytes(bytes(4096))
        with (self.folder / "messages").open("ab") as full:
            self.assertEqual(status_where_nobody_reads(
                stderr=full, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))), 4)

    def test_a_program_that_closes_all_files(self):
        other = self.folder / "other"
        recorded = self.record("closes_everything", other)
        self.assertEqual(recorded.status, 0)
        self.assertEqual(other.read_bytes(), b"")
        self.assertIn("cut off", recorded.err)

    def test_environments(self):
        odd = {**ENVIRONMENT, "SOMETHING": "a=b\nc", "LD_PRELOAD": "", "CISTERN_RECORD_MAX_BYTES": "nonsense"}
        recorded = self.record("environment", environment=odd)
        self.assertEqual((recorded.status, recorded.out), (0, "a=b\nc\n"))
        self.assertEqual(Recorded(self.folder, "env", "-i", "true").status, 0)
        calls_of(self.record("many", 1, environment={}).trace)

    def test_programs_of_the_distribution(self):
        lines = "".join(f"{i * 7919 % 10007} {i * 31 % 97}\n" for i in range(3000))
        (self.folder / "lines").write_text(lines)
        programs = {
            "awk": ["awk", "{ sum[$2] += $1 } END { for (i in sum) n += sum[i]; print n }", "lines"],
            "git": ["git", "-c", "core.pager=cat", "hash-object", "lines"],
            "perl": ["perl", "-ne", "push @a, [split]; END { print scalar(@a), qq(\\n) }", "lines"],
            "python3": [sys.executable, "-c", "print(sum(int(l.split()[0]) for l in open('lines')))"],
            "sort": ["sort", "-n", "lines"],
            "sqlite3": ["sqlite3", ":memory:", "create table t(a); insert into t values (1), (2); select sum(a) from t"],
        }
        compiled = {  # While it runs: stacks end there.
            "java": ["java", "-version"],
            "node": ["node", "-e", "console.log([...Array(1000).keys()].map(String).join().length)"],
        }
        for name, command in {**programs, **compiled}.items():
            if shutil.which(command[0]) is None:
                continue
            with self.subTest(name):
                self.check_program(command, [[], ["--sample", "64K"]] if name in compiled else [[], ["--stacks"]])

    def check_program(self, command, ways):
        plain = subprocess.run(command, cwd=self.folder, capture_output=True, check=True, text=True, env=ENVIRONMENT)
        for options in ways:
            recorded = Recorded(self.folder, *command, options=options)
            self.assertEqual((recorded.status, recorded.out), (0, plain.stdout), recorded.err)
            calls = calls_of(recorded.trace)
            self.assertGreater(len(calls), 10)
            check_consistency(calls)
            if "--stacks" in options:
                unknown = sum(call.stack == "0" for call in calls)
                self.assertLess(unknown, len(calls) / 100)

    def test_programs_that_cannot_be_recorded(self):
        recorded = Recorded(self.folder, "/no/such/program")
        self.assertEqual((recorded.status, recorded.err),
                         (127, "cistern-trace: cannot run /no/such/program: No such file or directory\n"))
        recorded = Recorded(self.folder, str(self.folder))
        self.assertEqual(recorded.status, 126)
        recorded = Recorded(self.folder, "touch", "ran", options=["-o", "/no/such/folder/trace"])
        self.assertEqual((recorded.status, recorded.err),
                         (125, "cistern-trace: cannot write /no/such/folder/trace: No such file or directory\n"))
        self.assertFalse((self.folder / "ran").exists())

    def test_a_static_program(self):
        static = shutil.which("ldconfig", path="/sbin:/usr/sbin")
        if static is None or b"interpreter" in subprocess.run(["file", static], capture_output=True, check=False).stdout:
            self.skipTest("there is no static program here")
        recorded = Recorded(self.folder, static, "--version")
        self.assertEqual(recorded.status, 125)
        self.assertIn(" was not recorded: it is linked statically, built with -fsanitize=address, or ", recorded.err)

    def test_a_library_that_cannot_be_preloaded(self):
        library = pathlib.Path(TOOL).with_name("libcistern-record.so")
        for name, files, words in (("tool", [TOOL], "libcistern-record.so isn't where it was installed"),
                                   ("a tool", [TOOL, library], "at a space or a colon the system takes a path to end"),
                                   ("a:tool", [TOOL, library], "at a space or a colon the system takes a path to end")):
            folder = self.folder / name
            folder.mkdir()
            for each in files:
                shutil.copy(each, folder)
            done = subprocess.run([folder / pathlib.Path(TOOL).name, "record", "touch", "ran"], cwd=self.folder, check=False,
                                  capture_output=True, text=True, env=ENVIRONMENT)
            self.assertEqual(done.returncode, 125, done.stderr)
            self.assertIn(words, done.stderr)
        self.assertFalse((self.folder / "ran").exists())

    def test_an_old_file_is_replaced_and_nothing_else(self):
        trace = self.folder / "a trace"
        trace.write_bytes(b"old")
        self.assertEqual(self.record("many", 1).status, 0)
        calls_of(trace)
        for path in ("/dev/null", str(self.folder)):
            recorded = self.record("many", 1, options=["-o", path])
            self.assertEqual((recorded.status, recorded.err), (125, f"cistern-trace: {path} is there, and is no regular file: give "
                                                                    "the trace another name by -o\n"))
        self.assertTrue(pathlib.Path("/dev/null").is_char_device())

    def test_an_old_file_stays_where_nothing_is_recorded(self):
        trace = self.folder / "a trace"
        trace.write_bytes(b"old")
        for command, status in (["/no/such/program"], 127), ([str(self.folder)], 126):
            self.assertEqual(Recorded(self.folder, *command).status, status)
            self.assertEqual([(each, each.read_bytes()) for each in self.folder.iterdir()], [(trace, b"old")])
        program = shutil.copy(PROGRAM, self.folder / "program")
        path = ENVIRONMENT | {"PATH": f"/no/such/folder:{self.folder}"}
        for name, environment in ((program, ENVIRONMENT), ("./program", ENVIRONMENT), ("program", path)):
            recorded = Recorded(self.folder, name, "many", "1", options=["-o", "program"], environment=environment)
            self.assertEqual((recorded.status, recorded.err), (125, f"cistern-trace: {program} is the program itself: give the trace "
                                                                    "another name by -o\n"))
            self.assertEqual(program.read_bytes(), pathlib.Path(PROGRAM).read_bytes())

    def test_names_of_its_own(self):
        done = subprocess.run([TOOL, "record", PROGRAM, "many", "1"], cwd=self.folder, capture_output=True, check=False,
                              timeout=LIMIT_SECONDS, env=ENVIRONMENT)
        self.assertEqual(done.returncode, 0)
        (trace,) = self.folder.iterdir()
        self.assertRegex(trace.name, r"^recorded_program\.\d+\.trace$")

    def test_arguments(self):
        def run(*arguments):
            done = subprocess.run([TOOL, "record", *arguments], capture_output=True, text=True, check=False, env=ENVIRONMENT)
            return done.returncode, done.stdout, done.stderr
        status, out, err = run("--help")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("Usage: cistern-trace record [OPTIONS] PROGRAM [ARGUMENTS...]\n", out)
        for arguments, words in (((), "PROGRAM is required"), (("--",), "PROGRAM is required"),
                                 (("-x", "true"), "no such option: -x"), (("--quiet=x", "true"), "Could not convert: --quiet = x"),
                                 (("-o",), "--output: 1 required FILE missing"), (("--output=", "true"), "--output takes a value"),
                                 (("--max-size", "much", "true"), "--max-size takes a size, as 4096, 64K, 100M or 2G: much"),
                                 (("--max-size=0", "true"), "--max-size takes a size, as 4096, 64K, 100M or 2G: 0"),
                                 (("--sample", "0", "x"), "--sample takes a size, as 4096, 64K, 100M or 2G: 0"),
                                 (("--stacks=0", "x"), "--stacks takes a depth from 1 to 64: 0"),
                                 (("--stacks=65", "x"), "--stacks takes a depth from 1 to 64: 65"),
                                 (("--stacks=2x", "x"), "--stacks takes a depth from 1 to 64: 2x"),
                                 (("--stacks=", "x"), "--stacks takes a value"),
                                 (("--max-size=99999999999G", "x"),
                                  "--max-size takes a size, as 4096, 64K, 100M or 2G: 99999999999G")):
            self.assertEqual(run(*arguments), (2, "", f"cistern-trace: {words}\nTry 'cistern-trace record --help'.\n"))

    def test_functions_have_names(self):
        recorded = self.record("many", 3, options=["--stacks"])
        def lines(*options):
            done = subprocess.run([TOOL, "print", *options, recorded.trace], capture_output=True, text=True, check=True,
                                  env=ENVIRONMENT)
            return [line for line in done.stdout.splitlines()[1:] if not line.startswith("#")]
        self.assertEqual(lines("--at=no_such_function"), [])
        self.assertTrue(any(line.endswith(f" in {PROGRAM}: main") for line in printed(recorded.trace)))
        ours = lines("--at=main")
        self.assertTrue(0 < len(ours) <= len(lines()))
        self.assertEqual(lines("--at", PROGRAM), ours)

    def test_what_follows_the_program_is_its_own(self):
        echo = ("-o", "x", "--quiet", "--help", "--", "[a,b]", "", "print")
        for options in (["-o", "a"], ["-qo", "b"], ["-qoc"], ["--output=d", "--"], ["--stacks"]):
            done = subprocess.run([TOOL, "record", *options, sys.executable, "-c", "import sys; print(sys.argv[1:])", *echo],
                                  cwd=self.folder, capture_output=True, text=True, check=False, env=ENVIRONMENT)
            self.assertEqual((done.returncode, done.stdout), (0, f"{list(echo)}\n"), done.stderr)
        self.assertEqual({path.name for path in self.folder.iterdir() if len(path.name) == 1}, set("abcd"))


if __name__ == "__main__":
    unittest.main()
