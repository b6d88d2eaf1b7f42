#!/usr/bin/env python3
"""Checks that includes point down the folders, without a cycle, the rules for headers, and that nothing is untested
or left out of the build.

    layering.py ROOT           checks include/cistern and src under ROOT against ROOT/test/layers.txt
                               and ROOT/test/tested_through.txt, and atomics against ROOT/docs/design.md
    layering.py --self-test    shows that each rule catches what breaks it

Rules: every file belongs to a folder of layers.txt; a file includes files of its own folder and of those that
layers.txt allows it; components (a header and its source) don't include each other in a circle; a header begins with
a sentence of purpose ("// ... ."), then "#pragma once"; a header has at most 400 lines; a component with a source or
a header in detail has a test of its name in its folder of test, or tested_through.txt says which tests show it;
include/CMakeLists.txt lists the headers that are there; a CMakeLists.txt of test names each *_test.cpp, and labels it
"threads" where it starts one, so that ThreadSanitizer gets to see it; the table of atomics in docs/design.md says what the code does (atomics_table.py).
"""

import fnmatch
import itertools
import pathlib
import re
import sys
import tempfile

sys.dont_write_bytecode = True
import atomics_table

MAX_HEADER_LINES = 400
STARTS_A_THREAD = re.compile(r"std::j?thread\b(?!::)|run_threads?\(|pthread_create\(|std::async\(")
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:<(cistern/[^>]+)>|"([^"]+)")')
CODE = (".hpp", ".cpp", ".h", ".c")


class Layers:
    """What layers.txt says."""

    def __init__(self, text):
        self.allowed = {}  # folder: the folders whose files its files may include
        self.public = []  # (pattern of public headers, folder)
        for number, raw in enumerate(text.splitlines(), 1):
            line = raw.split("#")[0].strip()
            if not line:
                continue
            found = re.fullmatch(r"(\w+)\s*<-([^:]*):(.*)", line)
            if not found:
                raise ValueError(f"layers.txt:{number}: FOLDER <- FOLDERS : PUBLIC HEADERS")
            folder, below, headers = found.group(1), found.group(2).split(), found.group(3).split()
            below = list(self.allowed) if below == ["*"] else below
            unknown = [each for each in below if each not in self.allowed]
            if unknown:
                raise ValueError(f"layers.txt:{number}: {unknown[0]} is no folder above this line")
            self.allowed[folder] = {folder, *below}
            self.public += [(pattern, folder) for pattern in headers]

    def folder_of(self, path):
        """The folder that a file under include/cistern or src belongs to, or None."""
        parts = path.parts
        if parts[:3] == ("include", "cistern", "detail") and len(parts) > 4:
            return parts[3] if parts[3] in self.allowed else None
        if parts[0] == "src":
            return parts[1] if len(parts) > 2 and parts[1] in self.allowed else None
        name = str(path.relative_to("include/cistern").with_suffix(""))
        return next((folder for pattern, folder in self.public if fnmatch.fnmatchcase(name, pattern)), None)

    def component_of(self, path):
        """include/cistern/bucket.hpp, detail/pool/bucket_templates.hpp and src/pool/bucket.cpp are "pool/bucket"."""
        return f"{self.folder_of(path)}/{path.stem.removesuffix('_templates')}"


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
    user, used = layers.folder_of(path), layers.folder_of(target)
    if user and used and used not in layers.allowed[user]:
        yield f"{path}:{number}: {user} must not know {used}, of which it includes {target}"


def tested_through(text):
    """Of tested_through.txt: component: (line number, the files that test it)."""
    listed = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.split("#")[0].strip()
        if not line:
            continue
        parts = [part.strip() for part in line.split(":")]
        if len(parts) != 3 or not all(parts) or parts[0] in listed:
            raise ValueError(f"tested_through.txt:{number}: COMPONENT : FILES : REASON, once for each component")
        listed[parts[0]] = (number, parts[1].split())
    return listed


def test_faults(root, components):
    listed = tested_through((root / "test/tested_through.txt").read_text(encoding="utf-8"))
    for component in sorted(components):
        has_test = (root / f"test/{component}_test.cpp").is_file()
        if has_test and component in listed:
            yield f"test/tested_through.txt:{listed[component][0]}: {component} has a test of its own by now"
        if not has_test and component not in listed:
            yield f"{component}: there is no test/{component}_test.cpp, and no line in test/tested_through.txt"
    for component, (number, files) in listed.items():
        if component not in components:
            yield f"test/tested_through.txt:{number}: there is no component {component}"
        for name in files:
            if not (root / "test" / name).is_file():
                yield f"test/tested_through.txt:{number}: there is no test/{name}"


