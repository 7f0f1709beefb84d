"""A report of an evaluation: scores, curves, cameras, calibration, what was found and what was confused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from omnireid.data.capture_times import column_values
from omnireid.evaluation.embedder_scores import EvaluatedSplits
from omnireid.evaluation.evaluation import Evaluation
from omnireid.evaluation.scores import describe_reordering
from omnireid.evaluation.verification import Verification
from omnireid.reports.calibration_section import describe_calibration
from omnireid.reports.charts import Axis, Series, axis_over, draw_lines, stairs
from omnireid.reports.crop_images import make_crop_image
from omnireid.reports.parts import Chart, CropImage, Document, Mark, Section, Strip, Table
from omnireid.reports.score_sections import camera_sections, draw_cmc, fact_table, score_section, score_tiles
from omnireid.types import Crops, IntArray

STRIPS = 6
STRIP_LENGTH = 10
_CONFUSIONS = 12
_HISTOGRAM_BINS = 40


@dataclass(frozen=True, eq=False)
class ReportedEvaluation:
    """What a report of an evaluation is made from.

    Attributes:
        evaluated: The scores, and the evaluation of each split.
        title: Heading of the report.
        facts: What made the scores, such as weights, licence, data and machine, by name.
        costs: What it took, by name.
        verification: A calibration measured on these crops; None where there is none.
        calibration_note: Why there is no calibration.
        hides_crops: Whether crops are replaced by empty frames.
    """

    evaluated: EvaluatedSplits
    title: str
    facts: Mapping[str, str]
    costs: Mapping[str, str]
    verification: Verification | None = None
    calibration_note: str = ""
    hides_crops: bool = False


def report_evaluation(reported: ReportedEvaluation) -> Document:
    """Lay out a report. Crops are read from their files; one that cannot be read is an empty frame."""
    scores = reported.evaluated.scores
    evaluation = reported.evaluated.splits[0]
    sections = [
        score_section(scores),
        _curve_section(reported),
        *camera_sections(scores),
        describe_calibration(reported.verification, reported.calibration_note),
        *_strip_sections(evaluation, hides_crops=reported.hides_crops),
        _confusion_section(evaluation),
        Section(
            "Cost", "What making this report took, on the machine named below.", blocks=[fact_table(reported.costs)]
        ),
        Section("Where this comes from", "", blocks=[fact_table(reported.facts)]),
    ]
    counts = f"{scores.queries:,} queries counted, {scores.gallery:,} gallery crops"
    lines = [f"{counts} · protocol {scores.protocol} · {scores.distance} distance", *describe_reordering(scores)]
    if scores.splits > 1:
        lines.append(f"Scores are the mean of {scores.splits} splits; crops and confusions are of the first one.")
    return Document(reported.title, sections, "\n".join(lines), scores.warnings, list(score_tiles(scores)))


def _curve_section(reported: ReportedEvaluation) -> Section:
    scores = reported.evaluated.scores
    curve = draw_cmc(scores)
    text = (
        "The better the nearest right crop and the nearest wrong crop are apart, the less depends on luck. Queries "
        "whose right crop was not among the ranked ones are left out of the second chart."
    )
    return Section("Ranking", text, blocks=[curve, _distance_chart(reported.evaluated.splits[0])])


def _distance_chart(evaluation: Evaluation) -> Chart:
    """Histograms of each query's nearest right and nearest wrong crop."""
    is_right = evaluation.is_true_match
    distances = evaluation.ranked.distances.astype(np.float64)
    right = np.where(is_right, distances, np.inf).min(axis=1, initial=np.inf)
    wrong = np.where(is_right, np.inf, distances).min(axis=1, initial=np.inf)
    right, wrong = right[np.isfinite(right)], wrong[np.isfinite(wrong)]
    both = np.concatenate([right, wrong])
    low, high = (float(both.min()), float(both.max())) if len(both) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1, _HISTOGRAM_BINS + 1)
    series = []
    for name, values in (("nearest right crop", right), ("nearest wrong crop", wrong)):
        shares = 100 * np.histogram(values, edges)[0] / max(len(values), 1)
        series.append(Series(name, stairs(edges.tolist(), shares.tolist()), is_filled=True))
    heights = [top for one in series for _, top in one.points]
    x = Axis(f"{evaluation.scores.distance} distance", float(edges[0]), float(edges[-1]))
    return draw_lines("How near is the nearest crop", series, x, axis_over("% of the queries", heights, least=0))


