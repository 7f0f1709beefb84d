from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from omnireid.embedding.tables import EmbeddingTable, Provenance
from omnireid.evaluation.options import CalibrationOptions
from omnireid.evaluation.verification import Verification, calibrate
from omnireid.reports.document import render_html, render_markdown
from omnireid.reports.evaluation_report import ReportedEvaluation, make_record, report_evaluation
from omnireid.types import Crops


@pytest.fixture(scope="module")
def verification() -> Verification:
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(60), 4)
    embeddings = rng.standard_normal((60, 8))[people] + 0.4 * rng.standard_normal((240, 8))
    crops = Crops(tuple(Path(f"{index}.jpg") for index in range(240)), people, np.tile([1, 1, 2, 2], 60))
    made = Provenance("ab" * 32, "osnet_x0_25", {}, "cosine", "unknown", "0")
    table = EmbeddingTable(crops, embeddings.astype(np.float32), made)
    return calibrate(table, CalibrationOptions(prior=0.25), data="drawn points")


def test_a_report_shows_what_was_measured_and_loads_nothing(
    reported: ReportedEvaluation, verification: Verification
) -> None:
    page = render_html(report_evaluation(replace(reported, verification=verification)))
    titles = [unescape(title) for title in re.findall("<h2>(.*?)</h2>", page)]
    assert titles == [
        "Scores",
        "Ranking",
        "Camera by camera",
        "Calibration: what a distance means",
        "Worst queries",
        "Best queries",
        "Who is taken for whom",
        "Cost",
        "Where this comes from",
    ]
    scores = reported.evaluated.scores
    assert f"{100 * scores.rank1:.1f} %" in page
    low, high = scores.intervals["rank1"]
    assert f"95 %: {100 * low:.1f} – {100 * high:.1f}" in page
    assert page.count("<svg ") == 6
    assert "if pairs of one person are 25 % of all" in page
    assert not re.findall(r'(?:src|href)="(?!data:image/jpeg;base64,)|url\(', page)
    assert not re.findall("https?:", page)
    assert "default-src 'none'" in page


def test_names_are_text_and_never_code(reported: ReportedEvaluation) -> None:
    document = report_evaluation(reported)
    page = render_html(document)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<b>none" not in page
    assert "<h1>drawn &amp; small</h1>" in page
    text = render_markdown(document)
    assert "Eve\\|\\*x\\*" in text
    rows = [line for line in text.splitlines() if line.startswith("| Eve")]
    assert rows
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)


def test_right_and_wrong_crops_differ_in_more_than_colour(reported: ReportedEvaluation) -> None:
    page = render_html(report_evaluation(reported))
    for mark, sign in (("right", "✓"), ("wrong", "✗")):
        assert re.search(f'<figure class="crop {mark}">[^✓✗]*{sign}<span>', page)
    ranked = reported.evaluated.splits[0]
    assert page.count("data:image/jpeg") == page.count('<figure class="crop ')
    worst = re.search("<h2>Worst queries</h2>.*?<h3>(.*?):", page, re.DOTALL)
    assert worst is not None
    lowest = np.flatnonzero(ranked.query_scores.average_precision == np.nanmin(ranked.query_scores.average_precision))
    assert worst.group(1) in {ranked.crops.query.paths[query].name for query in lowest}


def test_crops_can_be_kept_out_and_a_lost_file_is_a_frame(reported: ReportedEvaluation, tmp_path: Path) -> None:
    page = render_html(report_evaluation(replace(reported, hides_crops=True)))
    assert "data:image" not in page
    assert page.count('class="hidden"') == page.count('<figure class="crop ')
    (found,) = reported.evaluated.splits
    lost = replace(found.crops.gallery, paths=(tmp_path / "gone.jpg", *found.crops.gallery.paths[1:]))
    splits = (replace(found, crops=replace(found.crops, gallery=lost)),)
    page = render_html(report_evaluation(replace(reported, evaluated=replace(reported.evaluated, splits=splits))))
    assert "not readable" in page
    assert "data:image/jpeg" in page


def test_who_is_taken_for_whom_is_counted_by_people(reported: ReportedEvaluation) -> None:
    record = json.loads(json.dumps(make_record(reported)))
    (found,) = reported.evaluated.splits
    confused = found.query_scores.is_counted & ~found.is_true_match[:, 0]
    assert sum(int(one["queries"]) for one in record["confusions"]) == confused.sum() > 0
    names = {"Ada", "<script>alert(1)</script>", "Eve|*x*"}
    assert all({one["person"], one["taken_for"]} < names for one in record["confusions"])
    assert record["scores"]["rank1"] == reported.evaluated.scores.rank1
    assert record["calibration"] is None
    assert "too few pairs" in record["calibration_note"]


def test_warnings_come_first(reported: ReportedEvaluation) -> None:
    scores = replace(reported.evaluated.scores, warnings=("Every query is <its own> copy.",))
    document = report_evaluation(replace(reported, evaluated=replace(reported.evaluated, scores=scores)))
    page = render_html(document)
    assert page.index("Every query is &lt;its own&gt; copy.") < page.index('class="tiles"')
    assert "**Warning:** Every query is \\<its own\\> copy." in render_markdown(document)