def build_faults(root):
    """A header that isn't listed isn't installed; a test that isn't registered doesn't run."""
    listed = set(re.findall(r"^\s*(cistern/\S+\.hpp)$", (root / "include/CMakeLists.txt").read_text(), re.MULTILINE))
    there = {str(path.relative_to(root / "include")) for path in (root / "include/cistern").rglob("*.hpp")}
    for header in sorted(listed ^ there):
        yield f"include/CMakeLists.txt: {header} is {'there, but not listed' if header in there else 'listed, but not there'}"
    registered = set()
    for cmake in (root / "test").rglob("CMakeLists.txt"):
        named = re.findall(r"cistern_add_test\(([\w/]+)|([\w/]+)_test\.cpp", cmake.read_text())
        registered |= {cmake.parent / f"{one or other}_test.cpp" for one, other in named}
        for test, rest in re.findall(r"cistern_add_test\(([\w/]+)([^)]*)\)", cmake.read_text()):
            source = cmake.parent / f"{test}_test.cpp"
            if source.is_file() and STARTS_A_THREAD.search(source.read_text()) and "threads" not in rest.split():
                yield f"{source.relative_to(root)} starts threads, but its test isn't labelled so"
    for path in sorted(set((root / "test").rglob("*_test.cpp")) ^ registered):
        yield f"{path.relative_to(root)} is {'there, but no' if path.is_file() else 'not there, but a'} CMakeLists.txt of test names it"


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
    faults, graph, components, count = [], {}, set(), 0
    for path in code_files(root):
        count += 1
        component = layers.component_of(path)
        if layers.folder_of(path) is None:
            faults.append(f"{path}: no folder in test/layers.txt fits")
        elif path.parts[0] == "src" or path.parts[2] == "detail":
            components.add(component)
        if path.parts[0] == "include":
            faults.extend(header_faults(root, path))
        for number, target in includes_of(root, path):
            if not (root / target).is_file():
                faults.append(f"{path}:{number}: includes {target}, which doesn't exist")
                continue
            faults.extend(include_faults(layers, path, number, target))
            if layers.component_of(target) != component:
                graph.setdefault(component, set()).add(layers.component_of(target))
    faults.extend(test_faults(root, components))
    faults.extend(build_faults(root))
    code = {path: (root / path).read_text(encoding="utf-8") for path in code_files(root)}
    faults.extend(atomics_table.faults(code, (root / "docs/design.md").read_text(encoding="utf-8")))
    if count == 0:
        faults.append(f"no code under {root}")
    cycle = cycle_in(graph)
    if cycle:
        faults.append("components include each other in a circle: " + " -> ".join(cycle))
    return faults


# ---------------------------------------------------------------------------------------------------------------------

PURPOSE = "// What this is for.\n#pragma once\n"
LAYERS = "low <- : low\nside <- low : testing/*\nhigh <- low : high\ntool <- * :\n"
GOOD = {
    "include/cistern/low.hpp": PURPOSE + "#include <vector>\n",
    "include/cistern/detail/low/part.hpp": PURPOSE + "#include <cistern/low.hpp>\n",
    "include/cistern/detail/side/secret.hpp": PURPOSE,
    "include/cistern/testing/kit.hpp": PURPOSE + "#include <cistern/low.hpp>\n#include <cistern/detail/side/secret.hpp>\n",
    "include/cistern/high.hpp": PURPOSE + "#include <cistern/detail/low/part.hpp>\n",
    "src/low/low.cpp": "#include <cistern/low.hpp>\n#include \"text.hpp\"\n",
    "src/low/text.hpp": PURPOSE,
    "src/tool/tool.cpp": "#include <cistern/high.hpp>\n#include <cistern/testing/kit.hpp>\n",
    "test/high/high_test.cpp": "",
    "test/low/low_test.cpp": "",
    "test/low/part_test.cpp": "",
    "test/low/text_test.cpp": "",
    "test/tool/run.py": "",
    "test/tested_through.txt": "# why\nside/secret : low/low_test.cpp tool/run.py : no code\ntool/tool : tool/run.py : main\n",
}
TABLE = "### Atomics\n\n| what | order | partner | if it were weaker |\n| --- | --- | --- | --- |\n"
ATOMICS = {  # A tree with one atomic, and its row.
    "src/low/text.hpp": PURPOSE + """class text {
 public:
  void set() { flag_.store(true, std::memory_order_release); }
  bool get() const { return flag_.load(  // std::memory_order_seq_cst
      std::memory_order_acquire); }

 private:
  std::atomic<bool> flag_{false};
};
""",
    "docs/design.md": TABLE + "| `text::flag_` | acquire, release | each other | the text might not be seen |\n"}


