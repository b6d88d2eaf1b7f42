"""The report's pictures, as SVG: readable in black and white, and on light and dark pages."""

import math

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402 (after the choice of how to draw)

from .wording import round_number, time_text, two_digits  # noqa: E402
from .results import geometric_mean  # noqa: E402

INK, PAPER, GRID = "#1f2328", "#ffffff", "#d0d7de"
IN_THE_DARK = {INK: "#e6edf3", PAPER: "#0d1117", GRID: "#3d444d", "#6e5c46": "#a8927a", "#6f42c1": "#9a78dd"}
WIDTH = 8.2  # inches, a hundred pixels each
OURS = "cistern"
# Contestant → its name in pictures and tables, colour, marker, line, hatch of its bars. In the order of legends.
STYLES = {
    "cistern": ("Cistern", "#0969da", "o", "-", ""),
    "cistern-unsync": ("Cistern, one thread", "#3d8ff0", "D", (0, (6, 1)), ""),
    "cistern-sync": ("Cistern, threads", "#0969da", "o", "-", ""),
    "cistern-unsync-pmr": ("Cistern, one thread, virtual call", "#3d8ff0", "d", (0, (6, 1, 1, 1)), ""),
    "cistern-sync-pmr": ("Cistern, threads, virtual call", "#0969da", "8", (0, (3, 1)), ""),
    "mimalloc-newest": ("mimalloc, newest", "#cf5c36", "s", "--", "///"),
    "mimalloc": ("mimalloc", "#cf5c36", "s", "--", "///"),
    "snmalloc": ("snmalloc", "#8250df", "^", "-.", "\\\\\\"),
    "rpmalloc": ("rpmalloc", "#1a9a5c", "v", ":", "////"),
    "jemalloc": ("jemalloc", "#b08800", "P", (0, (3, 1, 1, 1)), "xxx"),
    "tcmalloc": ("tcmalloc (gperftools)", "#c2479b", "X", (0, (1, 1)), "+++"),
    "new-delete": ("new/delete (glibc)", "#7d8590", "h", (0, (4, 2)), "---"),
    "std-allocator": ("std::allocator (glibc)", "#7d8590", "h", (0, (4, 2)), "---"),
    "pmr-string": ("std::pmr::string", "#7d8590", "h", (0, (4, 2)), "---"),
    "pmr-vector": ("std::pmr::vector<char>", "#9a8c7c", "<", (0, (1, 2)), "||"),
    "vector-resize": ("std::vector, resized", "#9a8c7c", "<", (0, (1, 2)), "||"),
    "fmt-memory-buffer": ("fmt::memory_buffer", "#cf5c36", "s", "--", "///"),
    "beast-flat-buffer": ("beast::flat_buffer", "#2f7f78", "*", (0, (5, 3)), "/|"),
    "asio-streambuf": ("asio::streambuf", "#8250df", "^", "-.", "\\\\\\"),
    "ostringstream": ("std::ostringstream", "#b08800", "P", (0, (3, 1, 1, 1)), "xxx"),
    "mutex-vector": ("vector, mutex", "#7d8590", "h", (0, (4, 2)), "---"),
    "boost-lockfree": ("boost::lockfree::stack", "#2f7f78", "*", (0, (5, 3)), "/|"),
    "go-mutex-slice": ("Go: slice, mutex", "#9a8c7c", "<", (0, (1, 2)), "||"),
    "go-channel": ("Go: channel", "#8250df", "^", "-.", "\\\\\\"),
    "go-channel-factory": ("Go: channel, factory", "#8250df", "^", "-.", "\\\\\\"),
    "go-sync-pool": ("Go: sync.Pool", "#cf5c36", "s", "--", "///"),
    "glibc": ("glibc", "#7d8590", "h", (0, (4, 2)), "---"),
    "std-unsync": ("std::pmr, one thread", "#9a8c7c", "<", (0, (1, 2)), "||"),
    "std-sync": ("std::pmr, threads", "#6e5c46", ">", (0, (2, 2)), "|||"),
    "boost-unsync": ("Boost, one thread", "#5fa8a0", "p", (0, (5, 3)), "\\\\"),
    "boost-sync": ("Boost, threads", "#2f7f78", "*", (0, (5, 3)), "/|"),
    "tcmalloc-google": ("tcmalloc (google)", "#99286e", "X", (0, (1, 1)), "++"),
    "boost-pool": ("Boost.Pool, one size", "#5fa8a0", "H", (0, (5, 3)), "\\\\\\\\"),
    "foonathan-pool": ("foonathan/memory, one size", "#8a9a3b", "d", (0, (1, 3)), "//"),
    "floor": ("a list of one size", "#a0a0a0", "_", (0, (1, 4)), ""),
    "monotonic": ("never frees", "#a0a0a0", "_", (0, (1, 4)), ""),
}
SPARE_COLOURS = ("#6f42c1", "#bf8700", "#1b7c83", "#a0522d")
CHOSEN = ("cistern-unsync", "cistern-sync", "mimalloc*", "snmalloc", "jemalloc", "tcmalloc", "new-delete", "std-unsync", "std-sync",
          "boost-sync")


