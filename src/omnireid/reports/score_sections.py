"""The parts of a report that need the scores alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from omnireid.evaluation.scores import SCORE_NAMES, TITLES, RankingScores
from omnireid.reports.charts import Axis, Series, draw_lines
from omnireid.reports.parts import Chart, Section, Table, Tile


def score_tiles(scores: RankingScores) -> Iterator[Tile]:
    """The main scores with their intervals."""
    for name in ("rank1", "rank5", "mean_average_precision", "mean_inverse_negative_penalty"):
        note = _interval(scores, name)
        yield Tile(TITLES[name], f"{100 * getattr(scores, name):.1f} %", f"95 %: {note}" if note else "")


def _interval(scores: RankingScores, name: str) -> str:
    if name not in scores.intervals:
        return ""
    low, high = scores.intervals[name]
    return f"{100 * low:.1f} – {100 * high:.1f}"


def score_section(scores: RankingScores) -> Section:
    """All scores as a table, with what was left out."""
    columns = ["score", "%", "95 % interval"]
    if scores.standard_deviations:
        columns.append("± between " + ("splits" if scores.splits > 1 else "repeats"))
    rows = []
    for name in SCORE_NAMES:
        row = [TITLES[name], f"{100 * getattr(scores, name):.2f}", _interval(scores, name) or "–"]
        if scores.standard_deviations:
            row.append(f"{100 * scores.standard_deviations[name]:.2f}")
        rows.append(tuple(row))
    text = (
        "rank-k: share of the queries with a right crop among the first k. mAP: mean precision at each right crop. "
        "mINP: how far one must look for the last right crop. Intervals are by bootstrap over people."
    )
    left_out = [f"{number:,} queries left out: {reason}." for reason, number in scores.left_out.items()]
    if scores.queries_decided_by_tie:
        left_out.append(f"{scores.queries_decided_by_tie:,} queries are decided by a tie with somebody else's crop.")
    return Section("Scores", "\n".join([text, *left_out]), blocks=[Table(tuple(columns), tuple(rows))])


def draw_cmc(scores: RankingScores) -> Chart:
    """Share of the queries with a right crop among the first k."""
    points = tuple((float(rank), 100 * share) for rank, share in enumerate(scores.cmc[:20], start=1))
    low = max(0.0, 10 * np.floor(points[0][1] / 10) - 10)
    return draw_lines(
        "Found among the first k (CMC)",
        [Series("queries with a right crop", points, has_dots=True)],
        Axis("rank k", 1, 20),
        Axis("%", float(low), 100),
    )


def camera_sections(scores: RankingScores) -> Iterator[Section]:
    """rank-1 of each pair of cameras; nothing where it was not measured."""
    pairs = {(pair.query_camera, pair.gallery_camera): pair for pair in scores.camera_pairs}
    if not pairs:
        return
    query = sorted({pair[0] for pair in pairs})
    gallery = sorted({pair[1] for pair in pairs})
    lowest, highest = (choose(pair.rank1 for pair in pairs.values()) for choose in (min, max))
    spread = max(highest - lowest, 1e-9)
    rows, shades = [], []
    for one in query:
        found = [pairs.get((one, other)) for other in gallery]
        rows.append((f"camera {one}", *("" if pair is None else f"{100 * pair.rank1:.1f}" for pair in found)))
        shades.append(tuple(None if pair is None else (pair.rank1 - lowest) / spread for pair in found))
    text = (
        "rank-1 in percent of the queries of one camera (down) among the crops of another (across); the deeper the "
        "colour, the higher, from the lowest to the highest here. A pale row or column is a camera to look at."
    )
    columns = ("query \\ gallery", *(f"camera {camera}" for camera in gallery))
    yield Section("Camera by camera", text, blocks=[Table(columns, tuple(rows), tuple(shades))])


def fact_table(facts: Mapping[str, str]) -> Table:
    """Names and values."""
    return Table(("", ""), tuple((name, value) for name, value in facts.items()))
