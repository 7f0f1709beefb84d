"""An experiment in words: the plan with its costs, and the finished table as Markdown and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from omnireid.experiments.crop_times import HOW, CropTimes
from omnireid.experiments.plan import PlannedRun, count_network_multiply_adds, row_size
from omnireid.experiments.results import SCORES, ExperimentRecord
from omnireid.experiments.summary import Estimate, RowScores, RowSummary
from omnireid.experiments.table import ExperimentTable, Published, Row
from omnireid.machine import Machine, describe
from omnireid.models.zoo import find_architecture
from omnireid.training.recipes import Recipe

_NOTHING = "–"


def plan_text(
    table: ExperimentTable,
    rows: Sequence[Row],
    base: Recipe,
    runs: Sequence[PlannedRun],
    record: ExperimentRecord | None,
) -> str:
    """Every run with its cost, and the time left where runs of this folder were measured.

    Args:
        table: The table.
        rows: The rows that were chosen.
        base: The recipe that the rows share.
        runs: The planned runs.
        record: The runs so far; None in a new folder.
    """
    lines = [f"{table.name}: {table.question}", ""]
    lines.append(f"{'row':20} {'network':32} {'input':>8} {'parameters':>11} {'multiply-adds':>14} {'a run':>14}  runs")
    for row in rows:
        recipe, (height, width) = row.recipe_from(base, 0), row_size(row, base)
        multiply_adds = count_network_multiply_adds(recipe.model, height, width)
        own = [run for run in runs if run.row is row]
        lines.append(
            f"{row.name:20} {recipe.model:32} {f'{height}x{width}':>8} "
            f"{find_architecture(recipe.model).parameters:>11,} {multiply_adds / 1e6:>12.1f} M {_work(own):>14}  "
            + (", ".join(f"{_state(run, record)} (seed {run.seed})" for run in own) or "cost only")
        )
    return "\n".join([*lines, "", *_cost_lines(runs, record)])


def _work(runs: Sequence[PlannedRun]) -> str:
    return f"{runs[0].multiply_adds / 1e12:,.3f} × 10¹²" if runs else _NOTHING


def seconds_left(runs: Sequence[PlannedRun], record: ExperimentRecord | None) -> float | None:
    """Estimated time of the runs that are not finished; None before a run of this folder was measured."""
    if record is None:
        return None
    missing = [run for run in runs if not _is_finished(run, record)]
    estimates = [record.estimate_seconds(run.row.name, run.multiply_adds) for run in missing]
    return None if None in estimates else sum(one for one in estimates if one is not None)


def duration(seconds: float) -> str:
    """A time in words, such as ``5 h 10 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _cost_lines(runs: Sequence[PlannedRun], record: ExperimentRecord | None) -> list[str]:
    missing = [run for run in runs if not _is_finished(run, record)]
    if not missing:
        return [f"{len(runs)} runs, all of them finished."]
    work = sum(run.multiply_adds for run in missing)
    counted = "the forward passes over all training crops" if missing[0].crops else "one crop in every epoch"
    lines = [
        f"{len(missing)} of {len(runs)} runs are to be done: {work / 1e12:,.3f} × 10¹² multiply-adds for {counted} "
        "(training takes about three times as many)."
    ]
    left = seconds_left(runs, record)
    if left is None:
        lines.append("No run of this folder was measured yet, so there is no estimate of the time.")
    else:
        lines.append(f"About {duration(left)} left, judged by the runs of this folder that are finished.")
    return lines


def _is_finished(run: PlannedRun, record: ExperimentRecord | None) -> bool:
    known = None if record is None else record.find(run.row.name, run.seed)
    return known is not None and known.is_finished


def _state(run: PlannedRun, record: ExperimentRecord | None) -> str:
    if _is_finished(run, record):
        return "finished"
    return "to do" if record is None or record.find(run.row.name, run.seed) is None else "failed"


def summary_json(
    table: ExperimentTable, base: Recipe, record: ExperimentRecord, rows: Sequence[RowSummary]
) -> dict[str, Any]:
    """The finished table as plain values. Scores are fractions; published ones are percentages, as they are quoted."""
    return {
        "question": table.question,
        "published_by": table.source,
        "published_for": table.published_for,
        "machine": _machine().json(),
        "rows": [_row_json(summary, base, record.times) for summary in rows],
    }


def _row_json(summary: RowSummary, base: Recipe, times: CropTimes | None) -> dict[str, Any]:
    row, (height, width) = summary.row, row_size(summary.row, base)
    model = row.recipe_from(base, 0).model
    return {
        "row": row.name,
        "network": model,
        "input": [height, width],
        "parameters": find_architecture(model).parameters,
        "multiply_adds": count_network_multiply_adds(model, height, width),
        "milliseconds": None if times is None else times.milliseconds[row.name],
        "is_trained": row.is_trained,
        "seeds": list(summary.seeds),
        "seconds": summary.seconds,
        "scores": [scores.json() for scores in summary.scores],
        "failures": {str(seed): reason for seed, reason in summary.failures.items()},
        "published_percent": None if row.published is None else asdict(row.published),
    }


