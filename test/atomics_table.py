"""Compares the atomics of include/cistern and src with their table in docs/design.md.

Each std::atomic (a member, a variable, a parameter) has a row that names it, `class::name` or `name`, in its first
column, where a plain name behind a qualified one means another member of that class. The second column of its rows
has just the memory orders that its operations use; an operation without a stated order is seq_cst. A row names
nothing that isn't there. Fences are named as the function they stand in: `class::atomic_signal_fence`.
"""

import re

HEADING = "### Atomics"
ORDERS = ("relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst")
DECLARED = re.compile(r"std::atomic(?:_ref)?<")
OPERATION = re.compile(r"(?:\.|->)(load|store|exchange|compare_exchange_\w+|fetch_\w+|test_and_set|wait)\(")
FENCE = re.compile(r"\b(atomic_(?:signal|thread)_fence)\(")
BUILTIN = re.compile(r"\b(__atomic_\w+|__sync_\w+|std::atomic_ref\()")
ORDER = re.compile(r"memory_order(?:_|::)(\w+)")
CLASS = re.compile(r"^\s*(?:class|struct)\s+(?:alignas\(\w+\)\s+)?(?:[A-Z_]+(?:\([^)]*\))?\s+)?(\w+)")
OUT_OF_CLASS = re.compile(r"(\w+)(?:<\w+>)?::~?\w+\(")


def without_comments(text):
    """Keeps every line where it is."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", lambda found: "\n" * found.group().count("\n"), text, flags=re.DOTALL)


def closing(text, begin):
    """The position behind the bracket that closes the one at `begin`."""
    pairs = {"(": ")", "[": "]", "<": ">"}
    opening, depth = text[begin], 0
    for at in range(begin, len(text)):
        if text[at] == opening:
            depth += 1
        elif text[at] == pairs[opening]:
            depth -= 1
            if depth == 0:
                return at + 1
    return len(text)


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def class_around(text, at):
    """The class in whose body, or in the body of whose function, a position lies. Goes by indentation."""
    lines = text[:at].splitlines() or [""]
    indent = 1000
    for line in reversed(lines):
        here = len(line) - len(line.lstrip())
        if not line.strip() or line.startswith("#") or here >= indent:
            continue
        indent = here
        found = CLASS.match(line) or (here == 0 and OUT_OF_CLASS.search(line))
        if found:
            return found.group(1)
    return None


def qualified(owner, name):
    return f"{owner}::{name}" if owner else name


def declarations(text):
    """(position, name) of each atomic that a text declares; what only refers to another one isn't meant."""
    for found in DECLARED.finditer(text):
        line_begin = text.rfind("\n", 0, found.start()) + 1
        alias = re.match(r"\s*using (\w+) =", text[line_begin:])
        # The rest of what it is an element of, a reference, the name: but not of a member defined out of its class.
        name = re.match(r"(?:,[^<>;]*>)?([&\s]*)\b(\w+)\b\s*(?!::)(\S)", text[closing(text, found.end() - 1):])
        if alias:
            yield found.start(), alias.group(1)
        elif name and not ("&" in name.group(1) and name.group(3) == "="):
            yield found.start(), name.group(2)


def receiver(text, at):
    """The last name of what stands before the member access at `at`: `slot(i).uses` -> uses, `a_[i]` -> a_."""
    while at > 0 and text[at - 1] in ")]":
        opening = {")": "(", "]": "["}[text[at - 1]]
        depth, begin = 0, at - 1
        while begin >= 0:
            depth += {text[at - 1]: 1, opening: -1}.get(text[begin], 0)
            if depth == 0:
                break
            begin -= 1
        inner = re.match(r"\(\*(\w+)\)$", text[begin:at])
        if inner:
            return inner.group(1)
        at = begin
    name = re.search(r"(\w+)$", text[:at])
    return name.group(1) if name else ""


def own_arguments(arguments):
    """Without those of operations inside of them."""
    found = OPERATION.search(arguments)
    while found:
        arguments = arguments[:found.start()] + arguments[closing(arguments, found.end() - 1):]
        found = OPERATION.search(arguments)
    return arguments


def operators_on(name):
    return re.compile(rf"(?:\+\+|--) *{name}\b|(?<![\w.&] )\b{name}(?:\+\+|--| [-+|&^]?= )")


