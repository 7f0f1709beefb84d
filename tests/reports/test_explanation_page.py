from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnireid import RuntimeOptions, explain, load_embedder, measure_gates
from omnireid.errors import ExplanationError, OutputError, SettingError
from omnireid.explanation.explanation import Explanation
from omnireid.explanation.gates import Gates
from omnireid.reports.explanation_page import draw_explanation
from omnireid.reports.heat_maps import AGAINST, FOR, colour_sequence, draw_gates, overlay_activation, overlay_signed
from omnireid.reports.page import write_page
from omnireid.reports.parts import Panel, Section


@pytest.fixture(scope="module")
def explained(untrained: Path, crop_folder: Path) -> tuple[Explanation, Gates]:
    embedder = load_embedder(untrained, RuntimeOptions(runtime="onnxruntime"))
    paths = sorted(crop_folder.iterdir())
    return explain(embedder, paths[:3]), measure_gates(embedder, paths)


@pytest.mark.parametrize("suffix", [".png", ".html"])
def test_a_page_is_written_in_the_form_its_name_says(
    explained: tuple[Explanation, Gates], tmp_path: Path, suffix: str
) -> None:
    explanation, gates = explained
    output = tmp_path / f"page{suffix}"
    draw_explanation(explanation, output, among=gates)
    if suffix == ".png":
        with Image.open(output) as picture:
            assert picture.height > picture.width > 800
        return
    page = output.read_text(encoding="utf-8")
    assert len(re.findall("<h2>", page)) == 5
    assert page.count(f"cosine {explanation.pair(0, 2).cosine:.3f}") >= 2
    assert page.count("<figure") == 6 + 2 * 6 + 3 * 7 + 1 + 3 * 6


def steady(gates: Gates) -> Gates:
    """Gates that are the same for every crop."""
    return replace(gates, weights=tuple(np.full_like(weights, 0.5) for weights in gates.weights))


def test_gates_that_are_the_same_for_every_crop_are_said_to_be(
    explained: tuple[Explanation, Gates], tmp_path: Path
) -> None:
    explanation, gates = explained
    output = tmp_path / "page.html"
    draw_explanation(explanation, output, among=steady(gates))
    page = output.read_text(encoding="utf-8")
    assert "so no crop is nearer than another" in page
    assert "conv4.0, conv4.1 give every crop the same weights" in page


def test_a_block_that_was_asked_for_and_tells_nothing_is_an_error(
    explained: tuple[Explanation, Gates], tmp_path: Path
) -> None:
    explanation, gates = explained
    with pytest.raises(ExplanationError, match="so no crop is nearer"):
        draw_explanation(explanation, tmp_path / "page.png", among=steady(gates), block="conv4.1")
    with pytest.raises(SettingError, match="count"):
        draw_explanation(explanation, tmp_path / "page.png", among=gates, count=0)


def test_a_page_never_replaces_a_crop_and_needs_a_known_suffix(
    explained: tuple[Explanation, Gates], tmp_path: Path
) -> None:
    explanation, _ = explained
    link = tmp_path / "page.png"
    link.hardlink_to(explanation.crops.paths[0])
    with pytest.raises(OutputError, match="is an input of this command"):
        draw_explanation(explanation, link)
    with pytest.raises(OutputError, match=r"ends in \.png or \.html; got .*page\.gif"):
        draw_explanation(explanation, tmp_path / "page.gif")


def test_a_page_of_html_needs_nothing_else_and_escapes_every_name(tmp_path: Path) -> None:
    panel = Panel(Image.new("RGB", (4, 4)), '"><script>alert(1)</script>')
    output = tmp_path / "page.html"
    write_page(output, "<b>title</b>", [Section("a & b", "<i>text</i>", [[panel]])])
    page = output.read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "&#34;&gt;&lt;script&gt;" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:image/png;base64,)", page)
    assert not re.findall("https?:", page)


def test_signs_and_sizes_have_colours_that_can_be_read_back() -> None:
    crop = Image.new("RGB", (20, 10), (100, 100, 100))
    signed = np.asarray(overlay_signed(crop, np.array([[1.0, 0.0, 0.0, -1.0]]), 1.0)).astype(int)
    assert np.abs(signed[5, 0] - FOR).max() < 30
    assert np.abs(signed[5, -1] - AGAINST).max() < 30
    assert np.ptp(signed[5, 10]) <= 10, "grey where nothing speaks for or against"
    active = np.asarray(overlay_activation(crop, np.array([[0.0, 0.0, 4.0, 4.0]]), 4.0)).astype(int)
    assert active[5, -1].sum() > active[5, 0].sum() + 150
    assert np.ptp(np.asarray(overlay_signed(crop, np.zeros((1, 4)), 0.0)), axis=(0, 1)).max() == 0
    assert colour_sequence([0.0, 1.0, 7.0]).tolist() == [[68, 1, 84], [253, 231, 37], [253, 231, 37]]
    rows = np.asarray(draw_gates(np.array([[0.0, 0.0], [1.0, 1.0]]), 10, 3))
    assert rows.shape == (6, 10, 3)
    assert rows[0, 0].tolist() == [68, 1, 84]
    assert rows[5, 9].tolist() == [253, 231, 37]
