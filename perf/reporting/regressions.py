"""Has anything become slower, or done more, than an earlier report says?

Times are compared by ratios, as no two runs of a machine are equally fast: what a contestant of ours takes beside each of
its peers, now and then. The median over the peers says how much of it is ours.
"""

import statistics

from .pictures import is_ours

MOST = 1.15  # a loss from which on a row is suspicious
REPEATED = 3  # so often it must be seen again
# What the system has a hand in, so that it isn't the same twice.
NOT_EXACT = ("ns", "peak_bytes", "growth_bytes", "left_bytes", "held_bytes", "resident_bytes")


def is_judged(row, name):
    """Whether a contestant is ours; the others are the measure. Adaptors are measured by the pool that they are over."""
    return name != "bare" if row.startswith("adaptor/") else is_ours(name)


def ours_in(then, now):
    return [(row, name) for row in now.rows for name in now.runs[row] if is_judged(row, name) and then.has(row, name)]


def loss(then, now, row, name):
    """How many times the earlier time this takes now, as its peers are the measure; None where there are none."""
    peers = [peer for peer in now.runs[row] if not is_judged(row, peer) and then.has(row, peer)]
    changes = [now.ratio(row, name, peer).median() / then.ratio(row, name, peer).median() for peer in peers]
    changes = [change for change in changes if change == change]  # where nothing is left of a net time, there is none
    return statistics.median(changes) if changes else None


def losses(then, now):
    """{(row, contestant): loss} of what is suspicious."""
    found = {place: loss(then, now, *place) for place in ours_in(then, now)}
    return {place: value for place, value in found.items() if value is not None and value > MOST}


def repeated(then, suspicious, measure):
    """Of these losses those that are seen again each time. `measure` takes rows and gives results."""
    for _ in range(REPEATED):
        if not suspicious:
            break
        again = losses(then, measure(sorted({row for row, _ in suspicious})))
        suspicious = {place: min(value, again[place]) for place, value in suspicious.items() if place in again}
    return suspicious


def exact_counters(results, row, name):
    """Those that were the same in each repetition."""
    measures = results.rows[row][name]
    return {counter: value for counter, value in measures.items()
            if counter not in NOT_EXACT and not isinstance(value, list)}


def grown_counters(then, now):
    """[(row, contestant, counter, before, now)] of what must not differ and is more."""
    grown = []
    for row, name in ours_in(then, now):
        before = exact_counters(then, row, name)
        grown += [(row, name, counter, before[counter], value) for counter, value in exact_counters(now, row, name).items()
                  if counter in before and value > before[counter] * 1.001]
    return grown
