"""Line charts as SVG elements that follow the page: its colours, dark or light, its width, and paper.

Series differ in colour (Okabe and Ito's palette, which colour-blind people can tell
apart) and in the pattern of their lines. The drawing is narrow, so that its text can
be read on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from omnireid.reports.parts import Chart, Table

_WIDTH, _HEIGHT = 420, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 24, 42
_LEGEND_LINE = 18
_STYLES = 3
_WIDEST_NAME = 52  # letters of a legend that fit


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Attributes:
        name: Its name in the legend.
        points: (x, y), from left to right.
        has_dots: Whether each point gets a dot.
        is_filled: Whether the area below the line is tinted.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    has_dots: bool = False
    is_filled: bool = False


@dataclass(frozen=True)
class Axis:
    """An axis.

    Attributes:
        label: What it shows.
        low: Smallest value.
        high: Largest value; larger than `low`.
        is_logarithmic: Whether equal steps are equal factors; `low` is then above 0.
    """

    label: str
    low: float
    high: float
    is_logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, from 0 to 1; values beyond the ends lie on them."""
        low, high = self.low, self.high
        if self.is_logarithmic:
            value, low, high = math.log10(max(value, low)), math.log10(low), math.log10(high)
        return min(max((value - low) / (high - low), 0.0), 1.0)

    def ticks(self) -> list[float]:
        """Round values along the axis, at most seven."""
        if self.is_logarithmic:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            return [10.0**power for power in powers]
        rough = (self.high - self.low) / 5
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
        first = math.ceil(self.low / step - 1e-9)
        return [round(index * step, 12) for index in range(first, math.floor(self.high / step + 1e-9) + 1)]


def draw_lines(
    title: str,
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    *,
    has_diagonal: bool = False,
    levels: Sequence[tuple[float, str]] = (),
) -> Chart:
    """Draw lines over two axes.

    Args:
        title: Heading of the chart.
        series: The lines, at most three patterns of which differ.
        x: The horizontal axis.
        y: The vertical axis.
        has_diagonal: Whether a thin line shows where y equals x.
        levels: Heights with a thin line, and their names.
    """
    legend = _LEGEND_LINE * len(series)
    parts = [*_axes(x, y)]
    if has_diagonal:
        parts.append(_line([(x.low, y.low), (x.high, y.high)], x, y, "reference"))
    for level, name in levels:
        parts.append(_line([(x.low, level), (x.high, level)], x, y, "reference"))
        left, height = _corner(x.high, level, x, y)
        parts.append(_text(left - 4, height - 4, name, "end", "label"))
    for number, one in enumerate(series):
        style = f"s{number % _STYLES + 1}"
        if one.is_filled and one.points:
            area = [(one.points[0][0], y.low), *one.points, (one.points[-1][0], y.low)]
            parts.append(f'<polygon class="{style} area" points="{_join(area, x, y)}"/>')
        parts.append(_line(one.points, x, y, style))
        if one.has_dots:
            for point in one.points:
                left, top = _corner(*point, x, y)
                parts.append(f'<circle class="{style} dot" cx="{left:.1f}" cy="{top:.1f}" r="3"/>')
        top = _HEIGHT + _LEGEND_LINE * number + 8
        parts.append(f'<line class="{style}" x1="{_LEFT}" x2="{_LEFT + 30}" y1="{top}" y2="{top}"/>')
        parts.append(_text(_LEFT + 38, top + 4, one.name[:_WIDEST_NAME], "start", "name"))
    names = "; ".join(one.name for one in series)
    svg = (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + legend}" role="img" aria-label="{escape(title)}: {escape(names)}">'
        f"{''.join(parts)}</svg>"
    )
    return Chart(title, svg, _values(series, x))


def stairs(edges: Sequence[float], heights: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """The outline of a histogram.

    >>> stairs([0, 1, 2], [3, 4])
    ((0, 3), (1, 3), (1, 4), (2, 4))
    """
    steps = zip(pairwise(edges), heights, strict=True)
    return tuple(point for (left, right), height in steps for point in ((left, height), (right, height)))


def axis_over(label: str, values: Sequence[float], *, least: float | None = None) -> Axis:
    """An axis from the smallest value, or `least`, to a little above the largest."""
    low = min(values, default=0.0) if least is None else least
    high = max(values, default=1.0)
    return Axis(label, low, high + 0.05 * (high - low) if high > low else low + 1.0)


def _axes(x: Axis, y: Axis) -> Iterator[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for tick in y.ticks():
        _, top = _corner(x.low, tick, x, y)
        yield f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{top:.1f}" y2="{top:.1f}"/>'
        yield _text(_LEFT - 6, top + 4, _short(tick, y), "end", "tick")
    for tick in x.ticks():
        left, _ = _corner(tick, y.low, x, y)
        yield f'<line class="grid" x1="{left:.1f}" x2="{left:.1f}" y1="{_TOP}" y2="{bottom}"/>'
        yield _text(left, bottom + 15, _short(tick, x), "middle", "tick")
    yield _text((_LEFT + right) / 2, bottom + 34, x.label, "middle", "label")
    yield _text(6, 12, y.label, "start", "label")


def _short(value: float, axis: Axis) -> str:
    if axis.is_logarithmic and value < 0.001:
        return f"1e{round(math.log10(value))}"
    return f"{value:g}" if abs(value) < 10_000 else f"{value / 1000:g}k"


def _corner(left: float, top: float, x: Axis, y: Axis) -> tuple[float, float]:
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    return _LEFT + width * x.place(left), _TOP + height * (1 - y.place(top))


def _join(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    return " ".join(f"{left:.1f},{top:.1f}" for left, top in (_corner(*point, x, y) for point in points))


def _line(points: Sequence[tuple[float, float]], x: Axis, y: Axis, style: str) -> str:
    return f'<polyline class="{style}" points="{_join(points, x, y)}"/>'


def _text(left: float, top: float, text: str, anchor: str, style: str) -> str:
    return f'<text class="{style}" x="{left:.1f}" y="{top:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _values(series: Sequence[Series], x: Axis) -> Table:
    """The points as a table, with a row for each x that any series has."""
    known = [dict(one.points) for one in series]
    places = sorted({place for points in known for place in points})
    rows = tuple(
        (f"{place:.4g}", *(f"{points[place]:.4g}" if place in points else "" for points in known)) for place in places
    )
    return Table((x.label, *(one.name for one in series)), rows)
