"""How numbers are written: no more digits than say something."""


def three_digits(value):
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def two_digits(value):
    if value < 0.095:
        return f"{value:.2g}"
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"


def round_number(value):
    """For axes, whose numbers are round."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def time_text(nanoseconds, digits=three_digits):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= 0.9995 * size:
            return f"{digits(nanoseconds / size)} {unit}"
    return f"{digits(nanoseconds)} ns"


def bytes_text(value, digits=three_digits):
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= size:
            return f"{digits(value / size)} {unit}"
    return f"{value:.0f} B"
