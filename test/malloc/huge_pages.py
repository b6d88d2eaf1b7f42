#!/usr/bin/env python3
"""Whether the heap asks the system for huge pages if, and only if, CISTERN_HUGE_PAGES=1.

huge_pages.py LIBRARY: runs itself under that malloc, with the variable and without.
Exit status: 0 as it should be; 1 not so; 77 this kernel doesn't tell.
"""
import os
import subprocess
import sys

SKIPPED = 77


def asked_for_huge_pages(filled):
    """Looks for a mapping of this process with the flag "hg". None: no flags shown."""
    with open("/proc/self/smaps", encoding="ascii", errors="replace") as maps:
        flags = [line.split()[1:] for line in maps if line.startswith("VmFlags:")]
    assert filled
    return any("hg" in words for words in flags) if flags else None


def run_under(library, switch, blocks):
    environment = dict(os.environ, LD_PRELOAD=library, CISTERN_HUGE_PAGES=switch)
    done = subprocess.run([sys.executable, "-B", __file__, "--look", blocks], env=environment, capture_output=True,
                          text=True, check=True)
    return done.stdout.strip()


def main():
    if sys.argv[1] == "--look":
        many = sys.argv[2] == "many"
        print(asked_for_huge_pages([bytearray(64 << 10 if many else 40 << 20) for _ in range(200 if many else 1)]))
        return 0
    good = True
    for blocks in ("many", "large"):
        seen = {switch: run_under(sys.argv[1], switch, blocks) for switch in ("0", "1")}
        print(blocks, seen)
        if "None" in seen.values():
            return SKIPPED
        good = good and seen == {"0": "False", "1": "True"}
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
