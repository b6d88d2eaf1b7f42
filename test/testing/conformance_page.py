#!/usr/bin/env python3
"""Keeps the table of docs/conformance.md: conformance_page.py check|update PROGRAM PAGE, or --self-test

PROGRAM (conformance_table) prints a row for each resource that is there. `update` puts them into the table, and leaves
the rows of others, as those of another standard library, alone. `check` compares: each of our own resources must be in
the table as it was printed. So must those of others, but for numbers: which block is the first that a peer misaligns
depends on what lies around it. What isn't in the table, as a peer of another version, is only named.
"""
import pathlib
import re
import subprocess
import sys

RULE = "| --- | --- | --- |"


def rows_of(text):
    """{name: row} of table rows, in their order."""
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return {row.split(" | ")[0].removeprefix("| "): row for row in rows if row != RULE}


def split(page):
    """What stands above the rows of the table, the rows, and what stands below."""
    lines = page.splitlines()
    start = lines.index(RULE) + 1
    end = next((at for at in range(start, len(lines)) if not lines[at].startswith("| ")), len(lines))
    return lines[:start], lines[start:end], lines[end:]


def updated(page, printed):
    above, rows, below = split(page)
    merged = rows_of("\n".join(rows)) | rows_of(printed)
    return "\n".join([*above, *merged.values(), *below]) + "\n"


def same(name, row, wanted):
    if name.startswith("`cistern::"):
        return row == wanted
    # How many checks are passed, and of which kind each fault is.
    return row.split(" | ")[1] == wanted.split(" | ")[1] and re.sub(r"\d+", "N", row) == re.sub(r"\d+", "N", wanted)


def differences(page, printed):
    """(problems, remarks)"""
    known = rows_of("\n".join(split(page)[1]))
    problems, remarks = [], []
    for name, row in rows_of(printed).items():
        if name in known and not same(name, row, known[name]):
            problems.append(f"the page has\n  {known[name]}\nand the run\n  {row}")
        elif name not in known and name.startswith("`cistern::"):
            problems.append(f"the page hasn't got {name}")
        elif name not in known:
            remarks.append(f"not on the page: {name}")
    return problems, remarks


def self_test():
    head = "# Page\n\n| resource | passed | fails |\n" + RULE + "\n"
    page = head + "| `cistern::a` | 2 of 2 | |\n| other 1 | 1 of 2 | `x`: block of 8 bytes |\n\nThe end.\n"
    assert differences(page, "| `cistern::a` | 2 of 2 | |\n") == ([], [])
    assert differences(page, "| other 1 | 1 of 2 | `x`: block of 16 bytes |\n") == ([], [])
    assert differences(page, "| other 2 | 1 of 2 | |\n") == ([], ["not on the page: other 2"])
    for wrong in ("| `cistern::a` | 1 of 2 | `y`: lost |\n", "| `cistern::b` | 2 of 2 | |\n",
                  "| other 1 | 2 of 2 | |\n", "| other 1 | 1 of 2 | `y`: block of 8 bytes |\n",
                  "| other 1 | 1 of 3 | `x`: block of 8 bytes |\n"):
        assert differences(page, wrong)[0], wrong
    new = updated(page, "| `cistern::a` | 3 of 3 | |\n| more | 1 of 1 | |\n")
    assert new == page.replace("2 of 2", "3 of 3").replace("8 bytes |\n", "8 bytes |\n| more | 1 of 1 | |\n"), new


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    command, program, page = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    printed = subprocess.run([program], check=True, stdout=subprocess.PIPE, text=True).stdout
    if command == "update":
        page.write_text(updated(page.read_text(), printed))
        return None
    problems, remarks = differences(page.read_text(), printed)
    print("\n".join([*remarks, *problems, f"{len(rows_of(printed))} resources, {len(problems)} problems"]))
    return 1 if problems or not printed else 0


if __name__ == "__main__":
    sys.exit(main())
