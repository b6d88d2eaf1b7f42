#!/usr/bin/env python3
"""Checks that includes point down the layers, without a cycle, and the rules for headers.

    layering.py ROOT           checks include/cistern and src under ROOT against ROOT/test/layers.txt
    layering.py --self-test    shows that each rule catches what breaks it

Rules: every file belongs to a layer; a file includes files of its own layer or of lower ones; components (a header
and its source) don't include each other in a circle; what is forbidden in layers.txt isn't included; a header
begins with a sentence of purpose ("// ... ."), then "#pragma once"; a header has at most 400 lines.
"""

import fnmatch
import itertools
import pathlib
import re
import sys
import tempfile

MAX_HEADER_LINES = 400
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:<(cistern/[^>]+)>|"([^"]+)")')
CODE = (".hpp", ".cpp", ".h", ".c")


class Layers:
    """What layers.txt says."""

    def __init__(self, text):
        self.names = []
        self.patterns = []  # (pattern, layer number)
        self.forbidden = []  # (patterns of users, pattern of what they must not include)
        for number, raw in enumerate(text.splitlines(), 1):
            line = raw.split("#")[0].strip()
            if not line:
                continue
            if line.startswith("layer "):
                self.names.append(line.split()[1])
            elif line.startswith("forbid "):
                users, _, target = line[len("forbid "):].partition(":")
                if not target.strip():
                    raise ValueError(f"layers.txt:{number}: forbid USERS... : TARGET")
                self.forbidden.append((users.split(), target.strip()))
            elif self.names:
                self.patterns.append((line, len(self.names) - 1))
            else:
                raise ValueError(f"layers.txt:{number}: a pattern before the first layer")

    def of(self, component):
        for pattern, layer in self.patterns:
            if fnmatch.fnmatchcase(component, pattern):
                return layer
        return None


def component_of(path):
    """include/cistern/detail/bucket.hpp, its bucket_templates.hpp and src/bucket.cpp are all "bucket"."""
    parts = [part for part in path.with_suffix("").parts if part != "detail"]
    name = "/".join(parts[2:] if parts[:2] == ["include", "cistern"] else parts[1:])
    return name.removesuffix("_templates")


def code_files(root):
    for folder in ("include/cistern", "src"):
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and path.suffix in CODE:
                yield path.relative_to(root)


