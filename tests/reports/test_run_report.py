from __future__ import annotations

from omnireid.reports.document import render_html, render_markdown
from omnireid.reports.run_report import report_run

RECORD = {
    "recipe": {"model": "osnet_x0_25", "metric": "mean_average_precision", "augmentation": {"flip": 0.5}},
    "data": {"names": ["drawn", "mine"], "licence": "Apache-2.0"},
}


def entries(steps: int) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = []
    for step in range(1, steps + 1):
        at = {"step": step, "epoch": step / 100, "seconds": 2.0 * step, "images": 64 * step}
        lines.append({"kind": "step", **at, "loss": None if step == 7 else 5.0 / step, "learning_rate": 0.1})
        if step % 100 == 0:
            scores = {"rank1": 0.5 + step / 1e4, "mean_average_precision": 0.4 - step / 1e4}
            lines.append({"kind": "evaluation", **at, **scores})
    return lines


def test_a_run_is_shown_with_its_best_scores_and_where_they_were() -> None:
    document = report_run(RECORD, entries(1000), "first <run>")
    assert [(tile.label, tile.value, tile.note) for tile in document.tiles] == [
        ("rank-1, best", "60.0 %", "after epoch 10"),
        ("mAP, best", "39.0 %", "after epoch 1"),
        ("time", "33 min 20 s", "10 epochs, 64,000 crops"),
    ]
    page = render_html(document)
    assert "first &lt;run&gt;" in page
    assert page.count("<svg ") == 3, "no chart of a speed that was not logged"
    text = render_markdown(document)
    assert "| augmentation.flip | 0.5 |" in text
    assert "| names | drawn, mine |" in text
    assert "The best weights are chosen by mAP" in text


def test_a_run_that_has_just_begun_or_was_never_scored_is_shown_too() -> None:
    assert report_run({}, [], "empty").tiles == []
    document = report_run(RECORD, entries(1), "one step")
    assert [tile.label for tile in document.tiles] == ["time"]
    assert "<svg " in render_html(document)
