"""How a number is written, the same in every table and sentence."""

from __future__ import annotations

import math

from threecad.curation.statistics import Quantiles, Span

YES, NO, NONE = "✓", "✗", "-"


def span(found: Span | None) -> str:
    return NONE if found is None else f"{found.least}~{found.most}"


def mark(count: int, total: int) -> str:
    return f"{YES if count else NO} {share(count, total)} %" if total else NONE


def share(count: int, total: int) -> str:
    """A share in per cent; never 0.0 or 100.0 where it is neither.

    >>> share(1, 3), share(0, 9), share(1, 100_000), share(99_999, 100_000), share(0, 0)
    ('33.3', '0.0', '<0.1', '>99.9', '-')
    """
    if not total:
        return NONE
    text = f"{100 * count / total:.1f}"
    if text == "0.0" and count:
        return "<0.1"
    return ">99.9" if text == "100.0" and count < total else text


def percent(share: float) -> str:
    """A share in per cent, of which two or three digits count.

    >>> [percent(share) for share in (1, 0.1234, 0.00456, 0.000078, 0.00000095, 0)]
    ['100', '12.3', '0.46', '0.0078', '9.5e-5', '0']
    """
    value = 100 * share
    if not value:
        return "0"
    if value < 0.001:
        digits, exponent = f"{value:.1e}".split("e")
        return f"{digits}e{int(exponent)}"
    if value < 1:
        return f"{value:.{1 - math.floor(math.log10(value))}f}"
    return number(value)


def number(value: float) -> str:
    """Three digits that count.

    >>> [number(value) for value in (1, 1.234, 12.34, 123.4, 1234.5, 0.0123)]
    ['1.00', '1.23', '12.3', '123', '1,234', '0.01']
    """
    return f"{value:,.{2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0}f}"


def middle(values: Quantiles) -> str:
    return f"{number(values.q50)} ({number(values.q5)}–{number(values.q95)})"