def _strip_sections(evaluation: Evaluation, *, hides_crops: bool) -> Iterator[Section]:
    scores = evaluation.query_scores
    counted = np.flatnonzero(scores.is_counted)
    by_worst = counted[np.lexsort((-scores.first_rank[counted], scores.average_precision[counted]))]
    by_best = counted[np.lexsort((-scores.true_matches[counted], -scores.average_precision[counted]))]
    rule = "Solid blue and ✓: the same person. Dashed orange and ✗: somebody else. Nearest first, one query a person."
    for title, order in (("Worst queries", by_worst), ("Best queries", by_best)):
        chosen = _one_a_person(evaluation.crops.query, order)
        strips = [_make_strip(evaluation, query, hides_crops=hides_crops) for query in chosen]
        yield Section(title, rule, blocks=strips)


def _one_a_person(crops: Crops, order: IntArray) -> list[int]:
    """The first queries of `order`, of different people."""
    assert crops.person_ids is not None
    chosen: dict[int, int] = {}
    for query in order.tolist():
        chosen.setdefault(int(crops.person_ids[query]), query)
        if len(chosen) == STRIPS:
            break
    return list(chosen.values())


def _make_strip(evaluation: Evaluation, query: int, *, hides_crops: bool) -> Strip:
    scores, crops = evaluation.query_scores, evaluation.crops
    found = evaluation.ranked.indices[query, :STRIP_LENGTH]
    marks: list[Mark] = ["right" if right else "wrong" for right in evaluation.is_true_match[query, :STRIP_LENGTH]]
    images = [_crop_of(crops.query, query, "query", "", hides_crops=hides_crops)]
    for place, index in enumerate(found.tolist()):
        if index >= 0:
            text = f"{evaluation.ranked.distances[query, place]:.3f}"
            images.append(_crop_of(crops.gallery, index, marks[place], text, hides_crops=hides_crops))
    title = (
        f"{crops.query.paths[query].name}: first right crop at rank {scores.first_rank[query]:.0f}, AP "
        f"{100 * scores.average_precision[query]:.1f} %, {scores.true_matches[query]} to find"
    )
    return Strip(title, tuple(images))


def _crop_of(crops: Crops, index: int, mark: Mark, text: str, *, hides_crops: bool) -> CropImage:
    camera = "" if crops.camera_ids is None else f"camera {crops.camera_ids[index]}"
    caption = "\n".join(filter(None, [text, camera]))
    return make_crop_image(None if hides_crops else crops.paths[index], caption, mark)


def _confusion_section(evaluation: Evaluation) -> Section:
    """Who was taken for whom at rank 1, by number of queries."""
    query, gallery = evaluation.crops.query, evaluation.crops.gallery
    assert query.person_ids is not None
    assert gallery.person_ids is not None
    first = evaluation.ranked.indices[:, 0]
    wrong = np.flatnonzero(evaluation.query_scores.is_counted & (first >= 0) & ~evaluation.is_true_match[:, 0])
    examples: dict[tuple[str, str], int] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for row in wrong.tolist():
        pair = _person_name(query, row), _person_name(gallery, int(first[row]))
        counts[pair] += 1
        examples.setdefault(pair, row)
    rows = []
    for pair, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_CONFUSIONS]:
        row = examples[pair]
        example = f"{query.paths[row].name} → {gallery.paths[int(first[row])].name}"
        rows.append((pair[0], pair[1], str(count), example))
    text = (
        f"{len(wrong):,} queries have somebody else at rank 1, in {len(counts):,} pairs of people. Here are those that "
        "happen most often. A pair that is confused again and again is sometimes one person with two labels."
    )
    if not rows:
        return Section("Who is taken for whom", "No query has somebody else at rank 1.")
    table = Table(("person", "taken for", "queries", "for example"), tuple(rows))
    return Section("Who is taken for whom", text, blocks=[table])


def _person_name(crops: Crops, row: int) -> str:
    if "person_name" in crops.columns:
        return str(column_values(crops, "person_name")[row])
    assert crops.person_ids is not None
    return str(crops.person_ids[row])


def make_record(reported: ReportedEvaluation) -> dict[str, object]:
    """The report as plain values, ready for ``json.dumps``."""
    evaluation = reported.evaluated.splits[0]
    confusions = _confusion_section(evaluation).blocks
    table: Sequence[Table] = [block for block in confusions if isinstance(block, Table)]
    return {
        "kind": "omnireid report",
        "title": reported.title,
        "scores": reported.evaluated.json(),
        "calibration": None if reported.verification is None else reported.verification.json(),
        "calibration_note": reported.calibration_note,
        "confusions": [
            dict(zip(("person", "taken_for", "queries", "example"), row, strict=True))
            for one in table
            for row in one.rows
        ],
        "costs": dict(reported.costs),
        "facts": dict(reported.facts),
    }
