"""How the numbers and names of an agreement are written for people, on the terminal and on the page."""

from __future__ import annotations

from threecad.pipeline.summary import plain


def share(value: float | None) -> str:
    """A share, a coefficient or a ratio.

    >>> share(0.5), share(None)
    ('0.500', '–')
    """
    return "–" if value is None else f"{value:.3f}"


def distance(value: float | None) -> str:
    """A distance in pixels.

    >>> distance(1234.5), distance(None)
    ('1,234.50', '–')
    """
    return "–" if value is None else f"{value:,.2f}"


def short(text: object, most: int) -> str:
    """A name or a label as it can be shown: nothing that turns the line around, and at most `most` letters, an even number.

    >>> short("a rather long label", 10)
    'a rat…abel'
    """
    shown = plain(text)
    return shown if len(shown) <= most else f"{shown[: most // 2]}…{shown[1 - most // 2 :]}"
