"""Lays out line charts. `templates/chart.html` draws them as SVG, and the style of its page colours them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_MOST_TICKS = 5
_MOST_DOTS = 60


@dataclass(frozen=True)
class Frame:
    """The size of a chart, and the edges of its plot. Labels of 12 units fit on a phone 400 pixels wide."""

    width: int = 380
    height: int = 240
    left: int = 56
    right: int = 352
    top: int = 40
    bottom: int = 198


FRAME = Frame()


@dataclass(frozen=True)
class Mark:
    """A labelled place on the chart: a tick (x or y alone counts), or a value."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A line chart in units of its SVG. `dots` are the values, if they are few. `note` is None if all values are shown.

    `description` is for readers who do not see the chart.
    """

    title: str
    x_label: str
    y_label: str
    description: str
    note: str | None
    x_ticks: Sequence[Mark]
    y_ticks: Sequence[Mark]
    line: Sequence[tuple[float, float]]
    dots: Sequence[Mark]
    best: Mark | None


def line_chart(values: Mapping[int, float], *, title: str, x: str, y: str, best: int | None = None) -> Chart | None:
    """Lays out y by x, in the order of x. `best` is the x that is marked. Returns None without a finite value."""
    known = {at: values[at] for at in sorted(values) if math.isfinite(values[at])}
    if not known:
        return None
    across, up = _ticks(list(known), is_whole=True), _ticks(list(known.values()))
    left, right = _widened(list(known))
    low, high = min(up[0], *known.values()), max(up[-1], *known.values())

    def mark(at: float, value: float, label: str) -> Mark:
        across_plot = (at - left) / (right - left) * (FRAME.right - FRAME.left)
        up_plot = (value - low) / (high - low) * (FRAME.bottom - FRAME.top)
        return Mark(round(FRAME.left + across_plot, 1), round(FRAME.bottom - up_plot, 1), label)

    marks = {at: mark(at, value, f"{x} {at:,}: {value:.4g}") for at, value in known.items()}
    return Chart(
        title,
        x,
        y,
        _describe(known, title, x),
        f"{len(values) - len(known)} values are no numbers and are not shown." if len(known) < len(values) else None,
        [mark(tick, low, label) for tick, label in zip(across, _labels(across), strict=True)],
        [mark(left, tick, label) for tick, label in zip(up, _labels(up), strict=True)],
        [(each.x, each.y) for each in marks.values()],
        list(marks.values()) if len(marks) <= _MOST_DOTS else [],
        marks.get(best) if best is not None else None,
    )


def means(values: Mapping[int, float], most: int) -> tuple[dict[int, float], int]:
    """At most `most` values: each is the mean of n neighbours, at the last of their places. Returns n as well."""
    places = sorted(values)
    n = math.ceil(len(places) / most) or 1
    groups = [places[start : start + n] for start in range(0, len(places), n)]
    return {group[-1]: math.fsum(values[at] for at in group) / len(group) for group in groups}, n


def _describe(known: Mapping[int, float], title: str, x: str) -> str:
    (first, at_first), (last, at_last) = next(iter(known.items())), list(known.items())[-1]
    lowest, highest = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    return (
        f"{title}: {at_first:.4g} at {x} {first:,}, {at_last:.4g} at {x} {last:,}; "
        f"lowest {known[lowest]:.4g} at {x} {lowest:,}, highest {known[highest]:.4g} at {x} {highest:,}."
    )


def _widened(values: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest value, moved apart if they are equal."""
    low, high = min(values), max(values)
    margin = (abs(low) or 1.0) / 2 if low == high else 0.0
    return low - margin, high + margin


def _ticks(values: Sequence[float], *, is_whole: bool = False) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten. Whole ones lie between the values, others also around them."""
    low, high = (min(values), max(values)) if is_whole else _widened(values)
    power = 10.0 ** math.floor(math.log10((high - low) / _MOST_TICKS)) if high > low else 1.0
    step = next(power * m for m in (1, 2, 5, 10) if (high - low) / (power * m) <= _MOST_TICKS)
    step = max(1.0, step) if is_whole else step
    first, last = round(low / step, 6), round(high / step, 6)  # 0.3 / 0.1 is 2.9999999999999996
    if is_whole:
        return [n * step for n in range(math.ceil(first), math.floor(last) + 1)]
    return [n * step for n in range(math.floor(first), math.ceil(last) + 1)]


def _labels(ticks: Sequence[float]) -> list[str]:
    """The ticks as text, with the decimals that tell them apart."""
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    if step >= 1e6 or step < 1e-4:
        return [f"{tick:.3g}" for tick in ticks]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{tick:,.{decimals}f}" for tick in ticks]
