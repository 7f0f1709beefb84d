from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnireid import read_calibration
from omnireid.cli import main


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty people as colours, three crops each, under Market-1501 names."""
    folder = tmp_path_factory.mktemp("people")
    rng = np.random.default_rng(0)
    for person in range(1, 41):
        colour = rng.integers(0, 255, 3)
        for part, camera in (("query", 1), ("bounding_box_test", 2), ("bounding_box_test", 1)):
            pixels = np.clip(colour + rng.integers(-60, 60, (64, 32, 3)), 0, 255).astype(np.uint8)
            (folder / part).mkdir(exist_ok=True)
            name = f"{person:04d}_c{camera}s1_{rng.integers(10**5):06d}_00.jpg"
            Image.fromarray(pixels).save(folder / part / name)
    (folder / "bounding_box_train").mkdir()
    Image.new("RGB", (32, 64)).save(folder / "bounding_box_train" / "0099_c1s1_000001_00.jpg")
    return folder


def test_labelled_crops_become_a_calibration(
    tmp_path: Path, people: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["calibrate", "--weights", str(untrained), "--data", str(people), "--runtime", "onnxruntime"]
    output, record = tmp_path / "c.json", tmp_path / "figures.json"
    chosen = ["--prior", "0.1", "--question-cost", "2", "--frame-rate", "25"]
    assert main([*words, *chosen, "--output", str(output), "--json", str(record)]) == 0
    printed = capsys.readouterr().out
    assert "120 crops of people who are searched for" in printed
    assert "fitted on 20 people, measured on 20 others" in printed
    calibration = read_calibration(output)
    assert calibration.prior == 0.1
    assert calibration.thresholds == (0.2, 0.9)
    assert calibration.data == "market1501, query and gallery"
    figures = json.loads(record.read_text())
    assert figures["people_held_out"] == 20
    assert figures["calibration"]["weights_sha256"] == calibration.weights_sha256


@pytest.mark.slow
def test_a_calibration_is_drawn_adapted_and_measured_elsewhere(
    tmp_path: Path, people: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["calibrate", "--weights", str(untrained), "--data", str(people), "--runtime", "onnxruntime"]
    output, picture = tmp_path / "c.json", tmp_path / "figures.png"
    assert main([*words, "--output", str(output), "--picture", str(picture)]) == 0
    with Image.open(picture) as image:
        assert image.format == "PNG"
    capsys.readouterr()
    assert main([*words, "--adapt", str(output), "--pairs", "40", "--output", str(tmp_path / "adapted.json")]) == 0
    printed = capsys.readouterr().out
    assert printed.index("before:") < printed.index("adapted:")
    assert read_calibration(tmp_path / "adapted.json").curves[0].method == "adapted"
    assert main([*words, "--adapt", str(output), "--pairs", "0", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["people_held_out"] == 40


def test_what_cannot_be_calibrated_is_said_in_one_line(
    tmp_path: Path, people: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.json"
    damaged.write_text("{}")
    data = ["--data", str(people)]
    weights = ["--weights", str(untrained)]
    output = ["--output", str(tmp_path / "out.json")]
    for words, message in (
        ([*data, "--output", str(tmp_path / "out.txt")], "ends in .json"),
        ([*data, "--pairs", "40"], "--pairs belongs to --adapt"),
        ([*data, "--adapt", str(damaged), "--pairs", "-1"], "--pairs must be 0 or a positive number"),
        ([*data, "--adapt", str(damaged), "--pairs", "0", *output], "there is none to write"),
        ([*data, *weights, "--adapt", str(damaged)], "damaged.json is no calibration"),
        ([*data, "--adapt", str(damaged), "--output", str(damaged)], "is an input of this command"),
        (["--data", str(tmp_path / "absent")], "absent"),
        ([*data, "--prior", "1"], "prior must be a probability"),
    ):
        assert main(["calibrate", *words]) == 2, words
        assert message in capsys.readouterr().err
    assert damaged.read_text() == "{}"
