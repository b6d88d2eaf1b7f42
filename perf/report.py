#!/usr/bin/python3
"""Measures Cistern beside others and makes the report: data, pictures, and the page about them.

report.py                     everything (some 25 minutes): perf/reports/VERSION and docs/performance.md
report.py --quick             a rough picture within five minutes, all of it in BUILD/perf/report
report.py --only trace,pool   these areas; the others' figures stay
report.py --draw              pictures and page anew, from the figures that are there
report.py --check-page        is the page (and each figure marked in README.md) what the figures say?

The programs come from a release build (cmake --preset release && cmake --build --preset release --target report does all).
A run that was broken off goes on where it was. CISTERN_PERF_PEERS names a folder with builds of other allocators.
Exit status: 0; 1 when something failed or the page isn't what the figures say; 2 wrong usage; 77 --check-page can't look.
"""

import argparse
import json
import pathlib
import re
import sys

sys.dont_write_bytecode = True  # nothing is left in the sources' folder
ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = pathlib.Path("docs/performance.md")
TEMPLATE = ROOT / "perf" / "reporting" / "performance.md.in"
# Pages whose marked figures are those of the report.
WITH_FIGURES = (pathlib.Path("README.md"),)
SKIPPED = 77

try:
    from reporting import contents, machine, measuring, page, pictures, results
except ImportError as missing:
    print(f"report.py: {missing}. Install Debian's python3-pandas and python3-matplotlib, or run .ci/setup.", file=sys.stderr)
    sys.exit(SKIPPED if "--check-page" in sys.argv else 1)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measuring.add_areas(parser, contents.AREAS)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs; nothing outside the build changes")
    parser.add_argument("--again", action="store_true", help="measure anew what an earlier run has measured")
    parser.add_argument("--output", type=pathlib.Path, metavar="DIR", help="where data, pictures and page go instead")
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    parser.add_argument("--check-page", action="store_true", help="change nothing, compare")
    parser.add_argument("--list", action="store_true", help="say which areas there are")
    return measuring.parse_areas(parser, contents.AREAS)


def project_version():
    found = re.search(r"project\(\s*cistern\s+VERSION (\d+(?:\.\d+)+)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))
    return found[1]


class Places:
    """Where one report's files are. A report that isn't the published one has its page beside its data."""

    def __init__(self, arguments):
        self.version = project_version()
        kept_at = arguments.build / "perf" / "report"
        self.raw = kept_at / ("quick" if arguments.quick else "full")
        apart = arguments.output or (kept_at if arguments.quick else None)
        self.folder = apart or ROOT / "perf" / "reports" / self.version
        self.page = self.folder / PAGE.name if apart else ROOT / PAGE
        self.from_page = "." if apart else f"../perf/reports/{self.version}"
        self.others = [] if apart else [ROOT / path for path in WITH_FIGURES]

    @property
    def results(self):
        return self.folder / "results.json"

    @property
    def machine(self):
        return self.folder / "machine.json"


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def measure(arguments, places):
    """Measures the areas and writes results.json and machine.json, which keep what they have of others."""
    jobs = contents.jobs(arguments.build, arguments.only, arguments.quick)
    done = measuring.measure_all(jobs, places.raw, arguments.again)
    if not arguments.quick and (warning := machine.unfit(done)):
        raise measuring.Failure(f"This is nothing to publish: {warning}.")
    before, here = read_json(places.results), machine.describe(arguments.build)
    there = read_json(places.machine)
    others = {area: each for area, each in there.get("areas", {}).items() if area not in arguments.only}
    changed = machine.changed_fields(there, here) if others else []
    if changed:
        raise measuring.Failure(f"The other areas' figures are of another machine or build ({', '.join(changed)} changed): "
                                "measure everything, without --only.")
    commit = machine.commit_of(ROOT)
    areas = {area: machine.describe_area(of_area, commit) for area in arguments.only
             if (of_area := [(job, result) for job, result in done if job.area == area])}
    document = {"version": places.version, "rows": {}, "held": {}}
    for area in contents.AREAS:
        if area in areas:
            for job, result in done:
                if job.area == area:
                    contents.keep(document, job, result)
        elif area in others:
            contents.keep_before(document, before, area)
    places.folder.mkdir(parents=True, exist_ok=True)
    results.write(document, places.results)
    places.machine.write_text(json.dumps({**here, "areas": {**others, **areas}}, indent=2) + "\n", encoding="utf-8")


def read_report(places):
    """(what was measured, the page as it should be, the figures)."""
    measured = results.Results.read(places.results)
    figures = page.Figures(measured, read_json(places.machine), places.from_page)
    tables = contents.tables(measured, read_json(ROOT / "perf" / "instruction_counts.json"))
    return measured, page.Page(figures, tables).made_from(TEMPLATE.read_text(encoding="utf-8")), figures


def draw(places):
    """Writes the pictures, the page, and the figures marked in other pages."""
    if not places.results.exists():
        raise measuring.Failure(f"there is no {places.results}: measure first, without --draw")
    measured, text, figures = read_report(places)
    for name, (title, make) in contents.PICTURES.items():
        path = places.folder / f"{name}.svg"
        made = make(measured)
        if made is None:
            path.unlink(missing_ok=True)
        else:
            pictures.save(made, path, title)
    places.page.write_text(text, encoding="utf-8")
    for path in places.others:
        before = path.read_text(encoding="utf-8")
        after = page.with_figures(figures, before)
        if after != before:
            path.write_text(after, encoding="utf-8")
    print(f"{places.page} and its pictures in {places.folder}")


def check_page(places):
    """Whether the pages say what the figures do."""
    if not places.results.exists():
        print(f"skipped: there is no {places.results.relative_to(ROOT)} yet")
        return SKIPPED
    _, text, figures = read_report(places)
    wrong = []
    if places.page.read_text(encoding="utf-8") != text:
        wrong.append(str(places.page.relative_to(ROOT)))
    for path in places.others:
        there = path.read_text(encoding="utf-8")
        if page.with_figures(figures, there) != there:
            wrong.append(str(path.relative_to(ROOT)))
    linked = re.findall(r"perf/reports/\S+?\.svg", "".join(path.read_text(encoding="utf-8") for path in [places.page, *places.others]))
    missing = sorted({path for path in linked if not (ROOT / path).exists()})
    for each in wrong:
        print(f"{each} doesn't say what {places.results.relative_to(ROOT)} does. Run perf/report.py --draw, and look at the "
              "change.", file=sys.stderr)
    for each in missing:
        print(f"A page shows {each}, which isn't there. Run perf/report.py --draw.", file=sys.stderr)
    return 1 if wrong or missing else 0


def main():
    arguments = parse_arguments()
    places = Places(arguments)
    if arguments.list:
        print("\n".join(f"{area:10} {about}" for area, about in contents.AREAS.items()))
        return 0
    if arguments.check_page:
        return check_page(places)
    if not arguments.draw:
        measure(arguments, places)
    draw(places)
    return 0


if __name__ == "__main__":
    measuring.end_with(main, "What is measured stays: run it again and it goes on from here.")
