#!/usr/bin/python3
"""Compares a quick run with the report of the last version: has anything become slower, or done more?

Instruction counts and other exact counters fail at once. A row that takes over 15 % longer beside its peers than it did is
measured again, and fails when it does so three times more. Some ten minutes; leave the machine alone meanwhile.
Exit status: 0 nothing is worse; 1 something is, or went wrong; 2 wrong usage.
"""

import argparse
import pathlib
import subprocess
import sys

sys.dont_write_bytecode = True  # nothing is left in the sources' folder
ROOT = pathlib.Path(__file__).resolve().parent.parent

try:
    from reporting import contents, measuring, regressions, results
except ImportError as missing:
    print(f"check.py: {missing}. Install Debian's python3-pandas and python3-matplotlib, or run .ci/setup.", file=sys.stderr)
    sys.exit(1)

# Curves aren't compared.
AREAS = [area for area in contents.AREAS if area != "held"]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measuring.add_areas(parser, AREAS)
    parser.add_argument("--against", metavar="VERSION", help="a folder of perf/reports (the last version)")
    return measuring.parse_areas(parser, AREAS)


def last_report(version):
    """The results.json of a version, or of the last."""
    reports = {path.parent.name: path for path in (ROOT / "perf" / "reports").glob("*/results.json")}
    if not reports:
        raise measuring.Failure("there is no report in perf/reports to compare with: perf/report.py makes one")
    if version and version not in reports:
        raise measuring.Failure(f"there is no report of {version}; there are {', '.join(reports)}")
    return reports[version or max(reports, key=lambda name: [int(part) for part in name.split(".")])]


def instruction_counts_hold(build):
    done = subprocess.run(["ctest", "--test-dir", build, "--output-on-failure", "-R", "^instruction_counts$"],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout + done.stderr, file=sys.stderr)
    elif "Skipped" in done.stdout:
        print("The instruction counts weren't compared: ctest -R instruction_counts says why.", file=sys.stderr)
    return done.returncode == 0


def measure(build, jobs):
    done = measuring.measure_all(jobs, build / "perf" / "report" / "check", again=True)
    return results.Results({"version": "now", "rows": {row: each for _, result in done for row, each in result["rows"].items()}})


def main():
    arguments = parse_arguments()
    path = last_report(arguments.against)
    then = results.Results.read(path)
    failed = not instruction_counts_hold(arguments.build)
    jobs = [job for job in contents.jobs(arguments.build, arguments.only, quick=True) if job.name in then.rows]
    if not jobs:
        raise measuring.Failure(f"{path} has none of the rows that this build measures")
    now = measure(arguments.build, jobs)
    grown = regressions.grown_counters(then, now)
    if grown:  # with several threads nothing is exact: what isn't the same twice doesn't count
        of_rows = {row for row, *_ in grown}
        again = regressions.grown_counters(then, measure(arguments.build, [job for job in jobs if job.name in of_rows]))
        grown = [each for each in grown if each in again]
    for row, name, counter, before, value in grown:
        failed = True
        print(f"{row}/{name}: {counter} grew from {before} to {value}")
    suspicious = regressions.losses(then, now)
    lost = regressions.repeated(then, suspicious, lambda rows: measure(arguments.build, [job for job in jobs if job.name in rows]))
    for (row, name), value in sorted(lost.items(), key=lambda each: -each[1]):
        print(f"{row}/{name}: takes {value:.2f} times as long beside its peers as in {path.parent.name}")
    print(f"{len(jobs)} rows compared with {path.relative_to(ROOT)}: {len(suspicious)} looked slower at first, "
          f"{len(lost)} each time they were measured")
    return 1 if failed or lost else 0


if __name__ == "__main__":
    measuring.end_with(main)
