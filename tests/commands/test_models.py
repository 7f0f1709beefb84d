from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from omnireid.commands.models import models
from omnireid.models.zoo import KNOWN_WEIGHTS, VARIANTS
from omnireid.weights import shipped as shipped_module
from omnireid.weights.artefact import WeightsMetadata, write_artefact


def test_the_table_has_every_variant_and_no_control_codes(capsys: pytest.CaptureFixture[str]) -> None:
    models()
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert set(VARIANTS) <= set(lines)
    assert "2,169,508" in lines["osnet_x1_0"]
    assert "978.9 M" in lines["osnet_x1_0"]
    assert "osnet_x0_25.market1501" in lines["osnet_x0_25"]
    assert "91.2%" in lines["osnet_x0_25.market1501"]
    assert "research-only training data" in lines["osnet_x0_25.market1501"]
    assert "as published" in out
    assert "\x1b" not in out


def test_json_is_the_zoo(capsys: pytest.CaptureFixture[str]) -> None:
    models(json=True)
    content = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in content["variants"]] == list(VARIANTS)
    assert content["variants"][3] == {"name": "osnet_x0_25", "parameters": 201_864, "multiply_adds": 82_314_880}
    assert [entry["name"] for entry in content["weights"]] == list(KNOWN_WEIGHTS)
    assert content["weights"][3]["published_rank1"] == 0.912


def test_runs_where_importing_torch_raises() -> None:
    program = "import sys; sys.modules['torch'] = None\nfrom omnireid.commands.models import models\nmodels()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "osnet_ain_x0_25" in done.stdout


def test_weights_that_ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shipped_module, "weights_folder", lambda: tmp_path)
    models()
    assert "No weights ship with this build of omnireid." in capsys.readouterr().out
    scores = {"market1501.rank1": 0.9012, "market1501.mean_average_precision": 0.7351}
    described = WeightsMetadata("osnet_x0_25", licence="research-only training data", metrics=scores)
    small = {"w": np.zeros(5000, np.float16)}
    write_artefact(tmp_path / "osnet_x0_25.market1501.safetensors", small, described)
    write_artefact(tmp_path / "osnet_x1_0.shop.safetensors", small, WeightsMetadata("osnet_x1_0", metrics=scores))
    models()
    out = capsys.readouterr().out
    table = out.partition("Weights that ship with omnireid")[2].partition("Weights that others published")[0]
    rows = [line.split() for line in table.splitlines()[2:] if line.strip()]
    assert rows == [
        [
            "osnet_x0_25.market1501",
            "0.01",
            "MB",
            "90.1%",
            "73.5%",
            "euclidean",
            "research-only",
            "training",
            "data",
            "yes",
        ],
        ["osnet_x1_0.shop", "0.01", "MB", "–", "–", "euclidean", "unknown", "no"],
    ]
    models(json=True)
    default, other = json.loads(capsys.readouterr().out)["shipped"]
    assert (default["name"], default["is_default"], other["is_default"]) == ("osnet_x0_25.market1501", True, False)
    assert default["bytes"] == (tmp_path / "osnet_x0_25.market1501.safetensors").stat().st_size
    assert default["metrics"] == scores
    assert default["licence"] == "research-only training data"
