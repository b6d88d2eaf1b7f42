"""docs/performance.md from performance.md.in, which has the words, and the results, which have the figures.

In the words stand {{FIGURE}}s. A line of its own may be {{table NAME}}; {{losses ROWS OURS THEIRS}}, behind which
"ROWS: why" follow, up to {{end}}, the lines that continue one indented; or {{if ROWS CONTESTANT...}} up to {{end}}, which goes where one of them wasn't measured.
In any other page a figure stands between <!-- figure: FIGURE --> and <!-- /figure -->.
"""

import re
import textwrap

from . import pictures
from .wording import bytes_text, three_digits, time_text, two_digits
from .results import NotMeasured, geometric_mean

INLINE = re.compile(r"\{\{([^{}]+)\}\}")
MARKED = re.compile(r"(<!-- figure: (.+?) -->)(.*?)(<!-- /figure -->)", re.DOTALL)
LOSS = 1.05  # a ratio from which on we are behind
SMALL_BYTES = 2**20  # below, memory is what a heap takes to begin with


def big_rows(results, rows):
    """Those whose memory says something, by all that ran them."""
    return [row for row in rows if any(results.has(row, name, "live_bytes") and
                                       results.median(row, name, "live_bytes") >= SMALL_BYTES
                                       for name in results.contestants([row]))]


class Figures:
    """The figures that words can name: each is a function of the words behind its name."""

    def __init__(self, results, machine, folder="."):
        self.results = results
        self.machine = machine
        self.folder = folder  # of pictures and data, as the page sees it

    def text(self, key):
        name, *words = key.split()
        made = getattr(self, "figure_" + name.replace("-", "_"), None)
        if made is None:
            raise ValueError(f"there is no figure called {name} ({key})")
        try:
            return made(*words)
        except TypeError as error:
            raise ValueError(f"{key}: {error}") from error

    def rows(self, prefixes):
        """Of 'pool/pair,pool/batch' all."""
        return [row for prefix in prefixes.split(",") for row in self.results.rows_below(prefix)]

    def figure_faster(self, prefixes, ours, theirs):
        """How many times as fast, in the geometric mean."""
        return two_digits(1 / self.results.mean_ratio(self.rows(prefixes), ours, theirs))

    def figure_share(self, prefixes, ours, theirs):
        """Our time by theirs, in the geometric mean."""
        return two_digits(self.results.mean_ratio(self.rows(prefixes), ours, theirs))

    def figure_memory_share(self, prefixes, ours, theirs):
        return two_digits(self.results.mean_ratio(big_rows(self.results, self.rows(prefixes)), ours, theirs, "peak_bytes"))

    def figure_overhead(self, prefixes, contestant):
        """Memory taken by memory asked for, in the geometric mean of the rows that ask for more than a little."""
        values = [self.results.overhead(row, contestant) for row in big_rows(self.results, self.rows(prefixes))]
        values = [value for value in values if value]
        if not values:
            raise NotMeasured(f"memory of {contestant} in {prefixes}")
        return two_digits(geometric_mean(values))

    def figure_time(self, row, contestant):
        return time_text(self.results.median(row, contestant))

    def figure_count(self, prefixes):
        return str(len(self.rows(prefixes)))

    def figure_count_big(self, prefixes):
        return str(len(big_rows(self.results, self.rows(prefixes))))

    def figure_folder(self):
        return self.folder

    def figure_version(self):
        return self.results.version

    def figure_machine(self, field):
        return str(self.machine[field])


def markdown(header, lines):
    return ["| " + " | ".join(header) + " |", "| --- |" + " ---: |" * (len(header) - 1),
            *("| " + " | ".join(line) + " |" for line in lines)]


def ratio_table(results, groups, names, reference):
    """A line for each contestant, a column for each group: geometric means of the time by the reference's."""
    lines = []
    for name in names:
        cells = []
        for rows in groups.values():
            try:
                cells.append(two_digits(results.mean_ratio(rows, name, reference)))
            except NotMeasured:
                cells.append("-")
        if set(cells) != {"-"}:
            lines.append([pictures.label(name), *cells])
    return markdown(["time; " + pictures.label(reference) + " = 1", *groups], lines)


