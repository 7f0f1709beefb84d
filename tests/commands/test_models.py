from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from omnireid.commands.models import models
from omnireid.models.zoo import ARCHITECTURES
from omnireid.weights import shipped as shipped_module
from omnireid.weights.artefact import WeightsMetadata, write_artefact
from omnireid.weights.published import PUBLISHED_WEIGHTS
from omnireid.weights.shipped import DEFAULT_WEIGHTS, shipped_weights


def lines_of(text: str) -> dict[str, str]:
    """First word of each line to the line."""
    return {line.split()[0]: line for line in text.splitlines() if line.strip()}


def test_networks_are_listed_with_their_costs_and_no_control_codes(capsys: pytest.CaptureFixture[str]) -> None:
    models()
    out = capsys.readouterr().out
    lines = lines_of(out)
    assert {name for name, known in ARCHITECTURES.items() if known.ablation_of in (None, "osnet_x0_25")} <= set(lines)
    assert "2,169,508" in lines["osnet_x1_0"]
    assert "978.9 M" in lines["osnet_x1_0"]
    assert "62.8 M" in lines["osnet_x0_25_two_streams"]
    assert "\x1b" not in out


def test_one_table_has_all_weights_with_publisher_licence_scores_size_and_source(
    capsys: pytest.CaptureFixture[str],
) -> None:
    models()
    shown = capsys.readouterr().out.partition("\nWeights")[2]
    lines = lines_of(shown)
    assert set(shipped_weights()) | set(PUBLISHED_WEIGHTS) <= set(lines)
    public = lines["torchreid/osnet_x0_25.market1501"]
    for cell in (
        "201,864  2.46 MB   91.2%  74.9%  Market-1501, euclidean, measured; published 91.2% / 75.0%",
        "research-only",
    ):
        assert cell in public
    assert "https://kaiyangzhou.github.io/deep-person-reid/MODEL_ZOO (SHA-256 c0ff09177a21…)" in public
    assert "–   94.2%  82.6%  Market-1501, euclidean, published" in lines["torchreid/osnet_x1_0.market1501"]
    zoo = lines["openvino/person-reidentification-retail-0288"]
    for cell in ("openvino      183,000  1.18 MB", "Apache-2.0", "downloaded when it is named"):
        assert cell in zoo
    assert "86.1%  58.9%  Market-1501, cosine, published " in zoo
    after = shown.splitlines()[shown.splitlines().index(zoo) + 1]
    assert after.split()[:5] == ["45.3%", "54.4%", "VIPeR,", "cosine,", "measured"]
    for file in PUBLISHED_WEIGHTS["openvino/person-reidentification-retail-0288"].files:
        assert file.sha256 is not None
        assert lines[file.sha256].split() == [file.sha256, file.url]


def test_json_has_every_architecture_and_every_weights_file(capsys: pytest.CaptureFixture[str]) -> None:
    models(json=Path("-"))
    content = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in content["architectures"]] == list(ARCHITECTURES)
    small = content["architectures"][3]
    assert (small["name"], small["parameters"], small["multiply_adds"]) == ("osnet_x0_25", 201_864, 82_314_880)
    assert [entry["name"] for entry in content["published"]] == list(PUBLISHED_WEIGHTS)
    public = content["published"][3]
    assert public["publisher"] == "torchreid"
    assert public["published_scores"][0]["rank1"] == 0.912
    assert public["measured_scores"][1]["distance"] == "cosine"


def test_weights_that_ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shipped_module, "weights_folder", lambda: tmp_path)
    models()
    assert "No weights ship with this build of omnireid." in capsys.readouterr().out
    scores = {"market1501.rank1": 0.9012, "market1501.mean_average_precision": 0.7351}
    described = WeightsMetadata("osnet_x0_25", 512, licence="research-only training data", metrics=scores)
    small = {"w": np.zeros(5000, np.float16)}
    write_artefact(tmp_path / f"{DEFAULT_WEIGHTS}.safetensors", small, described)
    write_artefact(tmp_path / "osnet_x1_0.shop.safetensors", small, WeightsMetadata("osnet_x1_0", 512, metrics=scores))
    models()
    lines = lines_of(capsys.readouterr().out)
    default, other = (" ".join(lines[name].split()) for name in (DEFAULT_WEIGHTS, "osnet_x1_0.shop"))
    assert default == (
        f"{DEFAULT_WEIGHTS} omnireid 201,864 0.01 MB 90.1% 73.5% market1501, euclidean, measured "
        "research-only training data in the package; the default"
    )
    assert other == (
        "osnet_x1_0.shop omnireid 2,169,508 0.01 MB 90.1% 73.5% market1501, euclidean, measured unknown in the package"
    )
    models(json=Path("-"))
    first, second = json.loads(capsys.readouterr().out)["shipped"]
    assert (first["name"], first["is_default"], second["is_default"]) == (DEFAULT_WEIGHTS, True, False)
    assert first["size"] == (tmp_path / f"{DEFAULT_WEIGHTS}.safetensors").stat().st_size
    assert first["metrics"] == scores
    assert first["licence"] == "research-only training data"


def test_weights_show_their_scores_on_every_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shipped_module, "weights_folder", lambda: tmp_path)
    scores = {"viper.rank1": 0.5, "market1501.rank1": 0.9, "market1501.mean_average_precision": 0.7}
    described = WeightsMetadata("osnet_x0_25", 512, distance="cosine", metrics=scores)
    write_artefact(tmp_path / "osnet_x0_25.viper.safetensors", {"w": np.zeros(50, np.float16)}, described)
    models()
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    row = next(index for index, line in enumerate(shown) if line.startswith("osnet_x0_25.viper "))
    assert "50.0% – viper, cosine, measured" in shown[row]
    assert shown[row + 1] == "90.0% 70.0% market1501, cosine, measured"