def style(name):
    if name in STYLES:
        return STYLES[name]
    return (name, SPARE_COLOURS[sum(map(ord, name)) % len(SPARE_COLOURS)], "d", (0, (3, 3)), "-|")


def label(name):
    return style(name)[0]


def is_ours(name):
    return name.startswith(OURS)


def chosen(results, rows, names=CHOSEN):
    """Those of the names that ran any of the rows."""
    known = results.contestants(rows)
    return [name for name in dict.fromkeys(map(results.resolve, names)) if name in known]


def line_style(name):
    _, colour, marker, line, _ = style(name)
    return {"color": colour, "marker": marker, "linestyle": line, "linewidth": 2.4 if is_ours(name) else 1.4, "markersize": 5,
            "label": label(name)}


def bar_style(name):
    _, colour, _, _, hatch = style(name)
    return {"facecolor": colour if is_ours(name) else "none", "edgecolor": colour, "hatch": hatch, "linewidth": 1}


def figure(columns, width, height, rows=1):
    pyplot.rcdefaults()
    pyplot.rcParams.update({
        "svg.fonttype": "none", "svg.hashsalt": "cistern", "font.family": "sans-serif", "font.size": 10, "hatch.linewidth": 1,
        "font.sans-serif": ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"], "axes.titlesize": 11,
        "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
        "figure.facecolor": PAPER, "axes.facecolor": "none", "legend.frameon": False, "axes.spines.top": False,
        "axes.spines.right": False, "grid.color": GRID, "axes.grid": True, "axes.axisbelow": True, "axes.titlelocation": "left"})
    made, axes = pyplot.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained")
    return made, list(axes.flat)


def save(made, path, title):
    """With the dark page's colours for browsers that ask for them. The picture brings its ground along, so that it can be
    read too where page and browser disagree about what is dark."""
    made.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None, "Title": title})
    pyplot.close(made)
    rules = "".join(f'[style*="{part}: {light}"]{{{part}:{dark}!important}}'
                    for light, dark in IN_THE_DARK.items() for part in ("fill", "stroke"))
    text = path.read_text(encoding="utf-8")
    text = text.replace("<defs>", f"<style>@media (prefers-color-scheme:dark){{{rules}}}</style>\n <defs>", 1)
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")


def use_plain_log(axis, ticks=None, show=round_number):
    """A logarithmic axis with numbers that people read."""
    axis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: show(value)))
    axis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    if ticks:
        axis.set_major_locator(matplotlib.ticker.FixedLocator(ticks))


