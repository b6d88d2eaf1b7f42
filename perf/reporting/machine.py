"""What the figures were measured on and with: machine.json."""

import os
import pathlib
import platform
import re
import subprocess

PACKAGES = ("libc6", "libstdc++6", "libc++1-19", "libbenchmark-dev", "libmimalloc2.0", "libjemalloc2", "libtcmalloc-minimal4",
            "libboost-container-dev", "libboost1.74-dev", "libfmt9", "libfoonathan-memory-dev")


def without_folder(library):
    """`1.2 (/a/b/libx.so)` as `1.2 (libx.so)`: where a file lay says nothing to a reader."""
    return re.sub(r"\([^()]*/", "(", library)


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout.strip()
    except OSError:
        return ""


def processor():
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def packages():
    """Name → version of those that are installed."""
    listing = output_of("dpkg-query", "-W", "-f=${Package} ${Version} ${db:Status-Status}\n", *PACKAGES)
    found = (line.split() for line in listing.splitlines())
    return {parts[0]: parts[1] for parts in found if len(parts) == 3 and parts[2] == "installed"}


def compiler_of(build):
    try:
        cache = (build / "CMakeCache.txt").read_text(encoding="utf-8")
    except OSError:
        return ""
    found = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.+)$", cache, re.MULTILINE)
    return output_of(found[1], "--version").splitlines()[0] if found else ""


def commit_of(root):
    """Of the sources that a figure depends on; '-dirty' where they aren't as committed."""
    commit = output_of("git", "-C", str(root), "rev-parse", "--short=12", "HEAD")
    changed = output_of("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no", "--", "include", "src", "perf")
    return commit + ("-dirty" if changed else "")


def describe(build):
    """What must be the same for all the figures of one report."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "") if pathlib.Path("/etc/os-release").exists() else ""
    return {"processor": processor(), "cores": os.cpu_count(), "memory_gib": round(memory, 1), "kernel": platform.release(),
            "system": system, "compiler": compiler_of(build), "libraries": packages()}


def describe_area(results, commit):
    """Of one area's [(job, result)]: what was run, when, and what else the machine did."""
    contexts = [result["context"] for _, result in results if "context" in result]
    context = contexts[-1] if contexts else {}
    others = sorted(result["cores_of_others"] for _, result in results)
    return {"commit": context.get("cistern_commit", commit), "build": context.get("cistern_build", ""),
            "compiler": context.get("compiler", ""),
            "libraries": {key.removeprefix("peer_"): without_folder(context[key]) for key in context
                          if key.startswith("peer_") or key in ("go", "standard_library")}, "date": max(result["date"] for _, result in results),
            "seconds": round(sum(result["seconds"] for _, result in results)),
            "cores_of_others": {"median": others[len(others) // 2], "most": others[-1]}}


def changed_fields(before, now):
    """What keeps figures of two descriptions apart. A library that wasn't there before has no part in the figures of then."""
    def same(field):
        if field == "libraries" and field in before:
            return all(now[field].get(name) == version for name, version in before[field].items())
        return before.get(field) == now[field]
    return [field for field in now if not same(field)]


def unfit(results):
    """What a program says against being measured; empty if nothing."""
    return next((result["context"]["warning"] for _, result in results if result.get("context", {}).get("warning")), "")
