"""Figures as people read them: medians with their ranges, ratios within one run, Markdown tables."""

import statistics


def _digits(value):
    return 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2


def number(value):
    return f"{value:,.{_digits(value)}f}"


def spread(values):
    """"12.3 (11.0-14.2)": the median and the range."""
    values = list(values)
    if not values:
        return "-"
    middle = number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({number(min(values))}-{number(max(values))})"


def ratio(ours, theirs):
    """The median of the ratios of pairs that were measured one right after the other."""
    pairs = [a / b for a, b in zip(ours, theirs) if b]
    return f"{statistics.median(pairs):.2f}" if pairs else "-"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)
