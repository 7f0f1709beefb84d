from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from omnireid.reports.charts import Axis, Series, axis_over, draw_lines, stairs


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis("", 0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (Axis("", 0.07, 0.41), [0.1, 0.2, 0.3, 0.4]),
        (Axis("", 0, 14.7), [0, 5, 10]),
        (Axis("", 1e-4, 1, is_logarithmic=True), [1e-4, 1e-3, 1e-2, 0.1, 1]),
    ],
)
def test_ticks_are_round_and_within_the_axis(axis: Axis, ticks: list[float]) -> None:
    assert axis.ticks() == pytest.approx(ticks)


def test_values_lie_where_they_belong_and_never_outside() -> None:
    assert [Axis("", 2, 4).place(value) for value in (1, 2, 3, 5)] == [0, 0, 0.5, 1]
    logarithmic = Axis("", 1e-4, 1, is_logarithmic=True)
    assert [logarithmic.place(value) for value in (0, 1e-2, 1)] == pytest.approx([0, 0.5, 1])
    assert axis_over("", [5.0, 5.0]).high > 5
    assert axis_over("", []).high > 0


def test_a_chart_is_well_formed_and_says_its_values() -> None:
    series = [
        Series("a < b & c", ((0.0, 0.0), (1.0, 2.0)), has_dots=True, is_filled=True),
        Series("d", stairs([0.0, 0.5, 1.0], [1.0, 2.0])),
        Series("nothing", ()),
    ]
    chart = draw_lines("t", series, Axis("x", 0, 1), Axis("y", 0, 2), has_diagonal=True, levels=[(1.0, "half")])
    root = ET.fromstring(chart.svg)
    lines = [element.attrib["points"].split() for element in root.iter("polyline") if element.get("class") == "s1"]
    assert len(lines) == 1
    start, end = ([float(part) for part in point.split(",")] for point in lines[0])
    assert start[0] < end[0]
    assert start[1] > end[1], "larger values are further up"
    assert root.attrib["aria-label"] == "t: a < b & c; d; nothing"
    assert chart.values.columns == ("x", "a < b & c", "d", "nothing")
    assert chart.values.rows[0] == ("0", "0", "1", "")
    assert len(set(re.findall(r'class="(s\d)"', chart.svg))) == 3