def includes_of(root, path):
    """The library's own files that a file includes, with line numbers."""
    for number, line in enumerate((root / path).read_text(encoding="utf-8").splitlines(), 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        if found.group(1):
            yield number, pathlib.Path("include") / found.group(1)
        else:
            target = (root / path.parent / found.group(2)).resolve()
            if target.is_relative_to(root.resolve()):
                yield number, target.relative_to(root.resolve())


def header_faults(root, path):
    lines = (root / path).read_text(encoding="utf-8").splitlines()
    top = list(itertools.takewhile(lambda line: line.startswith("//"), lines))
    if not top or not re.match(r"// \S", top[0]) or not top[-1].endswith("."):
        yield f'{path}:1: the file does not begin with a sentence of purpose ("// ... .")'
    if lines[len(top):len(top) + 1] != ["#pragma once"]:
        yield f"{path}:{len(top) + 1}: #pragma once is missing after the purpose"
    if len(lines) > MAX_HEADER_LINES:
        yield f"{path}: {len(lines)} lines; a header has at most {MAX_HEADER_LINES}"


def include_faults(layers, path, number, target):
    user, used = component_of(path), component_of(target)
    user_layer, used_layer = layers.of(user), layers.of(used)
    if user_layer is not None and used_layer is not None and used_layer > user_layer:
        yield (f"{path}:{number}: {user} ({layers.names[user_layer]}) includes {used} "
               f"({layers.names[used_layer]}), which is above it")
    for users, forbidden in layers.forbidden:
        if fnmatch.fnmatchcase(used, forbidden) and any(fnmatch.fnmatchcase(user, each) for each in users):
            yield f"{path}:{number}: {user} must not include {used}"


def cycle_in(graph):
    """A list of components that include each other in a circle, or None."""
    finished, path = set(), []

    def visit(node):
        if node in path:
            return path[path.index(node):] + [node]
        if node in finished:
            return None
        path.append(node)
        for successor in sorted(graph.get(node, ())):
            found = visit(successor)
            if found:
                return found
        path.pop()
        finished.add(node)
        return None

    for node in sorted(graph):
        found = visit(node)
        if found:
            return found
    return None


def faults_under(root):
    layers = Layers((root / "test/layers.txt").read_text(encoding="utf-8"))
    faults, graph, count = [], {}, 0
    for path in code_files(root):
        count += 1
        component = component_of(path)
        if layers.of(component) is None:
            faults.append(f"{path}: no layer in test/layers.txt fits \"{component}\"")
        if path.parts[0] == "include":
            faults.extend(header_faults(root, path))
        for number, target in includes_of(root, path):
            if not (root / target).is_file():
                faults.append(f"{path}:{number}: includes {target}, which doesn't exist")
                continue
            faults.extend(include_faults(layers, path, number, target))
            if component_of(target) != component:
                graph.setdefault(component, set()).add(component_of(target))
    if count == 0:
        faults.append(f"no code under {root}")
    cycle = cycle_in(graph)
    if cycle:
        faults.append("components include each other in a circle: " + " -> ".join(cycle))
    return faults


# ---------------------------------------------------------------------------------------------------------------------

PURPOSE = "// What this is for.\n#pragma once\n"
LAYERS = "layer low\n  low*\n  testing/*\nlayer high\n  high*\nforbid testing/* : low_secret\n"
GOOD = {
    "include/cistern/low.hpp": PURPOSE + "#include <vector>\n",
    "include/cistern/detail/low_part.hpp": PURPOSE + "#include <cistern/low.hpp>\n",
    "include/cistern/low_secret.hpp": PURPOSE,
    "include/cistern/testing/kit.hpp": PURPOSE + "#include <cistern/low.hpp>\n",
    "include/cistern/high.hpp": PURPOSE + "#include <cistern/detail/low_part.hpp>\n",
    "src/low.cpp": "#include <cistern/low.hpp>\n#include \"low_text.hpp\"\n",
    "src/low_text.hpp": PURPOSE,
}
SELF_TESTS = [  # (name, files changed, words of the one fault expected)
    ("upward include in a header", {"include/cistern/low.hpp": PURPOSE + "#include <cistern/high.hpp>\n"},
     ["include/cistern/low.hpp:3: low (low) includes high (high), which is above it", "in a circle"]),
    ("upward include in a source", {"src/low.cpp": "\n  #  include  <cistern/high.hpp>\n"},
     ["src/low.cpp:2: low (low) includes high (high)", "in a circle"]),
    ("upward include by a relative path", {"src/low_text.hpp": PURPOSE + '#include "../include/cistern/high.hpp"\n'},
     ["src/low_text.hpp:3: low_text (low) includes high (high)", "in a circle"]),
    ("circle within a layer", {"include/cistern/low.hpp": PURPOSE + "#include <cistern/detail/low_part.hpp>\n"},
     ["components include each other in a circle: low_part -> low -> low_part"]),
    ("circle through a source", {"src/low_part.cpp": "#include <cistern/low_secret.hpp>\n",
                                 "src/low_secret.cpp": "#include <cistern/detail/low_part.hpp>\n"},
     ["components include each other in a circle: low_part -> low_secret -> low_part"]),
    ("file without a layer", {"include/cistern/stray.hpp": PURPOSE}, ['no layer in test/layers.txt fits "stray"']),
    ("forbidden include", {"include/cistern/testing/kit.hpp": PURPOSE + "#include <cistern/low_secret.hpp>\n"},
     ["testing/kit must not include low_secret"]),
    ("circle between a header and its templates is none", {
        "include/cistern/high.hpp": PURPOSE + "#include <cistern/detail/high_templates.hpp>\n",
        "include/cistern/detail/high_templates.hpp": PURPOSE + "#include <cistern/high.hpp>\n#include <cistern/gone.hpp>\n"},
     ["which doesn't exist"]),
    ("no purpose", {"include/cistern/high.hpp": "#pragma once\n"},
     ["high.hpp:1: the file does not begin with a sentence"]),
    ("purpose without an end", {"include/cistern/high.hpp": "// Nothing\n#pragma once\n"},
     ["high.hpp:1: the file does not begin with a sentence"]),
    ("no include guard", {"include/cistern/high.hpp": "// What this is for.\n"}, ["#pragma once is missing"]),
    ("long header", {"include/cistern/high.hpp": PURPOSE + "\n" * 399}, ["401 lines"]),
    ("missing header", {"src/low.cpp": "#include <cistern/gone.hpp>\n"}, ["which doesn't exist"]),
]


def faults_of(files):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in {"test/layers.txt": LAYERS, **files}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        return faults_under(root)


def self_test():
    failures = []
    if faults_of(GOOD):
        failures.append(f"a good tree has faults: {faults_of(GOOD)}")
    if not faults_of({}):
        failures.append("an empty tree passes")
    for name, changes, expected in SELF_TESTS:
        faults = faults_of({**GOOD, **changes})
        every_fault_expected = all(any(words in fault for words in expected) for fault in faults)
        every_expected_found = all(any(words in fault for fault in faults) for words in expected)
        if not (faults and every_fault_expected and every_expected_found):
            failures.append(f"{name}: expected {expected}, found {faults}")
    return failures


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    faults = self_test() if arguments[0] == "--self-test" else faults_under(pathlib.Path(arguments[0]))
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
