#!/usr/bin/env python3
"""Draws what soak wrote: plot.py soak.csv soak.svg"""

import csv
import sys

WIDTH, HEIGHT, MARGIN = 960, 420, 60
CURVES = [("live_bytes", "live", "#2a7f3f"), ("held_bytes", "held after the trim", "#1f4e9e"),
          ("before_trim_bytes", "from upstream before the trim", "#b0552a")]


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    with open(arguments[0], encoding="utf-8", newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    if not rows:
        print(f"{arguments[0]} has no rows", file=sys.stderr)
        return 1
    last = max(rows[-1]["seconds"], 1e-9)
    most = max(row[name] for row in rows for name, _, _ in CURVES) or 1

    def place(row, name):
        x = MARGIN + (WIDTH - 2 * MARGIN) * row["seconds"] / last
        y = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * row[name] / most
        return f"{x:.1f},{y:.1f}"

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
             f'font-size="13"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for quarter in range(5):
        y = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * quarter / 4
        parts.append(f'<path d="M{MARGIN} {y}H{WIDTH - MARGIN}" stroke="#ddd"/>'
                     f'<text x="{MARGIN - 6}" y="{y + 4}" text-anchor="end">{most * quarter / 4 / 2**20:.0f}</text>')
    parts.append(f'<text x="{MARGIN - 6}" y="{MARGIN - 14}" text-anchor="end">MiB</text>'
                 f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - MARGIN + 20}" text-anchor="end">{last:.0f} s</text>')
    for number, (name, words, colour) in enumerate(CURVES):
        line = " ".join(place(row, name) for row in rows)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
                     f'<text x="{MARGIN + 10 + 230 * number}" y="{MARGIN - 14}" fill="{colour}">{words}</text>')
    with open(arguments[1], "w", encoding="utf-8") as file:
        file.write("\n".join([*parts, "</svg>\n"]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