def bars(axes, entries, names, xlabel):
    """Horizontal bars with whiskers: `entries` are (low, middle, high)."""
    places = range(len(names))
    for place, name, (low, middle, high) in zip(places, names, entries):
        axes.barh(place, middle, height=0.72, **bar_style(name))
        axes.plot([low, high], [place, place], color=INK, linewidth=1.2, marker="|", markersize=5)
        axes.annotate(two_digits(middle), (max(high, middle), place), xytext=(5, 0), textcoords="offset points", va="center",
                      color=INK, fontweight="bold" if is_ours(name) else "normal")
    axes.set_yticks(list(places), [label(name) for name in names])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(xlabel)
    axes.margins(x=0.14)
    axes.set_xlim(left=0)


def spread(values):
    """Quartiles around the geometric mean of what several rows gave."""
    values = sorted(values)
    return (values[(len(values) - 1) // 4], geometric_mean(values), values[len(values) - 1 - (len(values) - 1) // 4])


def overview(results, rows, big_rows):
    """What a reader gains on real programs: time and memory beside new and delete."""
    names = chosen(results, rows)
    times, overheads = {}, {}
    for name in names:
        ratios = results.ratios(rows, name, "new-delete")["median"]
        if len(ratios):
            times[name] = spread(ratios)
        values = [value for row in big_rows if (value := results.overhead(row, name)) is not None]
        if values:
            overheads[name] = spread(values)
    names = sorted(times, key=lambda name: times[name][1])
    if not names:
        return None
    made, (left, right) = figure(2, WIDTH, 0.9 + 0.34 * len(names))
    bars(left, [times[name] for name in names], names, "time; new/delete = 1")
    left.set_title(f"Time: {len(rows)} real programs' allocations")
    with_memory = [name for name in names if name in overheads]
    bars(right, [overheads[name] for name in with_memory], with_memory, "memory taken / asked for, at the peak")
    right.set_title("Memory")
    right.set_yticks(range(len(with_memory)), [""] * len(with_memory)) if with_memory == names else None
    return made


def cut_off(axes, values):
    """Ends the axis where a bar that is far out would flatten all others, and says there how long it is."""
    usual = max(1, sorted(values)[len(values) // 2])  # 1 is what all are compared with
    far_out = 6 * usual
    if max(values) <= far_out:
        return
    end = 1.6 * max(value for value in values if value <= far_out)
    axes.set_xlim(0, end)
    for place, value in enumerate(values):
        if value > end:
            axes.annotate(f"{two_digits(value)} →", (1, place), xycoords=("axes fraction", "data"), ha="right", va="center",
                          color=INK, bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1})


def ratio_bars(results, groups, names, reference, columns=2):
    """For each group (title → rows, or rows and what is measured) bars of the geometric means, with the quartiles of the
    rows or, of a single row, of its repetitions."""
    groups = {title: group if isinstance(group, tuple) else (group, "ns") for title, group in groups.items()}
    kept = {}
    for title, (rows, measure) in groups.items():
        entries = {}
        for name in names:
            ratios = results.ratios(rows, name, reference, measure)
            if len(ratios) == 1:
                entries[name] = tuple(ratios.iloc[0])
            elif len(ratios):
                entries[name] = spread(ratios["median"])
        if len(entries) > 1:
            kept[title] = entries
    if not kept:
        return None
    lines = math.ceil(len(kept) / columns)
    most = max(map(len, kept.values()))
    made, axes = figure(columns, WIDTH, 0.2 + lines * (0.55 + 0.24 * most), lines)
    for number, (place, (title, entries)) in enumerate(zip(axes, kept.items())):
        is_lowest = number + columns >= len(kept)
        what = "time" if groups[title][1] == "ns" else "memory"
        bars(place, list(entries.values()), list(entries), f"{what}; {label(reference)} = 1" if is_lowest else "")
        cut_off(place, [entry[1] for entry in entries.values()])
        place.set_title(title)
    for place in axes[len(kept):]:
        place.set_visible(False)
    return made


def curves(results, panels, names, xlabel, xlog=True, xticks=None):
    """Time against a number: `panels` are title → {number: row}."""
    panels = {title: points for title, points in panels.items() if len(points) > 1}
    if not panels:
        return None
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    made, axes = figure(columns, WIDTH, 0.9 + 2.6 * lines if columns > 1 else 4.6, lines)
    for place, (title, points) in zip(axes, panels.items()):
        for name in names:
            found = [(number, results.median(row, name)) for number, row in sorted(points.items()) if results.has(row, name)]
            if found:
                place.plot(*zip(*found), **line_style(name))
        place.set_yscale("log")
        if xlog:
            place.set_xscale("log", base=2)
        place.set_xticks(sorted(points), [xticks(number) if xticks else str(number) for number in sorted(points)])
        place.minorticks_off()
        use_plain_log(place.yaxis, show=lambda value: time_text(value, round_number))
        low, high = place.get_ylim()
        if high / low < 100:
            place.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
        place.set_title(title)
        place.set_xlabel(xlabel)
    for place in axes[:len(panels):columns]:
        place.set_ylabel("time of an operation")
    for place in axes[len(panels):]:
        place.set_visible(False)
    legend_of(made, axes[:len(panels)])
    return made


def legend_of(made, axes):
    handles = {}
    for place in axes:
        for handle, name in zip(*place.get_legend_handles_labels()):
            handles.setdefault(name, handle)
    made.legend(handles.values(), handles.keys(), loc="upper center", bbox_to_anchor=(0.5, 0), ncols=min(5, len(handles)))


def held_over_time(results, titles, names):
    """`titles`: scene → title. The grey ground is what the program has live."""
    scenes = {scene: title for scene, title in titles.items() if results.held.get(scene)}
    if not scenes:
        return None
    made, axes = figure(len(scenes), WIDTH, 4)
    for place, (scene, title) in zip(axes, scenes.items()):
        drawn = {name: results.held[scene][name] for name in map(results.resolve, names) if name in results.held[scene]}
        ground = next(iter(drawn.values()))
        place.fill_between(progress(ground), 0, megabytes(ground["live_bytes"]), color=GRID, label="live")
        for name, curve in drawn.items():
            place.plot(progress(curve), megabytes(curve["resident_bytes"]), markevery=max(1, len(curve["seconds"]) // 6),
                       **line_style(name))
        place.set_title(title)
        place.set_xlabel("progress of the work, %")
        place.set_ylabel("resident, MiB")
        place.set_ylim(bottom=0)
    legend_of(made, axes)
    return made


def progress(curve):
    """0 to 100: who takes longer for the same work isn't the question here."""
    last = max(1, len(curve["seconds"]) - 1)
    return [100 * number / last for number in range(last + 1)]


def megabytes(values):
    return [value / 2**20 for value in values]


def trace_dots(results, rows, names):
    """A dot for each program and contestant: left is faster than new and delete, below is smaller."""
    made, (place,) = figure(1, WIDTH, 5.4)
    any_dot = False
    for name in names:
        times = results.ratios(rows, name, "new-delete")["median"]
        sizes = results.ratios(rows, name, "new-delete", "peak_bytes")["median"]
        both = [row for row in times.index if row in sizes.index and times[row] > 0 and sizes[row] > 0]
        if both and name != "new-delete":
            any_dot = True
            drawn = line_style(name)
            place.plot([times[row] for row in both], [sizes[row] for row in both], alpha=0.85,
                       **{**drawn, "linestyle": "none", "markersize": 8 if is_ours(name) else 6,
                          "markerfacecolor": drawn["color"] if is_ours(name) else "none"})
    if not any_dot:
        pyplot.close(made)
        return None
    place.axvline(1, color=INK, linewidth=1)
    place.axhline(1, color=INK, linewidth=1)
    place.set_xscale("log")
    place.set_yscale("log")
    use_plain_log(place.xaxis, [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10])
    use_plain_log(place.yaxis, [0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50, 100, 200, 500])
    place.minorticks_off()
    place.set_xlabel("time; new/delete = 1")
    place.set_ylabel("memory at the peak; new/delete = 1")
    place.set_title("A dot is a program: further left is faster, further down is smaller")
    legend_of(made, [place])
    return made
