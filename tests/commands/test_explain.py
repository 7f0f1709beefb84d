from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from omnireid.cli import main
from omnireid.embedding.weights_file import WeightsFile
from omnireid.weights.graph_file import seal_onnx


def test_crops_and_a_set_become_a_page_and_numbers(
    tmp_path: Path, crop_folder: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = [str(path) for path in sorted(crop_folder.iterdir())[:2]]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    page, record = tmp_path / "page.html", tmp_path / "numbers.json"
    words = ["explain", str(untrained), *crops, str(broken), "--among", str(crop_folder), "--output", str(page)]
    assert main([*words, "--json", str(record)]) == 0
    printed = capsys.readouterr()
    assert "left out" in printed.err
    assert "broken.jpg" in printed.err
    assert "conv4.1" in printed.out
    found = json.loads(record.read_text())
    assert found["crops"] == crops
    (pair,) = found["pairs"]
    total = sum(map(sum, pair["cosine_maps"][0]["places"])) + pair["cosine_maps"][0]["constant"]
    assert total == pytest.approx(pair["cosine"], abs=1e-5)
    assert found["gates"]["crops"] == 12
    assert set(found["gates"]["cameras"]) == {"1", "2"}
    assert "broken.jpg" in page.read_text(encoding="utf-8")


def test_what_cannot_be_explained_is_said_in_one_line(
    tmp_path: Path, crop_folder: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crop, output = str(next(crop_folder.iterdir())), str(tmp_path / "page.png")
    graph = WeightsFile(untrained).make_graph("fp32")
    weights = replace(graph.metadata.weights, architecture="strangers_network")
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(seal_onnx(graph.content, replace(graph.metadata, weights=weights)))
    for words, message in (
        ([str(foreign), crop, "--output", output], "a graph made by others"),
        ([str(untrained), crop, "--output", output, "--nearest", "3"], "name one with --among"),
        (
            [str(untrained), crop, "--output", output, "--among", str(crop_folder), "--nearest", "0"],
            "--nearest must be a whole number, at least 1; got 0",
        ),
        ([str(untrained), crop, "--output", str(tmp_path / "page.pdf")], "ends in .png or .html"),
        ([str(untrained), crop, "--output", output, "--json", output], "ends in .json"),
        ([str(untrained), str(tmp_path / "absent.jpg"), "--output", output], "absent.jpg"),
    ):
        assert main(["explain", *words]) == 2
        assert message in capsys.readouterr().err
    assert not Path(output).exists()
