from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from omnireid.errors import MissingDependencyError, OutputError, TrainingError
from omnireid.training.curves import draw_comparison, draw_curves


def entries(scale: float = 1.0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for step in range(1, 41):
        place = {"step": step, "epoch": step / 10, "seconds": step * 20.0 * scale, "images": step * 64}
        values: dict[str, Any] = {"loss": 7.0 / step if step != 5 else None, "triplet_loss": 1.0 / step}
        found.append({"kind": "step", **place, **values, "learning_rate": 0.1, "images_per_second": 500.0})
        if step % 10 == 0:
            found.append({"kind": "epoch", **place, "loss": 3.0})
            found.append({"kind": "evaluation", **place, "rank1": step / 50, "mean_average_precision": step / 80})
    found.append({"kind": "event", "step": 40, "epoch": 4.0, "seconds": 800.0, "images": 2560, "text": "done"})
    return found


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved, to look at what a picture cannot easily tell."""
    seen: list[Figure] = []
    save = Figure.savefig

    def remember(self: Figure, *arguments: Any, **options: Any) -> None:
        seen.append(self)
        save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", remember)
    return seen


def lines_of(figure: Figure) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Label of each panel's y axis to its lines by their names in the legend."""
    return {
        axes.get_ylabel(): {
            str(line.get_label()): list(zip(*(np.asarray(part).tolist() for part in line.get_data()), strict=True))
            for line in axes.lines
        }
        for axes in figure.axes
    }


def test_one_run(tmp_path: Path, figures: list[Figure]) -> None:
    path = tmp_path / "curves.png"
    given = entries()
    draw_curves(given, path, "quick · $people_2$")
    assert given == entries()
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size[0] > 1000
        assert len(image.convert("L").getcolors(256) or []) > 20
    assert list(tmp_path.iterdir()) == [path]
    panels = lines_of(figures[0])
    assert set(panels) == {"loss", "learning rate", "score (%)", "images / s"}
    assert list(panels["loss"]) == ["loss", "triplet loss"]
    assert panels["score (%)"]["rank-1"] == [(1.0, 20.0), (2.0, 40.0), (3.0, 60.0), (4.0, 80.0)]
    assert panels["score (%)"]["mAP"][-1] == (4.0, 50.0)
    assert len(panels["loss"]["loss"]) == 40  # of steps alone: the epoch's means are not mixed in
    assert math.isnan(panels["loss"]["loss"][4][1])
    for axes in figures[0].axes:
        assert axes.get_xlabel() == "epoch"
        assert axes.get_legend() is not None


def test_the_means_of_epochs_are_drawn_where_no_step_says_more(tmp_path: Path, figures: list[Figure]) -> None:
    draw_curves([entry for entry in entries() if entry["kind"] == "epoch"], tmp_path / "c.png", "t")
    assert lines_of(figures[0])["loss"] == {"loss": [(1.0, 3.0), (2.0, 3.0), (3.0, 3.0), (4.0, 3.0)]}


def test_panels_without_anything_say_so(tmp_path: Path, figures: list[Figure]) -> None:
    draw_curves([], tmp_path / "c.png", "空")
    assert [[text.get_text() for text in axes.texts] for axes in figures[0].axes] == [["nothing logged"]] * 4
    draw_comparison({"a": entries(), "b": []}, tmp_path / "d.png", "epoch", "t")
    assert set(lines_of(figures[1])["mAP (%)"]) == {"a"}


@pytest.mark.parametrize(
    ("scale", "x", "label", "last"),
    [
        (0.1, "seconds", "time (seconds)", 80.0),
        (1.0, "seconds", "time (minutes)", 800 / 60),
        (36.0, "seconds", "time (hours)", 8.0),
        (1.0, "epoch", "epoch", 4.0),
    ],
)
def test_several_runs(tmp_path: Path, figures: list[Figure], scale: float, x: Any, label: str, last: float) -> None:
    runs = {"scratch": entries(scale / 2), "$speed$": entries(scale), "_own": entries(scale)}
    runs = {name: [entry for entry in run if entry["kind"] != "event"] for name, run in runs.items()}
    draw_comparison(runs, tmp_path / "c.png", x, "two recipes")
    panels = lines_of(figures[0])
    assert list(panels) == ["mAP (%)", "rank-1 (%)"]
    assert [name.strip() for name in panels["mAP (%)"]] == list(runs)
    assert panels["mAP (%)"]["$speed$"][-1] == pytest.approx((last, 50.0))
    for axes in figures[0].axes:
        legend = axes.get_legend()
        assert axes.get_xlabel() == label
        assert legend is not None
        assert len(legend.get_texts()) == 3


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingError, match="There is no run to draw"):
        draw_comparison({}, tmp_path / "c.png", "epoch", "t")
    with pytest.raises(TrainingError, match="drawn over 'seconds' or 'epoch'; got 'step'"):
        draw_comparison({"a": []}, tmp_path / "c.png", "step", "t")  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="it is a folder"):
        draw_curves([], tmp_path, "t")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'omnireid\[train\]'"):
        draw_curves([], tmp_path / "c.png", "t")
    assert list(tmp_path.iterdir()) == []