def table_of(rows, names, cell):
    """A line for each row, a column for each contestant, of those of which the cell isn't None."""
    cells = {row: {name: text for name in names if (text := cell(row, name)) is not None} for row in rows}
    names = [name for name in names if any(name in each for each in cells.values())]
    return markdown(["", *map(pictures.label, names)],
                    [[f"`{row.partition('/')[2]}`", *(each.get(name, "-") for name in names)] for row, each in cells.items() if each])


def value_table(results, rows, names, measure="ns"):
    show = time_text if measure == "ns" else bytes_text
    return table_of(rows, names, lambda row, name: show(results.median(row, name, measure))
                    if results.has(row, name, measure) else None)


def turned_table(results, rows, names):
    """A line for each contestant, a column for each row."""
    lines = [[pictures.label(name), *(time_text(results.median(row, name)) if results.has(row, name) else "-" for row in rows)]
             for name in names]
    return markdown(["", *(f"`{row.partition('/')[2]}`" for row in rows)], lines)


def overhead_table(results, rows, names):
    return table_of(rows, names, lambda row, name: two_digits(value)
                    if (value := results.overhead(row, name)) is not None else None)


def count(value):
    return "-" if value is None else str(value) if isinstance(value, int) else three_digits(value)


def instruction_table(counts):
    compilers = sorted(counts, reverse=True)
    paths = sorted({path for compiler in compilers for path in counts[compiler]}, key=lambda path: (path.split()[1], path))
    return markdown(["instructions", *(" ".join(compiler.split("-")[:2]) for compiler in compilers)],
                    [[path, *(count(counts[compiler].get(path)) for compiler in compilers)] for path in paths])


def item(text):
    return textwrap.wrap(text, 115, initial_indent="* ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def losses(figures, words, reasons):
    """What ours takes longer for, with the reason where there is one."""
    prefixes, ours, theirs = words
    ratios = figures.results.ratios(figures.rows(prefixes), ours, theirs)["median"]
    if ratios.empty:
        raise NotMeasured(f"{ours} beside {theirs} in {prefixes}")
    behind = {row: ratio for row, ratio in ratios.items() if ratio > LOSS}
    lines = []
    for reason in re.sub(r"\n\s+", " ", "\n".join(reasons)).splitlines():
        start, _, why = reason.partition(": ")
        of_reason = [row for row in figures.rows(start) if row in behind]
        if of_reason:
            named = ", ".join(f"`{row.partition('/')[2]}` ({two_digits(behind.pop(row))})" for row in of_reason)
            lines += item(f"{named}: {why}")
    if behind:
        lines += item("Also " + ", ".join(f"`{row.partition('/')[2]}` ({two_digits(ratio)})" for row, ratio in behind.items()) + ".")
    return lines or [f"* Nowhere by more than {LOSS - 1:.0%}."]


class Page:
    """The page, from the template's lines."""

    def __init__(self, figures, tables):
        self.figures = figures
        self.tables = tables  # name → a function that gives lines

    def made_from(self, template):
        text = "\n".join(self.block(iter(template.splitlines())))
        return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"

    def block(self, lines, is_wanted=True, is_inner=False):
        made = []
        for line in lines:
            words = line[2:-2].split() if line.startswith("{{") and line.endswith("}}") and line.count("{{") == 1 else [""]
            if words[0] == "end" and is_inner:
                return made
            if words[0] == "if":
                inner = self.block(lines, is_wanted and self.is_measured(words[1], words[2:]), True)
                made += inner
            elif words[0] == "losses":
                reasons = list(iter(lambda: next(lines), "{{end}}"))
                made += losses(self.figures, words[1:], reasons) if is_wanted else []
            elif words[0] == "table":
                made += self.tables[words[1]]() if is_wanted else []
            elif is_wanted:
                made.append(INLINE.sub(lambda found: self.figures.text(found[1]), line))
        if is_inner:
            raise ValueError("a block of the template has no {{end}}")
        return made

    def is_measured(self, prefixes, contestants):
        results = self.figures.results
        if prefixes.startswith("held/"):
            return bool(results.held.get(prefixes.removeprefix("held/")))
        rows = self.figures.rows(prefixes)
        return bool(rows) and all(any(results.has(row, name) for row in rows) for name in contestants)


def with_figures(figures, text):
    """Another page, its marked figures replaced by those of the results."""
    return MARKED.sub(lambda found: found[1] + figures.text(found[2]) + found[4], text)