def with_atomics(before, after):
    """What changes in GOOD: the atomic and its row, and in either of them some words."""
    changed = {name: text.replace(before, after) for name, text in ATOMICS.items()}
    assert changed != ATOMICS
    return changed


SELF_TESTS = [  # (name, files changed, words of the faults expected)
    ("upward include in a header", {"include/cistern/low.hpp": PURPOSE + "#include <cistern/high.hpp>\n"},
     ["include/cistern/low.hpp:3: low must not know high, of which it includes include/cistern/high.hpp", "in a circle"]),
    ("upward include in a source", {"src/low/low.cpp": "\n  #  include  <cistern/high.hpp>\n"},
     ["src/low/low.cpp:2: low must not know high", "in a circle"]),
    ("upward include by a relative path", {"src/low/text.hpp": PURPOSE + '#include "../../include/cistern/high.hpp"\n'},
     ["src/low/text.hpp:3: low must not know high", "in a circle"]),
    ("sideways include", {"include/cistern/high.hpp": PURPOSE + "#include <cistern/detail/side/secret.hpp>\n"},
     ["high must not know side"]),
    ("circle within a folder", {"include/cistern/low.hpp": PURPOSE + "#include <cistern/detail/low/part.hpp>\n"},
     ["components include each other in a circle: low/part -> low/low -> low/part"]),
    ("circle through a source", {"src/low/part.cpp": '#include "text.hpp"\n',
                                 "src/low/text.cpp": "#include <cistern/detail/low/part.hpp>\n"},
     ["components include each other in a circle: low/part -> low/low -> low/text -> low/part"]),
    ("public header without a folder", {"include/cistern/stray.hpp": PURPOSE},
     ["include/cistern/stray.hpp: no folder in test/layers.txt fits"]),
    ("source outside of folders", {"src/stray.cpp": ""}, ["src/stray.cpp: no folder in test/layers.txt fits"]),
    ("detail in an unknown folder", {"include/cistern/detail/stray/part.hpp": PURPOSE},
     ["detail/stray/part.hpp: no folder in test/layers.txt fits"]),
    ("circle between a header and its templates is none", {
        "include/cistern/high.hpp": PURPOSE + "#include <cistern/detail/high/high_templates.hpp>\n",
        "include/cistern/detail/high/high_templates.hpp": PURPOSE + "#include <cistern/high.hpp>\n#include <cistern/gone.hpp>\n"},
     ["which doesn't exist"]),
    ("no purpose", {"include/cistern/high.hpp": "#pragma once\n"},
     ["high.hpp:1: the file does not begin with a sentence"]),
    ("purpose without an end", {"include/cistern/high.hpp": "// Nothing\n#pragma once\n"},
     ["high.hpp:1: the file does not begin with a sentence"]),
    ("no include guard", {"include/cistern/high.hpp": "// What this is for.\n"}, ["#pragma once is missing"]),
    ("long header", {"include/cistern/high.hpp": PURPOSE + "\n" * 399}, ["401 lines"]),
    ("component without a test", {"src/high/untested.cpp": ""},
     ["high/untested: there is no test/high/untested_test.cpp, and no line in test/tested_through.txt"]),
    ("detail without a test", {"include/cistern/detail/high/untested.hpp": PURPOSE}, ["there is no test/high/untested_test"]),
    ("templates are of their header's component", {"include/cistern/detail/low/part_templates.hpp": PURPOSE,
                                                   "src/low/low_templates.hpp": "", "src/low/other.hpp": ""},
     ["low/other: there is no test"]),
    ("test in another folder", {"src/high/part.cpp": ""}, ["high/part: there is no test"]),
    ("listed although tested", {"test/side/secret_test.cpp": ""},
     ["test/tested_through.txt:2: side/secret has a test of its own by now"]),
    ("listed although gone", {"test/tested_through.txt": GOOD["test/tested_through.txt"] + "low/gone : tool/run.py : x\n"},
     ["test/tested_through.txt:4: there is no component low/gone"]),
    ("tested through what isn't there",
     {"test/tested_through.txt": GOOD["test/tested_through.txt"].replace("tool/run.py : no", "tool/gone.py : no")},
     ["test/tested_through.txt:2: there is no test/tool/gone.py"]),
    ("header that isn't listed", {"include/CMakeLists.txt": "".join(
        f"  cistern/{name}.hpp\n" for name in ("low", "testing/kit", "high", "detail/side/secret", "gone"))},
     ["detail/low/part.hpp is there, but not listed", "cistern/gone.hpp is listed, but not there"]),
    ("test that isn't registered", {
        "test/CMakeLists.txt": "cistern_add_test(high/high)\ncistern_add_test(low/low LABELS threads)\n",
        "test/low/CMakeLists.txt": "add_executable(one part_test.cpp)\ncistern_add_test(gone)\n"},
     ["test/low/text_test.cpp is there, but no", "test/low/gone_test.cpp is not there, but a"]),
    ("test with threads and without the label", {"test/low/low_test.cpp": "std::jthread helper;\n", "test/CMakeLists.txt":
        "cistern_add_test(high/high)\ncistern_add_test(low/low LIBS x)\ncistern_add_test(low/text)\nlow/part_test.cpp\n"},
     ["test/low/low_test.cpp starts threads, but its test isn't labelled so"]),
    ("missing header", {"src/low/low.cpp": "#include <cistern/gone.hpp>\n"}, ["which doesn't exist"]),
    ("atomic without a row", with_atomics("| `text::flag_` |", "| `text::other_` |"),
     ["src/low/text.hpp:10: the atomic text::flag_ has no row", "docs/design.md:5: there is no atomic text::other_"]),
    ("row in another table", with_atomics("### Atomics", "### Locks"), ["the atomic text::flag_ has no row"]),
    ("operation weaker than its row", with_atomics("memory_order_release", "memory_order_relaxed"),
     ["docs/design.md:5: text::flag_ is said to be acquire, release; the code says relaxed, acquire"]),
    ("operation stronger than its row", with_atomics("(true, std::memory_order_release)", "(true)"),
     ["the code says acquire, seq_cst"]),
    ("row weaker than its operation", with_atomics("| acquire, release |", "| acquire |"), ["is said to be acquire; the code"]),
    ("atomic in an array", with_atomics("std::atomic<bool> flag_", "std::array<std::atomic<bool>, 3> flags_"),
     ["the atomic text::flags_ has no row", "no std::atomic is known by that name", "there is no atomic text::flag_"]),
    ("variable and parameter without a row", {"src/low/low.cpp": "void raise(std::atomic<int>& peak);\nstd::atomic<int> now{0};\n"},
     ["src/low/low.cpp:1: the atomic peak has no row", "src/low/low.cpp:2: the atomic now has no row"]),
    ("reference to another atomic is none", {**ATOMICS, "src/low/low.cpp": '#include "text.hpp"\nvoid low::f(text& t) {\n'
                                             "  std::atomic<bool>& flag_ = t.flag_;\n  flag_.load(std::memory_order_relaxed);\n}\n"},
     ["the code says relaxed, acquire, release"]),
    ("operator on an atomic", with_atomics("flag_.store(true, std::memory_order_release)", "flag_ = true"),
     ["src/low/text.hpp:5: an operator on the atomic flag_", "the code says acquire"]),
    ("fence without a row", with_atomics("{ flag_.store", "{ std::atomic_thread_fence(std::memory_order_acquire); flag_.store"),
     ["src/low/text.hpp:5: the atomic text::atomic_thread_fence has no row"]),
    ("builtin", {"src/low/low.cpp": "int f(int* p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }\n"},
     ["src/low/low.cpp:1: __atomic_load_n: nothing but a std::atomic"]),
    ("nameless reference", {"src/low/low.cpp": "int f(int& i) { return std::atomic_ref(i).load(std::memory_order_relaxed); }\n"},
     ["src/low/low.cpp:1: std::atomic_ref(: nothing but", "no std::atomic is known by that name"]),
]


def faults_of(files):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        defaults = {
            "test/layers.txt": LAYERS, "test/tested_through.txt": "", "docs/design.md": "",
            "include/CMakeLists.txt": "".join(f"{name[8:]}\n" for name in files if name.startswith("include/")),
            "test/CMakeLists.txt": "".join(f"{name[5:]}\n" for name in files if name.endswith("_test.cpp"))}
        for name, text in {**defaults, **files}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        return faults_under(root)


def self_test():
    failures = []
    if faults_of(GOOD):
        failures.append(f"a good tree has faults: {faults_of(GOOD)}")
    if faults_of({**GOOD, **ATOMICS}):
        failures.append(f"a good table of atomics has faults: {faults_of({**GOOD, **ATOMICS})}")
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
