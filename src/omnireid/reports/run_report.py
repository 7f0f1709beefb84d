"""A report of a training run: its scores, its curves, its recipe and where its data came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from omnireid.reports.charts import Series, axis_over, draw_lines
from omnireid.reports.parts import Chart, Document, Section, Table, Tile

SCORES = {"rank1": "rank-1", "mean_average_precision": "mAP", "top1": "top-1", "top5": "top-5"}
_MOST_POINTS = 300

Entry = Mapping[str, Any]


def report_run(record: Mapping[str, Any], entries: Sequence[Entry], title: str) -> Document:
    """Lay out a report of a run.

    Args:
        record: The run's ``run.json``.
        entries: The lines of its journal.
        title: Heading of the report.
    """
    evaluations = [entry for entry in entries if entry["kind"] == "evaluation"]
    scored = [name for name in SCORES if any(isinstance(entry.get(name), (int, float)) for entry in evaluations)]
    metric = record.get("recipe", {}).get("metric")
    metric = metric if metric in scored else (scored[0] if scored else None)
    tiles = []
    for name in scored:
        best = max((entry for entry in evaluations if _is_number(entry.get(name))), key=lambda entry: entry[name])
        tiles.append(Tile(f"{SCORES[name]}, best", f"{100 * best[name]:.1f} %", f"after epoch {best['epoch']:g}"))
    if entries:
        last = entries[-1]
        tiles.append(Tile("time", _duration(last["seconds"]), f"{last['epoch']:.4g} epochs, {last['images']:,} crops"))
    sections = [
        Section(
            "Curves",
            "Values of single steps are thinned out; the run's log.jsonl has all.",
            blocks=_charts(entries, scored),
        )
    ]
    if evaluations and metric is not None:
        columns = ("epoch", "time", *(SCORES[name] + " %" for name in scored))
        rows = tuple(
            (f"{one['epoch']:.4g}", _duration(one["seconds"]), *(_score(one.get(name)) for name in scored))
            for one in evaluations
        )
        text = f"The best weights are chosen by {SCORES[metric]}. A score on data that chose them is no result."
        sections.append(Section("Evaluations", text, blocks=[Table(columns, rows)]))
    for name, part in (("Recipe", "recipe"), ("Data", "data"), ("Start", "start"), ("Environment", "environment")):
        if isinstance(record.get(part), Mapping):
            sections.append(Section(name, "", blocks=[Table(("", ""), tuple(_flat(record[part])))]))
    data = record.get("data", {})
    licence = data.get("licence") if isinstance(data, Mapping) else None
    model = record.get("recipe", {}).get("model", "")
    subtitle = " · ".join(filter(None, [str(model), f"licence of the data: {licence}" if licence else ""]))
    return Document(title, sections, subtitle, tiles=tiles)


def _charts(entries: Sequence[Entry], scored: Sequence[str]) -> list[Chart]:
    charts = []
    losses = [name for name in dict.fromkeys(key for one in entries for key in one) if f"_{name}".endswith("_loss")]
    for title, names, label, factor in (
        ("Loss", losses[:3], "", 1.0),
        ("Scores", scored, "%", 100.0),
        ("Learning rate", ["learning_rate"], "", 1.0),
        ("Speed", ["images_per_second"], "crops per second", 1.0),
    ):
        series = [_series(entries, name, factor) for name in names]
        series = [one for one in series if one.points]
        if series:
            values = [top for one in series for _, top in one.points]
            epochs = [left for one in series for left, _ in one.points]
            charts.append(
                draw_lines(title, series, axis_over("epoch", epochs, least=0), axis_over(label, values, least=0))
            )
    return charts


def _series(entries: Sequence[Entry], name: str, factor: float) -> Series:
    """The values of `name` over the epochs: those of steps where there are any, thinned out by means."""
    having = [entry for entry in entries if _is_number(entry.get(name))]
    chosen = [entry for entry in having if entry["kind"] == "step"] or having
    step = max(1, len(chosen) / _MOST_POINTS)
    bounds = [round(index * step) for index in range(min(len(chosen), _MOST_POINTS) + 1)]
    points = []
    for first, end in pairwise(bounds):
        part = chosen[first:end]
        if part:
            mean = sum(float(entry[name]) for entry in part) / len(part)
            points.append((float(part[-1]["epoch"]), factor * mean))
    return Series(SCORES.get(name, name.replace("_", " ")), tuple(points), has_dots=len(points) < 30)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _score(value: object) -> str:
    return f"{100 * value:.2f}" if isinstance(value, (int, float)) else "–"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Nested values as lines: a name with dots, and the value as text."""
    lines: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            lines += _flat(value, f"{before}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            lines.append((f"{before}{name}", text))
    return lines