def markdown(table: ExperimentTable, base: Recipe, record: ExperimentRecord, rows: Sequence[RowSummary]) -> str:
    """The finished table as Markdown: what was run, and a table for each data set that was scored on."""
    datasets = list(dict.fromkeys(scores.dataset for summary in rows for scores in summary.scores))
    lines = [f"# {table.name}", "", table.question, "", *_setting_lines(table, base, record), ""]
    for dataset in datasets or (None,):
        if dataset is not None:
            lines += [f"## Scored on {dataset}", ""]
        lines += [*_table_lines(table, base, rows, dataset, record.times), ""]
    lines += _reading_lines(rows)
    if record.times is not None:
        lines += ["", f"Milliseconds are of one crop: {HOW}. The load before was {record.times.machine['load']}."]
    failures = [
        f"- {summary.row.name}, seed {seed}: {reason}"
        for summary in rows
        for seed, reason in sorted(summary.failures.items())
    ]
    if failures:
        lines += ["", "## Runs that failed", "", *failures]
    return "\n".join([*lines, "", "Machine of the last runs: " + _machine().text().replace("\n", "; ") + "."]) + "\n"


def _machine() -> Machine:
    return replace(describe(), load=None)  # the load while a table is written says nothing about its runs


def _setting_lines(table: ExperimentTable, base: Recipe, record: ExperimentRecord) -> list[str]:
    sizes = " ".join(base.json()["resolutions"])
    facts = "; ".join(f"{name}: {value}" for name, value in record.identity.data.items())
    lines = [
        f"Every row, unless its change says otherwise: {base.epochs} epochs at {sizes}, batches of {base.batch_size}, "
        f"{base.optimiser} with learning rate {base.learning_rate:g} and a {base.schedule} schedule, weight decay "
        f"{base.weight_decay:g}, precision {base.precision}. experiment.json has the whole recipe.",
        "",
        f"Data: {facts}.",
    ]
    if table.published_for:
        lines += ["", f"Published values: {table.published_for}. {table.source}. They were not measured here."]
    return lines


def _table_lines(
    table: ExperimentTable, base: Recipe, rows: Sequence[RowSummary], dataset: str | None, times: CropTimes | None
) -> list[str]:
    compared = len({table.reference_of(row).name for row in table.rows}) == 1
    against = table.rows[0].name if compared else "the row above"
    titles = ["row", "parameters", "multiply-adds", *([] if times is None else ["ms"]), "seeds", "rank-1 %", "mAP %"]
    titles += [f"mAP less {against}", "order", "seconds a run", "published rank-1 / mAP %"]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for summary in rows:
        row, (height, width) = summary.row, row_size(summary.row, base)
        model = row.recipe_from(base, 0).model
        scores = next((one for one in summary.scores if one.dataset == dataset), None)
        cells = [
            row.name,
            f"{find_architecture(model).parameters:,}",
            f"{count_network_multiply_adds(model, height, width) / 1e6:.1f} M",
            *([] if times is None else [f"{times.milliseconds[row.name]:.2f}"]),
            " ".join(map(str, summary.seeds)) or ("FAILED" if summary.failures else _NOTHING),
            *_score_cells(scores),
            _NOTHING if summary.seconds is None else f"{summary.seconds:,.0f}",
            _published(row.published),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _score_cells(scores: RowScores | None) -> list[str]:
    """Rank-1, mAP, the difference in mAP and the order that it shows."""
    if scores is None:
        return [_NOTHING] * 4
    cells = [_percent(scores.scores[name]) for name in SCORES]
    difference = scores.differences.get("mean_average_precision")
    if difference is None:
        return [*cells, _NOTHING, _NOTHING]
    return [*cells, _percent(difference, sign="+"), difference.order]


def _percent(one: Estimate, *, sign: str = "") -> str:
    """An estimate in percent: value, interval over identities, and half the interval over seeds."""
    text = f"{100 * one.value:{sign}.1f}"
    if one.over_identities is not None:
        low, high = one.over_identities
        text += f" [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"
    if one.over_seeds is not None:
        text += f" ± {50 * (one.over_seeds[1] - one.over_seeds[0]):.1f}"
    return text


def _published(published: Published | None) -> str:
    if published is None:
        return _NOTHING
    text = f"{published.rank1:.1f} / {published.mean_average_precision:.1f}"
    if published.multiply_adds is not None:
        text += f", {published.multiply_adds:.1f} M"
    return f"{text} ({published.note})" if published.note else text


def _reading_lines(rows: Sequence[RowSummary]) -> list[str]:
    lines = [
        "Scores are means over the seeds, of the last weights. In brackets is the 95 % interval over the people of the "
        "queries, by bootstrap; behind ± is half the 95 % interval over seeds (Student's, with the variance between "
        "seeds pooled over the rows that are compared). The bootstrap of a difference draws the same people for both "
        "rows. An order is claimed only where both intervals of the difference leave out 0; otherwise it is undecided."
    ]
    missing = [summary.row.name for summary in rows if summary.row.is_trained and not summary.seeds]
    if missing:
        lines += ["", f"INCOMPLETE: no finished run of {', '.join(missing)}."]
    return lines