class Code:
    """The atomics in some files, with the orders of their operations."""

    def __init__(self, files):  # path: text
        self.faults = []
        self.where = {}  # qualified name: path:line
        self.orders = {}  # qualified name: set of orders
        self.by_name = {}  # name: {component: {qualified names}}
        texts = {path: without_comments(text) for path, text in files.items()}
        for path, text in texts.items():
            for at, name in declarations(text):
                self.declare(path, text, at, name)
        for path, text in texts.items():
            self.read_operations(path, text)

    def declare(self, path, text, at, name):
        full = qualified(class_around(text, at), name)
        self.where.setdefault(full, f"{path}:{line_of(text, at)}")
        self.orders.setdefault(full, set())
        self.by_name.setdefault(name, {}).setdefault(path.stem, set()).add(full)

    def atomics_called(self, name, path, text):
        """What a name may mean in a file: an atomic of its own component, else of any."""
        owners = self.by_name.get(name, {})
        if path.stem in owners:
            return owners[path.stem]
        if owners:
            return set().union(*owners.values())
        alias = re.search(rf"\b(\w+)[*&]+ {re.escape(name)}\b", text) if name else None
        return self.by_name.get(alias.group(1), {}).get(path.stem, set()) if alias else set()

    def read_operations(self, path, text):
        for found in OPERATION.finditer(text):
            orders = ORDER.findall(own_arguments(text[found.end() - 1:closing(text, found.end() - 1)]))
            atomics = self.atomics_called(receiver(text, found.start()), path, text)
            for each in atomics:
                self.orders[each] |= set(orders) or {"seq_cst"}
            if orders and not atomics:
                self.faults.append(f"{path}:{line_of(text, found.start())}: an operation with a memory order, and no "
                                   "std::atomic is known by that name")
        for found in FENCE.finditer(text):
            full = qualified(class_around(text, found.start()), found.group(1))
            self.where.setdefault(full, f"{path}:{line_of(text, found.start())}")
            self.orders.setdefault(full, set()).update(ORDER.findall(text[found.end():closing(text, found.end() - 1)]))
        for found in BUILTIN.finditer(text):
            self.faults.append(f"{path}:{line_of(text, found.start())}: {found.group(1)}: nothing but a std::atomic "
                               "that has a name can have a row in docs/design.md")
        for name, owners in self.by_name.items():
            if path.stem not in owners:
                continue
            for found in operators_on(name).finditer(text):
                if qualified(class_around(text, found.start()), name) in owners[path.stem]:
                    self.faults.append(f"{path}:{line_of(text, found.end() - 1)}: an operator on the atomic {name}, "
                                       "which is seq_cst unsaid")


def table(design):
    """name: (line number, orders) of the table of atomics; a name may have several rows."""
    rows, inside = {}, False
    for number, line in enumerate(design.splitlines(), 1):
        if line.startswith("#"):
            inside = line.startswith(HEADING)
        cells = line.split(" | ")
        if not inside or not line.startswith("| ") or len(cells) < 3 or cells[0] == "| what":
            continue
        owner = None
        orders = {order for order in ORDERS if re.search(rf"\b{order}\b", cells[1])}
        for name in re.findall(r"`([\w:]+)`", cells[0]):
            if "::" in name:
                owner = name.rsplit("::", 1)[0]
            full = name if "::" in name else qualified(owner, name)
            before = rows.get(full, (number, set()))
            rows[full] = (before[0], before[1] | orders)
    return rows


def faults(files, design):
    """Of `files` (path: text) and the text of docs/design.md."""
    code, rows = Code(files), table(design)
    result = list(code.faults)
    for name, place in sorted(code.where.items()):
        if name not in rows:
            result.append(f"{place}: the atomic {name} has no row in docs/design.md")
        elif rows[name][1] != code.orders[name]:
            result.append(f"docs/design.md:{rows[name][0]}: {name} is said to be {in_words(rows[name][1])}; "
                          f"the code says {in_words(code.orders[name])}")
    for name, (number, _) in sorted(rows.items()):
        if name not in code.where:
            result.append(f"docs/design.md:{number}: there is no atomic {name}")
    return result


def in_words(orders):
    return ", ".join(order for order in ORDERS if order in orders) or "without operations"
